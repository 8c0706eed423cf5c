"""The tour: questions to a running server, answered with titles, prices and reasons."""

from collections.abc import Sequence
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from endcap.client import Client
from endcap.v1.catalog_service_pb2 import BatchGetItemsRequest
from endcap.v1.event_pb2 import Event
from endcap.v1.item_pb2 import Item
from endcap.v1.recommendation_service_pb2 import RecommendResponse


CUSTOMER = "13085"
PRODUCT = "85048"
VISITOR = "visitor-1"
VIEWED = ("22041", "21232")
CART = ("22423", "85123A")


def tour(client: Client, console: Console, *, newest_time: int) -> None:
    """Ask for everything that the demo shows.

    Args:
        client: Speaks to the server.
        console: Where the answers go.
        newest_time: Unix milliseconds of the shop's last purchase, when the visitor comes in.
    """
    ask = partial(client.recommend, include_reasons=True, page_size=5)
    show = partial(_show, client, console)
    show(f"For customer {CUSTOMER}", ask("home", user_id=CUSTOMER))
    show("For a new visitor", ask("home", visitor_id=VISITOR))
    time = Timestamp()
    time.FromMilliseconds(newest_time)
    views = [Event(type="view", visitor_id=VISITOR, item_id=item_id, time=time) for item_id in VIEWED]
    revision = client.record_events(views).revision
    show(
        f"For the same visitor, after looking at {_titles(client, VIEWED)}",
        ask("home", visitor_id=VISITOR, minimum_revision=revision),
    )
    show(f"Similar to {_titles(client, [PRODUCT])}", ask("product", item_ids=[PRODUCT]))
    show(f"Goes with a cart of {_titles(client, CART)}", ask("cart", item_ids=CART))
    show("Trending", ask("trending"))
    show("Recently viewed", ask("recently-viewed", visitor_id=VISITOR))


def _items(client: Client, item_ids: Sequence[str]) -> list[Item]:
    return list(client.catalog.BatchGetItems(BatchGetItemsRequest(item_ids=item_ids)).items)


def _titles(client: Client, item_ids: Sequence[str]) -> str:
    return " and ".join(item.title for item in _items(client, item_ids))


def _show(client: Client, console: Console, title: str, answer: RecommendResponse) -> None:
    table = Table("Product", "Price", "Strategy", "Why", title=title, title_justify="left")
    item_ids = [result.item_id for result in answer.results]
    items = {item.id: item for item in _items(client, item_ids)} if item_ids else {}
    for result in answer.results:
        item = items[result.item_id]
        price = f"{item.price.units + item.price.nanos / 1e9:.2f} {item.price.currency_code}"
        table.add_row(item.title, price, result.strategy, "; ".join(reason.text for reason in result.reasons))
    console.print(table)
    if answer.degraded:
        console.print("degraded: " + ", ".join(part.strategy for part in answer.degradations))
