"""An event that others take back wholly, such as a refunded purchase, leaves histories and counts."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from endcap.catalog.configuration.shop_settings import EventRole, EventType
from endcap.catalog.configuration.shops import change_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Event, Outcome, events_after
from endcap.catalog.events.storing import Stored, foresee_events, store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.memory.changes_since import read_changes_since
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.loading import LoadedShop, load_shop
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import forget_user
from endcap.catalog.reports.counting import count_shop


MakeEvent = Callable[..., Event]

NOW = 1_700_000_000_000


@pytest.fixture(autouse=True)
async def _items(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        items = [Item("mug", title="Mug"), Item("kettle", title="Kettle")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)


@pytest.fixture
def purchase(catalog_event: MakeEvent) -> MakeEvent:
    def make(event_id: str, **changes: object) -> Event:
        return catalog_event(event_id, **{"type": "purchase", "price_nanos": 4 * 10**9, **changes})

    return make


@pytest.fixture
def refund(catalog_event: MakeEvent) -> MakeEvent:
    def make(event_id: str, of: str = "bought", **changes: object) -> Event:
        return catalog_event(event_id, **{"type": "refund", "reversed_event_id": of, **changes})

    return make


async def _store(database: Database, *events: Event) -> Stored:
    async with database.write() as connection:
        return await store_events(connection=connection, shop="default", events=events)


async def _load(database: Database) -> LoadedShop:
    return await load_shop(database, "default", now=NOW)


def _bought(histories: Histories) -> int:
    return len(histories.of("ann").of_type("purchase"))


async def test_a_refunded_purchase_counts_nowhere_and_stays_stored(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent
) -> None:
    await _store(catalog_database, purchase("bought", price_nanos=10**9), purchase("kept", user_id="ben"))
    before = await _load(catalog_database)

    stored = await _store(catalog_database, refund("back"))

    after = await _load(catalog_database)
    assert [event.event_id for event in stored.taken_back] == ["bought"]
    assert [_bought(each.histories) for each in (before, after)] == [1, 0]
    assert [int(each.view.users_by_age["purchase"].sum()) for each in (before, after)] == [2, 1]
    assert "refund" not in after.view.users_by_age
    assert [each.view.paid_prices[0] for each in (before, after)] == [1.0, 4.0]
    async with catalog_database.read() as connection:
        events = await events_after(connection=connection, shop="default", revision=0)
        counts = await count_shop(connection=connection, shop="default")
    assert [event.event_id for _, event in events] == ["bought", "kept", "back"]
    assert (counts.events, counts.choosers) == ({"purchase": 1}, 1)


@pytest.mark.parametrize(
    ("quantity", "parts"), [(1.0, [1.0]), (3.0, [1.0, 2.0]), (0.8, [0.1, 0.7]), (2.0, [5.0])]
)
async def test_a_purchase_counts_until_its_whole_quantity_is_taken_back(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent, quantity: float, parts: list[float]
) -> None:
    await _store(catalog_database, purchase("bought", quantity=quantity))

    for number, part in enumerate(parts):
        assert _bought((await _load(catalog_database)).histories) == 1
        await _store(catalog_database, refund(str(number), quantity=part))

    assert _bought((await _load(catalog_database)).histories) == 0


async def test_a_purchase_and_its_refunds_may_come_in_one_call(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent
) -> None:
    stored = await _store(
        catalog_database, purchase("bought", quantity=2), refund("one"), refund("other", item_id="")
    )

    assert stored.outcomes == (Outcome.ACCEPTED,) * 3
    assert [event.event_id for event in stored.taken_back] == ["bought"]


async def test_a_refund_of_somebody_or_something_else_is_rejected_alone(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent
) -> None:
    await _store(
        catalog_database, purchase("bought"), purchase("used", quantity=2), refund("back", of="used")
    )
    events = [
        refund("unknown", of="nothing"),
        refund("other user", user_id="ben"),
        refund("visitor", user_id=None, visitor_id="ann"),
        refund("other item", item_id="kettle"),
        refund("of a refund", of="back"),
        refund("itself", of="itself"),
        refund("too early", of="later"),
        purchase("later"),
    ]
    async with catalog_database.read() as connection:
        foreseen = await foresee_events(connection=connection, shop="default", events=events, revision=99)

    stored = await _store(catalog_database, *events)

    assert list(stored.outcomes) == foreseen == [Outcome.NOTHING_REVERSED] * 7 + [Outcome.ACCEPTED]
    assert stored.taken_back == ()


async def test_a_visitor_who_logs_in_takes_back_what_the_visitor_bought(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent, catalog_event: MakeEvent
) -> None:
    await _store(catalog_database, purchase("bought", user_id=None, visitor_id="phone"))
    refused = await _store(catalog_database, refund("early"))
    await _store(catalog_database, catalog_event("login", visitor_id="phone"))

    taken = await _store(catalog_database, refund("late"))

    assert (refused.outcomes, taken.outcomes) == ((Outcome.NOTHING_REVERSED,), (Outcome.ACCEPTED,))
    assert _bought((await _load(catalog_database)).histories) == 0


async def test_a_repeated_refund_is_a_duplicate_even_when_its_purchase_is_gone(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent
) -> None:
    await _store(catalog_database, purchase("bought", quantity=2), refund("back"))
    repeated = await _store(catalog_database, refund("back"))
    async with catalog_database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM events WHERE event_id = 'bought'")

    without = await _store(catalog_database, refund("back"))

    assert repeated.outcomes == without.outcomes == (Outcome.DUPLICATE,)
    assert repeated.taken_back == ()


async def test_a_process_that_catches_up_holds_what_one_that_loads_holds(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent, catalog_event: MakeEvent
) -> None:
    calls: list[Sequence[Event]] = [
        [purchase("bought", quantity=2), purchase("twin")],
        [refund("one")],
        [catalog_event("seen"), purchase("new", item_id="kettle")],
        [refund("two"), refund("more"), refund("three", of="new", item_id="kettle")],
    ]
    loaded = [await _load(catalog_database)]
    for events in calls:
        await _store(catalog_database, *events)
        loaded.append(await _load(catalog_database))

    for each in loaded:
        async with catalog_database.read() as connection:
            changes = await read_changes_since(
                connection=connection, shop="default", revision=each.shop.revision
            )
        for revision in sorted(changes.revisions, reverse=True):
            each.histories.apply(changes.events.get(revision, ()), revision)

    found = [(each.histories.of("ann").types.tolist(), len(each.histories)) for each in loaded]
    assert [sorted(types) for types, _ in found] == [["purchase", "view"]] * 5
    assert {count for _, count in found} == {2}


async def test_the_events_of_a_forgotten_user_go_with_and_without_an_item(
    catalog_database: Database, purchase: MakeEvent, refund: MakeEvent, catalog_event: MakeEvent
) -> None:
    search = catalog_event("search", type="search", item_id="", query="pot")
    await _store(catalog_database, purchase("bought"), refund("back"), search)

    forgotten = await forget_user(catalog_database, "default", People(frozenset({"ann"})))

    assert forgotten.event_count == 3
    async with catalog_database.read() as connection:
        assert await events_after(connection=connection, shop="default", revision=0) == []


async def test_prices_are_paid_by_events_with_the_role_of_a_purchase(
    catalog_database: Database, purchase: MakeEvent
) -> None:
    async with catalog_database.write() as connection:
        await change_shop(
            connection=connection,
            shop="default",
            change=lambda shop: replace(shop, event_types={"order": EventType(5, EventRole.PURCHASE)}),
        )
    await _store(
        catalog_database,
        purchase("order", type="order", price_nanos=2 * 10**9),
        purchase("wish", type="wish", price_nanos=9 * 10**9),
    )

    assert (await _load(catalog_database)).view.paid_prices[0] == 2.0
