"""The tour: questions to a running server, answered with titles, prices and reasons."""

from collections.abc import Sequence
from functools import partial

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from endcap.client import Client
from endcap.sdk.errors import FailedPrecondition
from endcap.v1.catalog_service_pb2 import BatchGetItemsRequest
from endcap.v1.event_pb2 import Event
from endcap.v1.model_service_pb2 import (
    ActivateBundleRequest,
    RegisterBundleRequest,
    RollBackModelRequest,
)
from endcap.v1.placement_pb2 import Placement
from endcap.v1.placement_service_pb2 import UpdatePlacementRequest
from endcap.v1.recommendation_service_pb2 import RecommendResponse
from endcap.v1.rule_pb2 import BoostRule, PinRule, Rule


CUSTOMER = "13085"
PRODUCT = "85048"
VISITOR = "visitor-1"
VIEWED = ("22041", "21232")
CART = ("22423", "85123A")
QUERY = "hanging hearts"
RULES = (
    Rule(name="star", pin=PinRule(position=1, item_id="22423")),
    Rule(name="pocket money", boost=BoostRule(filter="price < 1", strength=0.5)),
)

_SHOWN = ("title", "price")
_SWAP_SECONDS = 30.0  # loading a bundle and asking it its golden queries takes longer than an answer


def tour(client: Client, console: Console, *, newest_time: int) -> None:
    """Ask for everything that the demo shows.

    Args:
        client: Speaks to the server.
        console: Where the answers go.
        newest_time: Unix milliseconds of the shop's last purchase, when the visitor comes in.

    Raises:
        FailedPrecondition: The server did not take what the visitor did.
    """
    ask = partial(client.recommend, item_fields=_SHOWN, include_reasons=True, page_size=5)
    show = partial(_show, console)
    first = ask("home", user_id=CUSTOMER, include_trace=True)
    show(f"For customer {CUSTOMER}, of whom {first.trace.history_count} purchases are known", first)
    show("The next page", ask("home", user_id=CUSTOMER, page_token=first.next_page_token))
    show("Of these, below 1 pound", ask("home", user_id=CUSTOMER, filter="price < 1"))
    show("For a new visitor", ask("home", visitor_id=VISITOR))
    revision = record_views(client, VIEWED, time=newest_time)
    show(
        f"For the same visitor, after looking at {_titles(client, VIEWED)}",
        ask("home", visitor_id=VISITOR, minimum_revision=revision),
    )
    show(f"Similar to {_titles(client, [PRODUCT])}", ask("product", item_ids=[PRODUCT]))
    show(f"Goes with a cart of {_titles(client, CART)}", ask("cart", item_ids=CART))
    show("Trending", ask("trending"))
    show("Recently viewed", ask("recently-viewed", visitor_id=VISITOR))
    show(f"Search for “{QUERY}”", ask("search", query=QUERY, user_id=CUSTOMER))
    _set_rules(client, RULES)
    ruled = ask("home", user_id=CUSTOMER, include_trace=True)
    show("The first list again, with a product pinned to the top and cheap ones lifted", ruled)
    for rule in ruled.trace.rules:
        console.print(f"rule “{rule.rule}”: {rule.detail}")
    _set_rules(client, ())


def record_views(client: Client, item_ids: Sequence[str], *, time: int) -> int:
    """Let the visitor look at items, and return the revision of the shop that knows it.

    Args:
        client: Speaks to the server.
        item_ids: The items, in the order in which the visitor looks at them.
        time: When, in Unix milliseconds.

    Raises:
        FailedPrecondition: The server did not take all of it.
    """
    moment = Timestamp()
    moment.FromMilliseconds(time)
    views = [Event(type="view", visitor_id=VISITOR, item_id=item_id, time=moment) for item_id in item_ids]
    answer = client.record_events(views)
    if answer.rejections:
        said = "; ".join(f"{rejected.reason}, {rejected.message}" for rejected in answer.rejections)
        raise FailedPrecondition(f"the server did not take the visitor's views: {said}")
    return answer.revision


def swap_and_roll_back(client: Client, console: Console, path: str) -> None:
    """Let another bundle serve, and go back to the one before, while the server serves on.

    Args:
        client: Speaks to the server.
        console: Where the answers go.
        path: The bundle's folder in the server's store.
    """
    ask = partial(
        client.recommend, "cart", item_ids=CART, item_fields=_SHOWN, page_size=5, include_reasons=True
    )
    bundle = client.models.RegisterBundle(RegisterBundleRequest(path=path), timeout=_SWAP_SECONDS).bundle
    client.models.ActivateBundle(
        ActivateBundleRequest(model=bundle.model, version=bundle.version), timeout=_SWAP_SECONDS
    )
    _show(console, f"The same cart, with {_serving(ask(), bundle.model)}", ask())
    client.models.RollBackModel(RollBackModelRequest(model=bundle.model), timeout=_SWAP_SECONDS)
    _show(console, f"Rolled back to {_serving(ask(), bundle.model)}", ask())


def _serving(answer: RecommendResponse, model: str) -> str:
    """Return the bundle of a model that an answer was made with."""
    return next(name for name in answer.results[0].bundles if name.startswith(f"{model}@"))


def _set_rules(client: Client, rules: Sequence[Rule]) -> None:
    client.placements.UpdatePlacement(
        UpdatePlacementRequest(
            placement=Placement(id="home", rules=rules), update_mask=FieldMask(paths=["rules"])
        )
    )


def _titles(client: Client, item_ids: Sequence[str]) -> str:
    found = client.catalog.BatchGetItems(BatchGetItemsRequest(item_ids=item_ids))
    return " and ".join(item.title for item in found.items)


def _show(console: Console, title: str, answer: RecommendResponse) -> None:
    table = Table("Product", "Price", "Strategy", "Why", title=title, title_justify="left")
    for result in answer.results:
        item = result.item
        price = f"{item.price.units + item.price.nanos / 1e9:.2f} {item.price.currency_code}"
        why = "; ".join(reason.text for reason in result.reasons)
        table.add_row(item.title, price, result.strategy or "pinned", why)
    console.print(table)
    if answer.degraded:
        console.print("degraded: " + ", ".join(part.strategy for part in answer.degradations))
