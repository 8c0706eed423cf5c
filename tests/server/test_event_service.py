"""What becomes of events that are recorded over gRPC, on a real server."""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest

from endcap.catalog.configuration.shop_settings import EventRole, EventType
from endcap.catalog.configuration.shops import change_shop, create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.events import writer as event_writer
from endcap.catalog.events.events import Event as StoredEvent
from endcap.catalog.events.events import events_after
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient, Options
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.attribute_value_pb2 import AttributeValue
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import (
    DURABILITY_BUFFERED,
    DURABILITY_DURABLE,
    DURABILITY_UNSPECIFIED,
    Durability,
    RecordEventsRequest,
)
from endcap.v1.event_service_pb2_grpc import EventServiceStub
from endcap.v1.money_pb2 import Money


DAY = 86_400_000
MUG = 'id:"mug"'
NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """The URL of a database whose shop sells a kettle, a mug and a teapot."""
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1, currency="GBP")
        items = [Item("kettle"), Item("mug"), Item("teapot")]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    await database.close()
    return url


@asynccontextmanager
async def _serving(url: str, **settings: Any) -> AsyncIterator[str]:
    """The address of a server."""
    application = Application(
        Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1, **settings)
    )
    await application.start()
    try:
        yield f"127.0.0.1:{application.port}"
    finally:
        await application.stop()


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with _serving(url) as address, AsyncClient(address) as client:
        yield client


async def _stored(url: str) -> list[StoredEvent]:
    database = await open_database(url)
    async with database.read() as connection:
        stored = await events_after(connection=connection, shop="default", revision=0)
    await database.close()
    return [event for _, event in stored]


async def _until_stored(url: str, count: int) -> None:
    for _ in range(1_000):
        if len(await _stored(url)) >= count:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the events were not written")


def _view(event_id: str = "", **fields: Any) -> Event:
    return Event(event_id=event_id, **{"type": "view", "user_id": "ann", "item_id": "mug", **fields})


def _timed(milliseconds: int) -> Event:
    event = _view("timed")
    event.time.FromMilliseconds(int(time.time() * 1000) + milliseconds)
    return event


def _before_nineteen_seventy() -> Event:
    event = _view("early")
    event.time.seconds = -1
    return event


def _with_nanos(nanos: int) -> Event:
    event = _view("nanos")
    event.time.seconds, event.time.nanos = int(time.time()), nanos
    return event


