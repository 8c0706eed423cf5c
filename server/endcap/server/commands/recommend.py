"""The command ``endcap recommend``: asks a running server, for one user or for all of them."""

import sys
from pathlib import Path
from typing import Annotated

import grpc
import typer
from google.protobuf.field_mask_pb2 import FieldMask
from rich.console import Console
from rich.table import Table

from endcap.catalog.configuration.shops import DEFAULT_SHOP
from endcap.client import AsyncClient, Options
from endcap.server.commands.recommend_all import recommend_all
from endcap.server.commands.terminal import ShopOption, call_error, run
from endcap.server.settings import read_settings
from endcap.v1.recommendation_pb2 import DegradationCause
from endcap.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from endcap.v1.trace_pb2 import RungOutcome, Trace


def recommend(
    placement: Annotated[str, typer.Argument(help="The placement: home, product, cart, trending, …")],
    *,
    user: Annotated[str, typer.Option(help="The user's id.")] = "",
    visitor: Annotated[str, typer.Option(help="The visitor's id.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="The product page's item, or the cart's.")] = None,
    query: Annotated[str, typer.Option(help="What the user typed, for a search.")] = "",
    condition: Annotated[
        str, typer.Option("--filter", help="Condition on items, such as 'price < 20'.")
    ] = "",
    all_users: Annotated[
        Path | None, typer.Option(help="A new folder: Parquet files with the answers of every user.")
    ] = None,
    page_size: Annotated[int, typer.Option(help="Items a user; 0 for the placement's own number.")] = 0,
    shop: ShopOption = DEFAULT_SHOP,
    address: Annotated[str, typer.Option(help="Where the server listens, instead of ENDCAP_ADDRESS.")] = "",
    trace: Annotated[bool, typer.Option("--trace", help="Show how the answer came about.")] = False,
) -> None:
    """Ask a running server for recommendations."""
    request = RecommendRequest(
        placement=placement,
        user_id=user,
        visitor_id=visitor,
        item_ids=item or [],
        query=query,
        filter=condition,
        page_size=page_size,
        include_reasons=all_users is None,
        include_trace=trace,
        item_fields=FieldMask(paths=["title", "price"]) if all_users is None else None,
    )
    if all_users is not None and all_users.exists():
        sys.exit(f"Error: {all_users} exists already: choose a new folder")
    if all_users is not None and trace:
        sys.exit("Error: --trace is for one user: leave --all-users out")
    run(_recommend(request, shop, address, all_users))


async def _recommend(request: RecommendRequest, shop: str, address: str, all_users: Path | None) -> None:
    address = address or read_settings().address
    if all_users is not None:
        await recommend_all(request, shop=shop, address=address, folder=all_users)
        return
    async with AsyncClient(address, Options(shop=shop)) as client:
        try:
            answer = await client.recommendations.Recommend(request)
        except grpc.aio.AioRpcError as error:
            raise call_error(error, address) from error
    console = Console(markup=False, emoji=False)  # titles are the shop's
    console.print(_results(answer))
    for degradation in answer.degradations:
        cause = _word(DegradationCause.Name(degradation.cause), "DEGRADATION_CAUSE_")
        console.print(f"answered without {degradation.strategy or 'a part'}: {cause}")
    if request.include_trace:
        _print_trace(console, answer.trace)


def _results(answer: RecommendResponse) -> Table:
    table = Table("Item", "Title", "Price", "Score", "Strategy", "Why")
    for result in answer.results:
        why = ", ".join(reason.text or reason.kind for reason in result.reasons)
        money = result.item.price
        amount = f"{money.units + money.nanos / 1e9:,.2f} {money.currency_code}"
        price = amount if result.item.HasField("price") else ""
        table.add_row(result.item_id, result.item.title, price, f"{result.score:.4g}", result.strategy, why)
    return table


def _print_trace(console: Console, trace: Trace) -> None:
    table = Table("Rung", "Strategy", "Outcome", "Ranked", "Used", "ms", "What happened")
    for rung in trace.rungs:
        outcome = _word(RungOutcome.Name(rung.outcome), "RUNG_OUTCOME_")
        counts = (str(rung.ranked_count), str(rung.used_count), f"{rung.milliseconds:.1f}")
        table.add_row(str(rung.rung), rung.strategy, outcome, *counts, rung.detail)
    console.print(table)
    console.print(f"{trace.eligible_count} items were eligible, {trace.history_count} events were known")
    for condition in trace.filters:
        console.print(f"filter {condition.name}: removed {condition.removed_count} items")
    for rule in trace.rules:
        console.print(f"rule {rule.rule}: {rule.detail}")
    for dropped in trace.dropped_items:
        console.print(f"dropped {dropped.item_id}: {dropped.cause}")


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace("_", " ").lower()
