"""The strategies that a shop's data is enough for: counted in the database, judged by numbers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Event
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.reports.counting import count_shop
from endcap.catalog.reports.readiness import DAY, MOST_DENSE_ITEMS, Counts, Level, judge, warn
from endcap.trainers.ease import MAXIMUM_ITEMS


READY = Counts(
    items=4_000,
    described_items=2_000,
    users=4_285,
    events={"purchase": 50_000, "view": 9},
    first_time=1_259_653_500_000,
    last_time=1_259_653_500_000 + 374 * DAY,
    positives=50_000,
    chosen_pairs=40_000,
    chosen_items=3_900,
    choosers=4_000,
    returning=1_000,
    judged=1_000,
)
FAMILIES = ("popular", "content", "item_knn", "ease", "next_purchase", "measuring")


def _levels(counts: Counts) -> dict[str, Level]:
    return {verdict.family[0]: verdict.level for verdict in judge(counts)}


async def test_a_shop_is_counted(catalog_database: Database, catalog_event: Callable[..., Event]) -> None:
    day = 1_000 * DAY
    items = [Item("mug", "Mug", brand="Acme"), Item("pot", "Pot", tags=("red",)), Item("pan", "Pan")]
    events = [
        catalog_event("1", type="purchase", time=day, user_id=None, visitor_id="phone"),
        catalog_event("2", type="view", time=day + 1, visitor_id="phone"),  # the phone is Ann's
        catalog_event("3", type="purchase", item_id="pot", time=day + 31 * DAY),
        catalog_event("4", type="purchase", item_id="pot", time=day + 40 * DAY),
        catalog_event("5", type="purchase", time=day + 40 * DAY, user_id=None, visitor_id="tablet"),
        catalog_event("6", type="purchase", time=day + 40 * DAY, user_id=None, visitor_id="tablet"),
        catalog_event("7", type="purchase", item_id="gone", time=day + 2 * DAY, user_id="bob"),
    ]
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=items, now=1)
        await store_events(connection=connection, shop="default", events=events)

    async with catalog_database.read() as connection:
        counts = await count_shop(connection=connection, shop="default")

    assert counts == Counts(
        items=3,
        described_items=2,
        users=2,
        visitors=1,
        events={"purchase": 6, "view": 1},
        first_time=day,
        last_time=day + 40 * DAY,
        repeated_events=1,
        unknown_events=1,
        unknown_items=1,
        positives=7,  # beside so few purchases the view counts too
        chosen_pairs=3,  # Ann's mug and pot, the tablet's mug
        chosen_items=2,
        choosers=2,
        returning=1,
        judged=1,
    )
    assert (counts.event_count, counts.days, counts.density) == (7, 40.0, 3 / (2 * 3))


async def test_a_shop_without_anything_is_counted(catalog_database: Database) -> None:
    async with catalog_database.read() as connection:
        counts = await count_shop(connection=connection, shop="default")

    assert counts == Counts()
    assert (counts.days, counts.density, warn(counts)) == (0.0, 0.0, [])
    assert set(_levels(counts).values()) == {Level.TOO_LITTLE}


async def test_without_purchases_every_event_is_a_choice(
    catalog_database: Database, catalog_event: Callable[..., Event]
) -> None:
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=1)
        events = [catalog_event("1"), catalog_event("2", type="click")]
        await store_events(connection=connection, shop="default", events=events)

    async with catalog_database.read() as connection:
        counts = await count_shop(connection=connection, shop="default")

    assert (counts.positives, counts.chosen_pairs) == (2, 1)
    assert any("no event is a purchase" in warning for warning in warn(counts))


def test_a_shop_that_has_all_is_ready_for_all() -> None:
    assert _levels(READY) == dict.fromkeys(FAMILIES, Level.ENOUGH)
    assert all(not verdict.advice for verdict in judge(READY))
    assert warn(READY) == []


@pytest.mark.parametrize(
    ("changes", "levels", "said"),
    [
        ({"chosen_items": 9}, {"popular": Level.THIN}, "9 items were chosen, and a list has 10"),
        ({"chosen_items": 0}, {"popular": Level.TOO_LITTLE}, "no item was chosen"),
        ({"described_items": 1_999}, {"content": Level.THIN}, "2,001 of 4,000 items have a title"),
        (
            {"positives": 49_999},
            dict.fromkeys(("item_knn", "ease", "next_purchase"), Level.THIN),
            (
                "there are 49,999 positives, and 1,000 users chose two items or more;"
                " 50,000 and 1,000 are better"
            ),
        ),
        (
            {"returning": 24},
            dict.fromkeys(("item_knn", "ease", "next_purchase"), Level.TOO_LITTLE),
            "24 users chose two items or more; 1,000 and 25 are needed",
        ),
        (
            {"items": 20_001, "described_items": 20_001},
            dict.fromkeys(("ease", "next_purchase"), Level.TOO_LITTLE),
            "20,001 items, and a model of every two holds 20,000: train item_knn with max_neighbors=500",
        ),
        (
            {"first_time": READY.last_time - 55 * DAY},  # type: ignore[operator]
            {"next_purchase": Level.THIN},
            "the events span 55 days, and it learns from 56",
        ),
        (
            {"first_time": READY.last_time - 30 * DAY},  # type: ignore[operator]
            {"next_purchase": Level.THIN, "measuring": Level.TOO_LITTLE},
            "train with --no-measure",
        ),
        ({"judged": 999}, {"measuring": Level.THIN}, "999 users of the last 30 days"),
        ({"judged": 24}, {"measuring": Level.TOO_LITTLE}, "the same user_id for the same person"),
        ({"events": {"view": 9}}, {"next_purchase": Level.TOO_LITTLE}, "record purchases"),
    ],
)
def test_what_is_too_little_is_named_with_what_to_do(
    changes: dict[str, object], levels: dict[str, Level], said: str
) -> None:
    counts = replace(READY, **changes)  # type: ignore[arg-type]

    assert _levels(counts) == dict.fromkeys(FAMILIES, Level.ENOUGH) | levels
    assert any(said in verdict.advice for verdict in judge(counts))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"unknown_events": 7, "unknown_items": 2},
            "7 of 50,009 events name 2 items that the catalog does not",
        ),
        ({"repeated_events": 5}, "5 events repeat another one"),
        ({"first_time": 364 * DAY}, "write times in milliseconds"),
    ],
)
def test_what_looks_wrong_is_said(changes: dict[str, int], said: str) -> None:
    (warning,) = warn(replace(READY, **changes))  # type: ignore[arg-type]

    assert said in warning


def test_the_limit_of_dense_models_is_that_of_their_trainers() -> None:
    assert MOST_DENSE_ITEMS == MAXIMUM_ITEMS