FACTS = {"gift": AttributeValue(boolean=True), "p_1": AttributeValue(text="")}
REFUSED: list[tuple[Callable[[], Event], str, str]] = [
    (lambda: _view("x" * 129), "INVALID_EVENT_ID", "event_id"),
    (lambda: _view("a\nb"), "INVALID_EVENT_ID", "event_id"),
    (lambda: _view(type=""), "INVALID_TYPE", "type"),
    (lambda: _view(type="View"), "INVALID_TYPE", "type"),
    (lambda: _view(type="add-to-cart"), "INVALID_TYPE", "type"),
    (lambda: _view(type="view\n"), "INVALID_TYPE", "type"),
    (lambda: _view(type="x" * 65), "INVALID_TYPE", "type"),
    (lambda: _view(user_id=""), "MISSING_USER", "user_id"),
    (lambda: _view(user_id="x" * 129), "INVALID_USER_ID", "user_id"),
    (lambda: _view(user_id="a\0b"), "INVALID_USER_ID", "user_id"),
    (lambda: _view(visitor_id="x" * 129), "INVALID_USER_ID", "visitor_id"),
    (lambda: _view(item_id=""), "MISSING_ITEM", "item_id"),
    (lambda: _view(item_id="x" * 129), "INVALID_ITEM_ID", "item_id"),
    (lambda: _view(item_id="a\tb"), "INVALID_ITEM_ID", "item_id"),
    (_before_nineteen_seventy, "INVALID_TIME", "time"),
    (lambda: _with_nanos(-1), "INVALID_TIME", "time"),
    (lambda: _with_nanos(1_000_000_000), "INVALID_TIME", "time"),
    (lambda: _timed(310_000), "TIME_IN_FUTURE", "time"),
    (lambda: _timed(-30 * DAY - 10_000), "TIME_TOO_OLD", "time"),
    (lambda: _view(quantity=-1), "INVALID_QUANTITY", "quantity"),
    (lambda: _view(quantity=NAN), "INVALID_QUANTITY", "quantity"),
    (lambda: _view(quantity=INFINITY), "INVALID_QUANTITY", "quantity"),
    (lambda: _view(quantity=1_000_001), "INVALID_QUANTITY", "quantity"),
    (lambda: _view(price=Money(units=-1)), "INVALID_PRICE", "price"),
    (lambda: _view(price=Money(nanos=1_000_000_000)), "INVALID_PRICE", "price"),
    (lambda: _view(price=Money(units=1, currency_code="pounds")), "INVALID_PRICE", "price"),
    (lambda: _view(value=NAN), "INVALID_VALUE", "value"),
    (lambda: _view(value=-INFINITY), "INVALID_VALUE", "value"),
    (lambda: _view(attribution_token="x" * 2_049), "INVALID_TOKEN", "attribution_token"),
    (lambda: _view(order_id="x" * 129), "INVALID_ORDER_ID", "order_id"),
    (lambda: _view(order_id="a\0b"), "INVALID_ORDER_ID", "order_id"),
    (
        lambda: _view(properties={f"p{number}": AttributeValue(number=1) for number in range(65)}),
        "TOO_MANY_PROPERTIES",
        "properties",
    ),
    (
        lambda: _view(properties={f"p{number}": AttributeValue(number=1) for number in range(10_000)}),
        "TOO_MANY_PROPERTIES",
        "properties",
    ),
    (lambda: _view(type="refund", item_id=""), "MISSING_ITEM", "item_id"),
    (lambda: _view(reversed_event_id="x" * 129), "INVALID_REVERSED_EVENT", "reversed_event_id"),
    (lambda: _view(reversed_event_id="unheard-of"), "INVALID_REVERSED_EVENT", "reversed_event_id"),
    (lambda: _view(unit_cost=Money(units=-1)), "INVALID_UNIT_COST", "unit_cost"),
    (
        lambda: _view(price=Money(units=1), unit_cost=Money(units=1, currency_code="EUR")),
        "INVALID_UNIT_COST",
        "unit_cost",
    ),
    (lambda: _view(query="x" * 257), "INVALID_QUERY", "query"),
    (lambda: _view(query="a\0b"), "INVALID_QUERY", "query"),
    (lambda: _view(properties={"Colour": AttributeValue(text="red")}), "INVALID_PROPERTY", "properties"),
    (lambda: _view(properties={"": AttributeValue(text="red")}), "INVALID_PROPERTY", "properties"),
    (lambda: _view(properties={"x" * 65: AttributeValue(text="red")}), "INVALID_PROPERTY", "properties"),
    (lambda: _view(properties={"x": AttributeValue()}), "INVALID_PROPERTY", "properties.x"),
    (lambda: _view(properties={"x": AttributeValue(number=NAN)}), "INVALID_PROPERTY", "properties.x"),
    (lambda: _view(properties={"x": AttributeValue(text="a\0b")}), "INVALID_PROPERTY", "properties.x"),
]


async def test_each_bad_event_is_rejected_alone_for_its_reason(url: str, client: AsyncClient) -> None:
    events = [event for make, _, _ in REFUSED for event in (make(), _view())]

    recorded = await client.events.RecordEvents(RecordEventsRequest(events=events))

    found = [(rejection.index, rejection.reason, rejection.field) for rejection in recorded.rejections]
    assert found == [(2 * place, reason, field) for place, (_, reason, field) in enumerate(REFUSED)]
    assert all(rejection.message for rejection in recorded.rejections)
    assert (recorded.accepted_count, recorded.duplicate_count) == (len(REFUSED), 0)
    assert len(await _stored(url)) == len(REFUSED)


