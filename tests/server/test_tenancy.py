"""Two shops in one server: nothing of one can be seen by the other, nor be told to exist.

Every RPC of the contract that is built is called by ``acorn`` with the names that ``walnut`` has, field by
field, and then with names that nobody has: the answers must be the same but for the names.
"""

import asyncio
import pkgutil
import re
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import polars as pl
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import endcap.v1
from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.client import AsyncClient, Options
from endcap.sdk import Task
from endcap.sdk.snapshot import Snapshot
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import ListItemsRequest
from endcap.v1.event_pb2 import Event
from endcap.v1.model_service_pb2 import ActivateBundleRequest, RegisterBundleRequest
from endcap.v1.placement_service_pb2 import GetPlacementRequest, UpdatePlacementRequest


PROTOS = Path(__file__).parents[2] / "protos"


@dataclass(frozen=True)
class Names:
    """What a shop calls things, and what the server calls things of a shop."""

    owner: str
    version: str
    etag: str
    attribution_token: str
    page_token: str

    @property
    def all(self) -> dict[str, str]:
        """The names, by what they name."""
        kinds = ("group", "user", "visitor", "event", "order", "shelf")
        own = {kind: f"{self.owner}-{kind}" for kind in kinds}
        return {"item": f"{self.owner}-item-0", **own, "title": self.owner.title(), **asdict(self)}


NOBODYS = Names(
    "nobody",
    version="01700000000000-0123456789abcdef",
    etag="0123456789abcdef",
    attribution_token="bm9ib2R5",  # noqa: S106
    page_token="bm9ib2R5",  # noqa: S106
)

NAMING = {
    "Item.id": "{item}",
    "User.id": "{user}",
    "Placement.id": "{shelf}",
    **dict.fromkeys(("item_id", "item_ids", "candidate_item_ids", "exclude_item_ids"), "{item}"),
    **dict.fromkeys(("user_id", "user_ids"), "{user}"),
    **dict.fromkeys(("visitor_id", "visitor_ids"), "{visitor}"),
    **{f"{kind}_id": f"{{{kind}}}" for kind in ("group", "event", "order")},
    **{kind: f"{{{kind}}}" for kind in ("version", "etag", "attribution_token", "page_token")},
    "placement": "{shelf}",
    "query": "{title}",
    "filter": 'id = "{item}" OR title:"{title}"',
}
"""What the texts of requests that name something of a shop hold, by field."""

FILLED = {"type": "view", "model": "ease", "strategy": "popular", "name": "a rule"}
"""What other texts hold, so that requests make sense."""

NAMELESS = {
    *("path", "request_id", "title", "description", "brand", "text", "values", "categories", "tags", "key"),
    *("image_uris", "language_code", "currency_code", "display_name", "attribute", "value", "event_types"),
    *("reversed_event_id", "experiments"),
}
"""Texts that name nothing of a shop, or whose names are the operator's: a folder of the bundle store."""

FROM_STATE = {
    *("requestId", "attributionToken", "nextPageToken", "revision", "view", "generation", "milliseconds"),
    *("createTime", "updateTime", "time", "etag"),
}
"""What differs from call to call."""

PLANNED_FIELDS = {"Event.reversed_event_id", "Event.unit_cost", "Event.query"}
"""Fields for which this release rejects a message."""

TOKENS = ("page_token", "attribution_token", "etag")
"""What makes a request be rejected before anything else in it is looked at."""

PLACEMENTS = (
    Placement("home", Task.FOR_YOU, (RungSpec("ease"), RungSpec("popular"))),
    Placement("product", Task.SIMILAR, (RungSpec("popular"),)),
    Placement("rank", Task.RANK, (RungSpec("popular"),)),
    Placement("search", Task.SEARCH, (RungSpec("search"),)),
)
"""What both shops have."""


