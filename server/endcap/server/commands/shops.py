"""The commands ``endcap shops …``."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from endcap.catalog.fields.limits import check_id
from endcap.catalog.shops import DEFAULT_SHOP, Shop, change_shop, create_shop, get_shop, list_shops
from endcap.sdk.errors import InvalidInput
from endcap.server.commands.console import command, opened_database


shops = typer.Typer(
    help="Create shops and set what holds for each. A server that runs takes a change over within"
    " ENDCAP_REFRESH_SECONDS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ShopArgument = Annotated[str, typer.Argument(metavar="[SHOP]", help="The shop's id.")]
CurrencyOption = Annotated[str | None, typer.Option(help="ISO 4217 code of the prices.")]
WeightOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TYPE=NUMBER", help="What an event of a type counts for, 0 for nothing."),
]
AgeOption = Annotated[
    int | None, typer.Option(help="Age of the oldest event that callers may record; an import takes any.")
]
KeepEventsOption = Annotated[
    int | None, typer.Option(help="Days after which 'endcap prune' deletes events; 0 for never.")
]
KeepExposuresOption = Annotated[
    int | None, typer.Option(help="Days after which it deletes the records of what was shown; 0 for never.")
]


@shops.command("list")
@command
async def list_all() -> None:
    """List the shops."""
    async with opened_database() as database, database.read() as connection:
        found = await list_shops(connection=connection)
    table = Table("Shop", "Currency", "Revision", "Created")
    for shop in found:
        table.add_row(shop.id, shop.currency, str(shop.revision), f"{_moment(shop):%Y-%m-%d %H:%M} UTC")
    Console().print(table)


@shops.command()
@command
async def create(
    shop: Annotated[str, typer.Argument(metavar="SHOP", help="The new shop's id.")],
    *,
    currency: CurrencyOption = None,
    weight: WeightOption = None,
    max_event_age_days: AgeOption = None,
    keep_events_days: KeepEventsOption = None,
    keep_exposures_days: KeepExposuresOption = None,
) -> None:
    """Create a shop with the default placements."""
    check_id("shop", shop)
    parsed = _parse(weight or ())
    async with opened_database() as database, database.write() as connection:
        await create_shop(connection=connection, shop=shop, now=int(time.time() * 1000))
        created = await change_shop(
            connection=connection,
            shop=shop,
            event_weights=parsed,
            currency=currency,
            max_event_age_days=max_event_age_days,
            keep_events_days=keep_events_days,
            keep_exposures_days=keep_exposures_days,
        )
    _print(created)


@shops.command()
@command
async def show(shop: ShopArgument = DEFAULT_SHOP) -> None:
    """Print the settings of a shop."""
    async with opened_database() as database, database.read() as connection:
        found = await get_shop(connection=connection, shop=shop)
    _print(found)


@shops.command("set")
@command
async def change(
    shop: ShopArgument = DEFAULT_SHOP,
    *,
    currency: CurrencyOption = None,
    weight: WeightOption = None,
    max_event_age_days: AgeOption = None,
    keep_events_days: KeepEventsOption = None,
    keep_exposures_days: KeepExposuresOption = None,
) -> None:
    """Change the settings of a shop: those that are named."""
    settings: dict[str, Any] = {
        "currency": currency,
        "max_event_age_days": max_event_age_days,
        "keep_events_days": keep_events_days,
        "keep_exposures_days": keep_exposures_days,
    }
    if not weight and all(value is None for value in settings.values()):
        raise InvalidInput("there is nothing to change: name a setting, or call 'endcap shops show'")
    parsed = _parse(weight or ())
    async with opened_database() as database, database.write() as connection:
        changed = await change_shop(connection=connection, shop=shop, event_weights=parsed, **settings)
    _print(changed)


def _parse(weights: Sequence[str]) -> dict[str, float]:
    parsed = {}
    for weight in weights:
        event_type, _, number = weight.partition("=")
        try:
            parsed[event_type] = float(number)
        except ValueError:
            raise InvalidInput(
                f"{weight!r} is no weight: write TYPE=NUMBER, such as purchase=5", field="weight"
            ) from None
    return parsed


def _print(shop: Shop) -> None:
    table = Table("Setting", "Value", title=shop.id)
    table.add_row("currency", shop.currency or "not set")
    table.add_row("max event age", f"{shop.max_event_age_days} days")
    table.add_row("events are kept", _duration(shop.keep_events_days))
    table.add_row("exposures are kept", _duration(shop.keep_exposures_days))
    for event_type, weight in sorted(shop.event_weights.items()):
        table.add_row(f"weight of {event_type}", f"{weight:g}")
    Console().print(table)


def _duration(days: int) -> str:
    return f"{days} days" if days else "for ever"


def _moment(shop: Shop) -> datetime:
    return datetime.fromtimestamp(shop.created_time / 1000, UTC)