GOOD: list[tuple[Event, dict[str, object]]] = [
    (_view("x" * 128), {}),
    (_view("custom", type="x_9" * 21 + "x"), {"type": "x_9" * 21 + "x"}),
    (_view("visitor", user_id="", visitor_id="phone"), {"user_id": None, "visitor_id": "phone"}),
    (_view("both", visitor_id="phone"), {"visitor_id": "phone"}),
    (_view("unknown item", item_id="unheard-of"), {"item_id": "unheard-of"}),
    (_view("piece", quantity=0), {"quantity": 1.0}),
    (_view("pieces", quantity=1_000_000), {"quantity": 1_000_000.0}),
    (_view("free", price=Money()), {"price_nanos": 0, "currency": ""}),
    (_view("paid", price=Money(units=2, currency_code="EUR")), {"price_nanos": 2 * 10**9, "currency": "EUR"}),
    (_view("zero stars", type="rating", value=0), {"type": "rating", "value": 0.0}),
    (_view("basket", order_id="x" * 128), {"order_id": "x" * 128}),
    (_view("refund", reversed_event_id="basket"), {"reversed_event_id": "basket"}),
    (_view("cost", unit_cost=Money(nanos=5)), {"unit_cost_nanos": 5}),
    (
        _view("profit", price=Money(units=2, currency_code="EUR"), unit_cost=Money(units=1)),
        {"price_nanos": 2 * 10**9, "unit_cost_nanos": 10**9, "currency": "EUR"},
    ),
    (
        _view("search", type="search", item_id="", query="x" * 256),
        {"type": "search", "item_id": "", "query": "x" * 256},
    ),
    (_view("facts", properties=FACTS), {"properties": {"gift": True, "p_1": ""}}),
]


async def test_what_is_at_the_limits_is_stored_as_it_came(url: str, client: AsyncClient) -> None:
    recorded = await client.record_events([event for event, _ in GOOD])

    assert list(recorded.rejections) == []
    stored = {event.event_id: event for event in await _stored(url)}
    for event, changes in GOOD:
        found = stored[event.event_id]
        plain = StoredEvent(event.event_id, "view", "mug", found.time, user_id="ann")
        assert found == replace(plain, **changes)  # type: ignore[arg-type]


async def test_times_five_minutes_ahead_and_thirty_days_back_are_taken(client: AsyncClient) -> None:
    recorded = await client.record_events([_timed(290_000)])
    older = await client.record_events([_view("old", time=_timed(-30 * DAY + 60_000).time)])

    assert (recorded.accepted_count, older.accepted_count) == (1, 1)


async def test_events_without_an_id_are_each_given_one_and_later_ones_a_larger_one(url: str) -> None:
    request = RecordEventsRequest(events=[_view(), _view()])

    async with _serving(url) as address, grpc.aio.insecure_channel(address) as channel:
        # Our client names events itself.
        for _ in range(2):
            await EventServiceStub(channel).RecordEvents(request)
            await asyncio.sleep(0.002)

    ids = [event.event_id for event in await _stored(url)]
    assert len(set(ids)) == 4
    assert {len(event_id) for event_id in ids} == {32}
    assert max(ids[:2]) < min(ids[2:])


async def _marks(url: str) -> dict[str, str]:
    return {event.event_id: event.attribution for event in await _stored(url)}


async def test_a_token_of_the_shop_is_kept_and_another_one_is_ignored(url: str, client: AsyncClient) -> None:
    token = (await client.recommend("home", user_id="ann")).attribution_token
    altered = token[:-1] + ("A" if token[-1] != "A" else "B")

    recorded = await client.record_events(
        [
            _view("signed", attribution_token=token),
            _view("altered", attribution_token=altered),
            _view("foreign", attribution_token="no token"),  # noqa: S106
            _view("none"),
        ]
    )

    assert recorded.accepted_count == 4
    stored = {event.event_id: event.attribution_token for event in await _stored(url)}
    assert stored == {"signed": token, "altered": "", "foreign": "", "none": ""}
    assert await _marks(url) == {
        "signed": "valid",
        "altered": "invalid",
        "foreign": "invalid",
        "none": "none",
    }