def rpcs() -> list[MethodDescriptor]:
    """Return every RPC that is built and about one shop: those that read first, those that delete last."""
    contract = "".join(file.read_text(encoding="utf-8") for file in PROTOS.rglob("*_service.proto"))
    planned = re.findall(r"answers UNIMPLEMENTED\.\n  rpc (\w+)", contract)
    names = [f"endcap.v1.{module.name}" for module in pkgutil.iter_modules(endcap.v1.__path__)]
    found = [
        method
        for module in (import_module(name) for name in names if name.endswith("_service_pb2"))
        for service in module.DESCRIPTOR.services_by_name.values()
        if service.name != "ShopService"  # which is about all shops
        for method in service.methods
        if method.name not in planned
    ]
    reads = ("Get", "List", "BatchGet", "Recommend", "BatchRecommend", "StreamRecommend")
    return sorted(found, key=lambda rpc: (not rpc.name.startswith(reads), rpc.name.startswith("Delete")))


def texts(descriptor: Descriptor, found: dict[str, set[str]] | None = None) -> dict[str, set[str]]:
    """Return the texts that a message may hold, by the name of the message that holds them."""
    found = {} if found is None else found
    if descriptor.name not in found and descriptor.file.package == "endcap.v1":
        own = found[descriptor.name] = set()
        for field in descriptor.fields:
            if field.message_type is not None:
                texts(field.message_type, found)
            elif field.type == FieldDescriptor.TYPE_STRING:
                own.add(field.name)
    return found


def naming(field: FieldDescriptor) -> str | None:
    """Return what names something of a shop in a field of texts; None where nothing does."""
    if field.type != FieldDescriptor.TYPE_STRING or field.containing_type is None:
        return None
    return NAMING.get(f"{field.containing_type.name}.{field.name}", NAMING.get(field.name))


def messages(descriptor: Descriptor, names: Names, depth: int = 0) -> Iterator[Message]:
    """Make messages with each name alone, and one with all of them."""
    parts: list[tuple[FieldDescriptor, list[Any]]] = []
    for field in descriptor.fields:
        if f"{descriptor.name}.{field.name}" in PLANNED_FIELDS:
            continue
        kind = field.message_type
        if name := naming(field):
            parts.append((field, [name.format_map(names.all)]))
        elif kind is not None and is_ours(kind) and depth < 3:
            parts.append((field, list(messages(kind, names, depth + 1))))
    for field, values in parts:
        for value in values:
            yield filled(descriptor, [(field, value)])
    yield filled(descriptor, [(field, values[-1]) for field, values in parts if field.name not in TOKENS])
    yield filled(descriptor, [(field, values[-1]) for field, values in parts])


def is_ours(kind: Descriptor) -> bool:
    return kind.file.package == "endcap.v1" and not kind.GetOptions().map_entry


def filled(descriptor: Descriptor, parts: list[tuple[FieldDescriptor, Any]]) -> Message:
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated and field.name in FILLED:
            setattr(message, field.name, FILLED[field.name])
        elif field.enum_type is not None and not field.is_repeated:
            setattr(message, field.name, 1)
    for field, value in parts:
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif isinstance(value, Message):
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def requests(rpc: MethodDescriptor, names: Names) -> Iterator[Message]:
    """Make what an RPC is called with; recommendations are asked of the caller's own placements as well."""
    for message in messages(rpc.input_type, names):
        yield message
        if rpc.input_type.name == "RecommendRequest":
            for placement in PLACEMENTS:
                kind = GetMessageClass(rpc.input_type)
                own = kind.FromString(message.SerializeToString())
                own.MergeFrom(kind(placement=placement.id, include_trace=True, include_reasons=True))
                yield own


async def call(channel: grpc.aio.Channel, shop: str, rpc: MethodDescriptor, message: Message) -> str:
    """Call an RPC for a shop and return all that it says."""
    kind = f"{'stream' if rpc.client_streaming else 'unary'}_{'stream' if rpc.server_streaming else 'unary'}"
    method = getattr(channel, kind)(f"/{rpc.containing_service.full_name}/{rpc.name}")
    content = message.SerializeToString()
    answers = method(
        iter([content]) if rpc.client_streaming else content, timeout=30, metadata=[("endcap-shop", shop)]
    )
    read = GetMessageClass(rpc.output_type).FromString
    try:
        if rpc.server_streaming:
            return "".join([said(read(answer)) async for answer in answers])
        return said(read(await answers))
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()} {error.trailing_metadata()}"


