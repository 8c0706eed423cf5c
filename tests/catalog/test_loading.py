"""A shop in memory says what its tables say."""

from collections.abc import Callable

import numpy as np
import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Event
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Availability, Item, upsert_items
from endcap.catalog.memory.loading import load_shop
from endcap.sdk.errors import NotFound
from endcap.sdk.features import DAY


NOW = 1_700_000_000_000

MakeEvent = Callable[..., Event]


async def _fill(database: Database, items: list[Item], events: list[Event], *, shop: str = "default") -> None:
    async with database.write() as connection:
        await upsert_items(connection=connection, shop=shop, items=items, now=1)
        await store_events(connection=connection, shop=shop, events=events)


async def test_an_empty_shop_loads(catalog_database: Database) -> None:
    loaded = await load_shop(catalog_database, "default", now=NOW)

    assert (len(loaded.view), len(loaded.histories), loaded.shop.revision) == (0, 0, 1)
    assert loaded.view.version == "default@1"


async def test_an_unknown_shop_is_not_found(catalog_database: Database) -> None:
    with pytest.raises(NotFound):
        await load_shop(catalog_database, "nowhere", now=NOW)


async def test_the_view_has_the_items_in_their_rows(catalog_database: Database) -> None:
    items = [
        Item("mug", title="Mug", categories=("Home",), price_nanos=1_500_000_000, created_time=7),
        Item("kettle", title="Kettle", price_nanos=10, currency="USD"),
        Item("spoon", currency="GBP", price_nanos=2_000_000_000, availability=Availability.OUT_OF_STOCK),
    ]
    await _fill(catalog_database, items, [])

    view = (await load_shop(catalog_database, "default", now=NOW)).view

    assert view.vocabulary.ids == ("mug", "kettle", "spoon")
    assert view.titles == ("Mug", "Kettle", "")
    assert view.categories.of_row(0) == ("Home",)
    np.testing.assert_array_equal(view.prices, [1.5, np.nan, 2.0])
    assert (view.currency, view.available.tolist()) == ("GBP", [True, True, False])
    assert view.created.tolist() == [7, 1, 1]


async def test_an_item_is_available_within_its_time(catalog_database: Database) -> None:
    items = [Item("early", available_time=11), Item("now", available_time=10, expire_time=11), Item("late")]
    await _fill(catalog_database, [*items[:2], Item("late", expire_time=10)], [])

    view = (await load_shop(catalog_database, "default", now=10)).view

    assert view.available.tolist() == [False, True, False]


async def test_the_view_counts_from_its_newest_event(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    events = [
        catalog_event("1", time=100 * DAY),
        catalog_event("2", time=98 * DAY, user_id="bob"),
        catalog_event("3", time=98 * DAY, user_id="bob"),
    ]
    await _fill(catalog_database, [Item("mug")], events)

    loaded = await load_shop(catalog_database, "default", now=NOW)

    assert loaded.view.as_of == 100 * DAY
    assert loaded.view.users_by_age["view"][:3].tolist() == [[1], [1], [0]]
    assert loaded.histories.revision == loaded.shop.revision == 3


async def test_histories_have_ratings_and_quantities(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    events = [
        catalog_event("1", type="purchase", quantity=12.0, time=1),
        catalog_event("2", type="rating", value=4.5, time=2),
    ]
    await _fill(catalog_database, [Item("mug")], events)

    histories = (await load_shop(catalog_database, "default", now=NOW)).histories

    assert histories.of("ann").values.tolist() == [12, 4.5]


async def test_the_usual_price_is_the_median_of_what_was_paid(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    """The mug was sold for 2, 2 and 5; dollars, views and sales without a price say nothing."""

    def sale(event_id: str, pounds: int | None, **changes: object) -> Event:
        price_nanos = None if pounds is None else pounds * 1_000_000_000
        return catalog_event(event_id, **{"type": "purchase", "price_nanos": price_nanos, **changes})

    events = [
        *[sale("1", 2), sale("2", 5, currency="GBP"), sale("3", 2), sale("4", None)],
        *[sale("5", 90, currency="USD"), sale("6", 80, type="view"), sale("7", 7, item_id="not there yet")],
    ]
    await _fill(catalog_database, [Item("kettle"), Item("mug")], events)

    view = (await load_shop(catalog_database, "default", now=NOW)).view

    np.testing.assert_array_equal(view.usual_prices, [np.nan, 2])


async def test_histories_are_loaded_with_their_links(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    events = [
        catalog_event("1", user_id=None, visitor_id="phone", time=1),
        catalog_event("2", visitor_id="phone", item_id="not there yet", time=2),
        catalog_event("3", type="purchase", time=3),
    ]
    await _fill(catalog_database, [Item("mug")], events)

    histories = (await load_shop(catalog_database, "default", now=NOW)).histories

    assert histories.of(visitor_id="phone").types.tolist() == ["view", "purchase"]
    assert histories.seen("ann").tolist() == [0]


async def test_an_item_that_comes_after_its_events_gets_them(
    catalog_database: Database, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, [], [catalog_event("1", item_id="new")])
    await _fill(catalog_database, [Item("new")], [])

    histories = (await load_shop(catalog_database, "default", now=NOW)).histories

    assert histories.of("ann").rows.tolist() == [0]


async def test_two_shops_do_not_see_each_other(catalog_database: Database, catalog_event: MakeEvent) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="second", now=1)
    await _fill(catalog_database, [Item("mug", title="First")], [catalog_event("1")])
    second = [Item("kettle"), Item("mug", title="Second")]
    await _fill(catalog_database, second, [catalog_event("1", item_id="kettle")], shop="second")

    first_loaded = await load_shop(catalog_database, "default", now=NOW)
    second_loaded = await load_shop(catalog_database, "second", now=NOW)

    assert first_loaded.view.titles == ("First",)
    assert second_loaded.view.titles == ("", "Second")
    assert (len(first_loaded.histories), len(second_loaded.histories)) == (1, 1)
    assert second_loaded.histories.of("ann").rows.tolist() == [0]