async def test_an_event_for_an_item_that_was_not_shown_or_of_somebody_else_is_stored_and_marked(
    url: str, client: AsyncClient
) -> None:
    token = (await client.recommend("home", user_id="ann", filter=MUG)).attribution_token
    anonymous = (await client.recommend("home", filter=MUG)).attribution_token

    recorded = await client.record_events(
        [
            _view("right", attribution_token=token),
            _view("other item", item_id="tea", attribution_token=token),
            _view("other user", user_id="ben", attribution_token=token),
            _view("other visitor", user_id="", visitor_id="ann", attribution_token=token),
            _view("other user and item", user_id="ben", item_id="tea", attribution_token=token),
            _view("of an answer for nobody", user_id="ben", attribution_token=anonymous),
        ]
    )

    assert recorded.accepted_count == 6
    assert await _marks(url) == {
        "right": "valid",
        "other item": "foreign_item",
        "other user": "foreign_unit",
        "other visitor": "foreign_unit",
        "other user and item": "foreign_unit",
        "of an answer for nobody": "valid",
    }


async def test_a_login_does_not_make_what_a_visitor_was_shown_foreign(url: str, client: AsyncClient) -> None:
    phone, laptop, tablet = [
        (await client.recommend("home", visitor_id=visitor, filter=MUG)).attribution_token
        for visitor in ("phone", "laptop", "tablet")
    ]
    of_user = (await client.recommend("home", user_id="ann", filter=MUG)).attribution_token

    await client.record_events([_view("login", visitor_id="phone", attribution_token=phone)])
    await client.record_events(
        [
            _view("after it", attribution_token=phone),
            _view("after it, another item", item_id="tea", attribution_token=phone),
            _view("before the login", attribution_token=laptop),
            _view("login in the same call", visitor_id="laptop"),
            _view("after a logout", user_id="", visitor_id="phone", attribution_token=of_user),
            _view("of somebody else", attribution_token=tablet),
        ]
    )

    assert await _marks(url) == {
        "login": "valid",
        "after it": "valid",
        "after it, another item": "foreign_item",
        "before the login": "valid",
        "login in the same call": "none",
        "after a logout": "valid",
        "of somebody else": "foreign_unit",
    }


async def test_an_event_that_a_login_made_valid_in_between_is_still_a_duplicate(
    url: str, client: AsyncClient
) -> None:
    token = (await client.recommend("home", visitor_id="phone", filter=MUG)).attribution_token
    await client.record_events([_view("1", attribution_token=token)])
    await client.record_events([_view("2", visitor_id="phone")])

    again = await client.record_events([_view("1", attribution_token=token)])

    assert again.duplicate_count == 1
    assert await _marks(url) == {"1": "foreign_unit", "2": "none"}


async def test_the_answer_counts_each_event_once_and_lists_rejections_in_their_order(
    client: AsyncClient,
) -> None:
    await client.record_events([_view("1")])

    recorded = await client.record_events(
        [_view("1", item_id="kettle"), _view("2", type=""), _view("1"), _view("3"), _view("3")]
    )

    assert [(rejection.index, rejection.id, rejection.reason) for rejection in recorded.rejections] == [
        (0, "1", "ALREADY_EXISTS"),
        (1, "2", "INVALID_TYPE"),
    ]
    assert (recorded.accepted_count, recorded.duplicate_count) == (1, 2)
    assert recorded.durability == DURABILITY_DURABLE


async def test_the_id_of_a_rejected_event_is_shown_cut(client: AsyncClient) -> None:
    recorded = await client.record_events([_view("x" * 500)])

    assert recorded.rejections[0].id == "x" * 128


