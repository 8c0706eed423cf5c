"""The commands ``endcap shops …``."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from endcap.catalog.configuration.attribute_definitions import AttributeType
from endcap.catalog.configuration.shop_changes import list_shop_changes
from endcap.catalog.configuration.shop_settings import ShopSettings, event_type_named
from endcap.catalog.configuration.shops import DEFAULT_SHOP, ShopRecord, get_shop, list_shops
from endcap.catalog.fields.limits import check_id
from endcap.sdk.errors import InvalidInput
from endcap.server.admin.shops import ShopEditor
from endcap.server.commands.terminal import command, command_caller, moment, opened_database
from endcap.server.models.files import BundleFiles
from endcap.server.settings import read_settings


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
    typer.Option(
        metavar="TYPE=NUMBER", help="What an event of a type counts for, 0 for nothing, below 0 against."
    ),
]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=TYPE", help=f"An attribute of items: {', '.join(AttributeType)}."),
]
LanguageOption = Annotated[
    list[str] | None, typer.Option(help="A language of the shop, its own first; replaces all of them.")
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
        table.add_row(shop.id, shop.currency, str(shop.revision), f"{moment(shop.created_time)} UTC")
    Console().print(table)


@shops.command()
@command
async def create(
    shop: Annotated[str, typer.Argument(metavar="SHOP", help="The new shop's id.")],
    *,
    currency: CurrencyOption = None,
    weight: WeightOption = None,
    attribute: AttributeOption = None,
    language: LanguageOption = None,
    max_event_age_days: AgeOption = None,
    keep_events_days: KeepEventsOption = None,
    keep_exposures_days: KeepExposuresOption = None,
) -> None:
    """Create a shop with the default placements."""
    check_id("shop", shop)
    settings = _changed(
        ShopSettings(),
        weight=weight,
        attribute=attribute,
        language=language,
        currency=currency,
        max_event_age_days=max_event_age_days,
        keep_events_days=keep_events_days,
        keep_exposures_days=keep_exposures_days,
    )
    async with _editing() as editor:
        created = await editor.create(command_caller(shop), settings)
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
    attribute: AttributeOption = None,
    language: LanguageOption = None,
    max_event_age_days: AgeOption = None,
    keep_events_days: KeepEventsOption = None,
    keep_exposures_days: KeepExposuresOption = None,
) -> None:
    """Change the named settings of a shop."""
    options: dict[str, Any] = {
        "weight": weight,
        "attribute": attribute,
        "language": language,
        "currency": currency,
        "max_event_age_days": max_event_age_days,
        "keep_events_days": keep_events_days,
        "keep_exposures_days": keep_exposures_days,
    }
    if all(value is None or value == [] for value in options.values()):
        raise InvalidInput("nothing to change: name a setting, or call 'endcap shops show'")
    _changed(ShopSettings(), **options)
    async with _editing() as editor:
        changed = await editor.update(command_caller(shop), partial(_changed, **options))
    _print(changed)


@shops.command("changes")
@command
async def list_changes(
    shop: ShopArgument = DEFAULT_SHOP,
    limit: Annotated[int, typer.Option(min=1, help="How many changes to show.")] = 20,
) -> None:
    """Show the changes of a shop's settings with actor and time, the newest first."""
    async with opened_database() as database, database.read() as connection:
        await get_shop(connection=connection, shop=shop)
        found = await list_shop_changes(connection=connection, shop=shop, limit=limit)
    table = Table("When", "What", "Who", "Call")
    for change in found:
        before, after = change.before or {}, change.after
        names = ", ".join(name for name in after if before.get(name) != after[name]) or "nothing"
        what = names if change.before else "created"
        table.add_row(moment(change.time), what, change.actor, change.request_id)
    Console().print(table)


@shops.command()
@command
async def delete(
    shop: Annotated[str, typer.Argument(metavar="SHOP", help="The shop's id.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a shop with everything in it; this cannot be undone."""
    if not yes:
        typer.confirm(f"Delete the shop {shop!r} with its items, users, events and models?", abort=True)
    async with _editing() as editor:
        await editor.delete(command_caller(shop))
    typer.echo(f"deleted {shop}")


@asynccontextmanager
async def _editing() -> AsyncIterator[ShopEditor]:
    async with opened_database() as database:
        yield ShopEditor(database, BundleFiles(read_settings().bundles_folder))


def _changed(
    stored: ShopSettings,
    *,
    weight: Sequence[str] | None,
    attribute: Sequence[str] | None,
    language: Sequence[str] | None,
    **values: Any,
) -> ShopSettings:
    """Return stored settings with the options applied; settings without an option stay."""
    event_types = dict(stored.event_types)
    for name, text in _pairs(weight or (), "weight", "TYPE=NUMBER, such as purchase=5"):
        try:
            number = float(text)
        except ValueError:
            raise _unreadable(f"{name}={text}", "weight", "TYPE=NUMBER, such as purchase=5") from None
        known = event_types.get(name)
        event_types[name] = replace(known, weight=number) if known else event_type_named(name, number)
    attributes = dict(stored.attributes)
    kinds = ", ".join(AttributeType)
    for name, text in _pairs(attribute or (), "attribute", f"NAME=TYPE, of the types {kinds}"):
        if text not in set(AttributeType):
            raise _unreadable(f"{name}={text}", "attribute", f"NAME=TYPE, of the types {kinds}")
        attributes[name] = AttributeType(text)
    return replace(
        stored,
        event_types=event_types,
        attributes=attributes,
        languages=tuple(language or stored.languages),
        **{name: value for name, value in values.items() if value is not None},
    )


def _pairs(texts: Sequence[str], what: str, form: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise _unreadable(text, what, form)
        yield name, value


def _unreadable(text: str, what: str, form: str) -> InvalidInput:
    return InvalidInput(f"{text!r} is no {what}: write {form}", field=what)


def _print(shop: ShopRecord) -> None:
    table = Table("Setting", "Value", title=shop.id)
    table.add_row("currency", shop.currency or "not set")
    table.add_row("languages", ", ".join(shop.languages) or "not set")
    table.add_row("max event age", f"{shop.max_event_age_days} days")
    table.add_row("events are kept", _duration(shop.keep_events_days))
    table.add_row("exposures are kept", _duration(shop.keep_exposures_days))
    for name, event_type in sorted(shop.event_types.items()):
        table.add_row(f"weight of {name}", f"{event_type.weight:g}")
    for name, type_ in shop.attributes.items():
        table.add_row(f"attribute {name}", type_)
    Console().print(table)


def _duration(days: int) -> str:
    return f"{days} days" if days else "for ever"