def said(message: Message) -> str:
    """Write out a message, less what differs from call to call."""
    lines = MessageToJson(message, indent=1).splitlines()
    return "\n".join(line for line in lines if line.partition(":")[0].strip(' "') not in FROM_STATE)


def without(names: Names, text: str) -> str:
    """Return a text in which each name is replaced by what it names."""
    for kind, name in sorted(names.all.items(), key=lambda each: -len(each[1])):
        if kind not in {"etag", "owner"}:  # an etag is a small number, which no answer repeats
            text = text.replace(name, f"<{kind}>")
    return text


@dataclass(frozen=True)
class Serving:
    """A server of the shops ``acorn`` and ``walnut``."""

    address: str
    channel: grpc.aio.Channel
    settings: Settings
    file: Path
    theirs: Names
    """What ``walnut`` has."""

    def rows(self, shop: str) -> dict[str, list[Any]]:
        """Return all that the database holds of a shop, by table."""
        with closing(sqlite3.connect(self.file)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {
                table: connection.execute(f"SELECT * FROM {table} WHERE shop = ?", (shop,)).fetchall()
                for (table,) in tables
                if "shop" in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            }


@pytest.fixture
async def serving(tmp_path: Path, make_bundle: Callable[..., Path]) -> AsyncIterator[Serving]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics_port = free.getsockname()[1]
    settings = Settings(
        address="127.0.0.1:0",
        database_url=f"sqlite:///{tmp_path}/endcap.db",
        bundle_store=tmp_path / "trained",
        bundles_folder=tmp_path / "bundles",
        metrics_port=metrics_port,
        strategy_timeout_seconds=5.0,
        drain_seconds=0.1,
    )
    await migrate(settings.database_url)
    database = await open_database(settings.database_url)
    async with database.write() as connection:
        for shop in ("acorn", "walnut"):
            await create_shop(connection=connection, shop=shop, now=1, currency="GBP")
            items = [Item(f"{shop}-item-{number}", title=f"{shop.title()} cup") for number in range(3)]
            await upsert_items(connection=connection, shop=shop, items=items, now=1)
            for placement in (*PLACEMENTS, Placement(f"{shop}-shelf", Task.FOR_YOU, (RungSpec("popular"),))):
                await put_placement(connection=connection, shop=shop, placement=placement, now=1)
    await database.close()
    application = Application(settings)
    await application.start()
    address = f"127.0.0.1:{application.port}"
    bundle = make_bundle(settings.bundle_store, [f"walnut-item-{number}" for number in range(3)])
    async with AsyncClient(address, Options(shop="walnut")) as walnut:
        theirs = await live(walnut, bundle)
    async with grpc.aio.insecure_channel(address) as channel:
        yield Serving(address, channel, settings, tmp_path / "endcap.db", theirs)
    await application.stop()


async def live(walnut: AsyncClient, bundle: Path) -> Names:
    """Have things happen in a shop, and return what they are called."""
    await walnut.models.RegisterBundle(RegisterBundleRequest(path=f"ease/{bundle.name}"), timeout=30)
    await walnut.models.ActivateBundle(ActivateBundleRequest(model="ease", version=bundle.name), timeout=30)
    answer = await walnut.recommend("home", user_id="walnut-user", visitor_id="walnut-visitor", page_size=1)
    view = Event(
        event_id="walnut-event",
        type="view",
        user_id="walnut-user",
        visitor_id="walnut-visitor",
        item_id="walnut-item-0",
        order_id="walnut-order",
        attribution_token=answer.attribution_token,
    )
    await walnut.record_events([view])
    shelf = (await walnut.placements.GetPlacement(GetPlacementRequest(placement="walnut-shelf"))).placement
    shelf.display_name = "Walnut shelf"
    shelf = (await walnut.placements.UpdatePlacement(UpdatePlacementRequest(placement=shelf))).placement
    page = await walnut.catalog.ListItems(ListItemsRequest(page_size=1))
    return Names(
        "walnut",
        version=bundle.name,
        etag=shelf.etag,
        attribution_token=answer.attribution_token,
        page_token=page.next_page_token,
    )


def test_every_text_of_a_request_is_known_to_name_something_or_nothing() -> None:
    known = NAMELESS | set(FILLED) | {name.rpartition(".")[2] for name in NAMING}

    held = {
        f"{message}.{name}"
        for rpc in rpcs()
        for message, names in texts(rpc.input_type).items()
        for name in names
    }

    assert {name for name in held if name.rpartition(".")[2] not in known} == set()


async def test_no_rpc_tells_what_another_shop_has(serving: Serving) -> None:
    theirs, before = serving.theirs, serving.rows("walnut")
    told, differ = [], []
    for rpc in rpcs():
        for real, made_up in zip(requests(rpc, theirs), requests(rpc, NOBODYS), strict=True):
            answer = without(theirs, await call(serving.channel, "acorn", rpc, real))
            if answer != without(NOBODYS, await call(serving.channel, "acorn", rpc, made_up)):
                differ.append(f"{rpc.name}: {real} was answered {answer}")
            if "walnut" in answer.lower():
                told.append(f"{rpc.name}: {real} was answered {answer}")

    assert differ == []
    assert told == []
    assert serving.rows("walnut") == before


async def test_the_shop_itself_is_told(serving: Serving) -> None:
    """Without this the test before would prove nothing: the same calls, by the shop that has the names."""
    tells = set()
    for rpc in rpcs():
        for real, made_up in zip(requests(rpc, serving.theirs), requests(rpc, NOBODYS), strict=True):
            answer = without(serving.theirs, await call(serving.channel, "walnut", rpc, real))
            if answer != without(NOBODYS, await call(serving.channel, "walnut", rpc, made_up)):
                tells.add(rpc.name)

    assert tells >= {
        *("GetItem", "BatchGetItems", "ListItems", "GetPlacement", "ListPlacementChanges", "DeletePlacement"),
        *("Recommend", "BatchRecommend", "StreamRecommend", "RecordEvents", "ActivateBundle", "DeleteBundle"),
        "UpdatePlacement",
    }


async def test_no_metric_names_a_shop_nor_anything_of_one(serving: Serving) -> None:
    for rpc in rpcs():
        for shop in ("acorn", "walnut"):
            for message in requests(rpc, serving.theirs):
                await call(serving.channel, shop, rpc, message)

    metrics = await asyncio.to_thread(read, f"http://127.0.0.1:{serving.settings.metrics_port}/metrics")

    assert 'endcap_calls_total{code="OK",method="/endcap.v1.RecommendationService/Recommend"}' in metrics
    assert 'endcap_circuit_breaker_state{strategy="popular"} 0.0' in metrics
    assert "acorn" not in metrics
    assert without(serving.theirs, metrics) == metrics


async def test_what_is_exported_of_a_shop_names_nothing_of_another(serving: Serving, tmp_path: Path) -> None:
    async with AsyncClient(serving.address, Options(shop="acorn")) as acorn:
        await acorn.record_events([Event(type="view", user_id="walnut-user", item_id="acorn-item-1")])
    database = await open_database(serving.settings.database_url)
    users = {}
    for shop in ("acorn", "walnut"):
        await export_snapshot(database, shop, tmp_path / shop)
        users[shop] = Snapshot.open(tmp_path / shop).users()["user"].to_list()
    await database.close()

    files = [path for path in (tmp_path / "acorn").rglob("*") if path.is_file()]
    texts = [
        pl.read_parquet(path).write_json() if path.suffix == ".parquet" else path.read_text()
        for path in files
    ]
    assert any("acorn-item-0" in text for text in texts)
    assert not any("walnut" in text.lower() for text in texts)
    assert len(users["acorn"]) == len(users["walnut"]) == 1
    assert users["acorn"] != users["walnut"]


def read(url: str) -> str:
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - of this server
        text: str = answer.read().decode()
        return text