async def test_a_call_is_named_by_its_caller_or_by_the_server(client: AsyncClient) -> None:
    named = await client.events.RecordEvents(RecordEventsRequest(events=[_view()], request_id="mine"))
    unnamed = await client.events.RecordEvents(RecordEventsRequest(events=[_view()]))

    assert named.request_id == "mine"
    assert len(unnamed.request_id) == 32


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (RecordEventsRequest(), "events"),
        (RecordEventsRequest(events=[_view()] * 1_001), "events"),
        (RecordEventsRequest(events=[_view()], request_id="x" * 129), "request_id"),
    ],
)
async def test_a_wrong_request_stores_nothing(
    url: str, client: AsyncClient, request_: RecordEventsRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.events.RecordEvents(request_)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (refused.value.details() or "")
    assert await _stored(url) == []


async def test_fifty_calls_with_one_event_store_one_row(url: str, client: AsyncClient) -> None:
    request = RecordEventsRequest(events=[_view("1")])

    answers = await asyncio.gather(*(client.events.RecordEvents(request) for _ in range(50)))

    assert sum(answer.accepted_count for answer in answers) == 1
    assert sum(answer.duplicate_count for answer in answers) == 49
    assert [event.event_id for event in await _stored(url)] == ["1"]


async def test_a_cancelled_call_is_stored_whole_or_not_at_all(url: str, client: AsyncClient) -> None:
    chance = random.Random(0)

    for number in range(60):
        events = [_view(f"{number}-{place}") for place in range(20)]
        call = client.events.RecordEvents(RecordEventsRequest(events=events))
        await asyncio.sleep(chance.uniform(0, 0.02))
        call.cancel()
    await client.record_events([_view("last")])

    sizes: dict[str, int] = {}
    for event in await _stored(url):
        name = event.event_id.partition("-")[0]
        sizes[name] = sizes.get(name, 0) + 1
    assert sizes.pop("last") == 1
    assert set(sizes.values()) == {20}


async def test_buffered_events_are_named_so_and_seen_soon(url: str, client: AsyncClient) -> None:
    recorded = await client.record_events(
        [_view("1"), _view("2"), _view("3", item_id="")], durability=DURABILITY_BUFFERED
    )
    await _until_stored(url, 2)
    seen = await client.recommend("recently-viewed", user_id="ann")

    assert recorded.durability == DURABILITY_BUFFERED
    assert (recorded.accepted_count, recorded.duplicate_count, recorded.revision) == (2, 0, 0)
    assert [rejection.reason for rejection in recorded.rejections] == ["MISSING_ITEM"]
    assert [result.item_id for result in seen.results] == ["mug"]


@pytest.mark.parametrize("durability", [DURABILITY_UNSPECIFIED, 99])
async def test_a_durability_that_is_not_known_is_the_durable_one(
    url: str, client: AsyncClient, durability: Durability.ValueType
) -> None:
    recorded = await client.record_events([_view("1")], durability=durability)

    assert recorded.durability == DURABILITY_DURABLE
    assert [event.event_id for event in await _stored(url)] == ["1"]


async def _change(url: str, **settings: Any) -> None:
    """Change the shop as another process does."""
    database = await open_database(url)
    async with database.write() as connection:
        await change_shop(
            connection=connection, shop="default", change=lambda shop: replace(shop, **settings)
        )
    await database.close()


async def _until_first(client: AsyncClient, item_id: str) -> None:
    for _ in range(1_000):
        answer = await client.recommend("rank", candidate_item_ids=["kettle", "mug", "teapot"])
        if answer.results[0].item_id == item_id:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{item_id} did not come first")


async def test_a_custom_type_weighs_nothing_until_the_shop_gives_it_a_weight(url: str) -> None:
    views = [_view(item_id="mug", user_id=f"user-{number}") for number in range(2)]
    wishes = [_view(type="wish", item_id="teapot", user_id=f"user-{number}") for number in range(5)]

    async with _serving(url, refresh_seconds=0.05) as address, AsyncClient(address) as client:
        recorded = await client.record_events([*views, *wishes])
        await _change(url, event_types={"view": EventType(2)})
        await _until_first(client, "mug")
        await _change(url, event_types={"view": EventType(2), "wish": EventType(3)})
        await _until_first(client, "teapot")

    assert (recorded.accepted_count, list(recorded.rejections)) == (7, [])


async def test_a_refunded_purchase_lifts_an_item_no_more_and_is_not_seen(url: str) -> None:
    bought = [
        _view(f"order-{number}", type="purchase", item_id="teapot", user_id=f"user-{number}")
        for number in range(3)
    ]
    refunds = [
        _view(type="refund", item_id="teapot", user_id=event.user_id, reversed_event_id=event.event_id)
        for event in bought
    ]

    async def shown(client: AsyncClient, revision: int) -> list[str]:
        answer = await client.recommend("home", user_id="user-0", minimum_revision=revision)
        return sorted(result.item_id for result in answer.results)

    async with _serving(url) as address, AsyncClient(address) as client:
        recorded = await client.record_events([_view(item_id="mug", user_id="ben"), *bought])
        await _until_first(client, "teapot")
        before = await shown(client, recorded.revision)
        refunded = await client.record_events(refunds)
        after = await shown(client, refunded.revision)
        await _until_first(client, "mug")

    async with _serving(url) as address, AsyncClient(address) as client:
        await _until_first(client, "mug")

    assert ("teapot" in before, "teapot" in after) == (False, True)


async def test_events_of_a_type_for_searches_or_sessions_need_no_item(url: str) -> None:
    async with _serving(url, refresh_seconds=0.05) as address, AsyncClient(address) as client:
        refused = await client.record_events([_view(type="visit", item_id="")])
        await _change(
            url,
            event_types={
                "visit": EventType(role=EventRole.SESSION),
                "search": EventType(role=EventRole.OTHER),
            },
        )
        for _ in range(1_000):
            if (await client.record_events([_view(type="visit", item_id="")])).accepted_count:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the role was not taken over")
        no_search = await client.record_events([_view(type="search", item_id="")])

    for answer in (refused, no_search):
        assert [rejection.reason for rejection in answer.rejections] == ["MISSING_ITEM"]


async def test_a_shop_says_how_old_events_may_be(url: str) -> None:
    def sixty_days_old() -> Event:
        return _view(time=_timed(-60 * DAY).time)

    async with _serving(url, refresh_seconds=0.05) as address, AsyncClient(address) as client:
        refused = await client.record_events([sixty_days_old()])
        await _change(url, max_event_age_days=61)
        for _ in range(1_000):
            if (await client.record_events([sixty_days_old()])).accepted_count:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the setting was not taken over")

    assert [rejection.reason for rejection in refused.rejections] == ["TIME_TOO_OLD"]


async def test_a_flood_of_events_is_rejected_and_leaves_room_for_recommendations(url: str) -> None:
    writing = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    codes: list[grpc.StatusCode] = []

    async with (
        _serving(url, max_concurrent_calls=8) as address,
        AsyncClient(address, Options(deadline=60)) as client,
    ):

        async def record(number: int) -> None:
            try:
                await client.record_events([_view(str(number))])
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())

        writing.execute("BEGIN IMMEDIATE")
        flood = [asyncio.create_task(record(number)) for number in range(20)]
        for refused in islice(asyncio.as_completed(flood), 16):
            await refused
        answer = await client.recommend("rank", candidate_item_ids=["kettle", "mug"])
        still_waiting = sum(not call.done() for call in flood)
        writing.execute("ROLLBACK")
        await asyncio.gather(*flood)

    assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 16
    assert (len(answer.results), still_waiting) == (2, 4)
    assert len(await _stored(url)) == 4


async def test_a_full_queue_rejects_events_and_takes_them_again_once_it_is_emptied(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "QUEUE_SIZE", 10)
    writing = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)

    async with _serving(url) as address, AsyncClient(address, Options(deadline=60)) as client:
        writing.execute("BEGIN IMMEDIATE")
        waiting = []
        for _ in range(2):  # the first is being committed, the second waits
            waiting.append(asyncio.create_task(client.record_events([_view() for _ in range(10)])))
            await client.recommend("home")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.record_events([_view("late")])
        with pytest.raises(grpc.aio.AioRpcError) as refused_buffered:
            await client.record_events([_view("late")], durability=DURABILITY_BUFFERED)
        writing.execute("ROLLBACK")
        recorded = [await call for call in waiting]
        late = await client.record_events([_view("late")])

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused_buffered.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [answer.accepted_count for answer in [*recorded, late]] == [10, 10, 1]
