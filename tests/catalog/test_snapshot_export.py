"""A snapshot holds the shop, and nobody's id."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.catalog.configuration.attribute_definitions import replace_definitions
from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Attribution, Event
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import Assignment, ExposedItem, Exposure
from endcap.catalog.events.storing import store_events
from endcap.catalog.fields.attributes import EARLIEST, LATEST, AttributeValue, Moment
from endcap.catalog.items.items import Availability, Item, delete_items, upsert_items
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import forget_user
from endcap.catalog.people.user_records import UserRecord, upsert_user_records
from endcap.catalog.reports import snapshots
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.errors import NotFound
from endcap.sdk.snapshot import Snapshot, to_moment, unpack_attributes


MakeEvent = Callable[..., Event]

_SHOWN = Exposure(
    shop="default",
    request_id="r1",
    time=60,
    placement="home",
    view="7",
    bundles={"ease": "3"},
    items=(ExposedItem("mug", "ease", "ease@3", -0.25), ExposedItem("kettle", "popular")),
    user_id="ann",
    assignments=(Assignment("blue", "b", 0.5),),
)


async def _fill(database: Database, make: MakeEvent) -> None:
    events = [
        make("1", time=30, type="purchase", price_nanos=1_500_000_000, quantity=2.0),
        make("2", time=10, user_id=None, visitor_id="phone"),
        make("3", time=20, visitor_id="phone", item_id="kettle"),
        make("4", time=40, user_id=None, visitor_id="stranger", value=4.0),
        make("5", time=50, item_id="not there yet"),
    ]
    async with database.write() as connection:
        items = [
            Item(
                "mug",
                title="Mug",
                language_code="en-GB",
                categories=("Home",),
                price_nanos=1_500_000_000,
                image_uris=("https://shop.example/mug.jpg", "s3://pictures/mug.png"),
            ),
            Item("kettle"),
        ]
        await upsert_items(connection=connection, shop="default", items=items, now=5)
        await delete_items(connection=connection, shop="default", item_ids=["kettle"], now=6)
        await store_events(connection=connection, shop="default", events=events)


async def _show(database: Database, *exposures: Exposure) -> None:
    log = ExposureLog(database)
    for exposure in exposures:
        log.record(exposure)
    await log.close()


async def test_a_snapshot_comes_back_as_the_shop_is(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    assert (snapshot.manifest.shop, snapshot.manifest.as_of, snapshot.manifest.currency) == (
        "default",
        50,
        "GBP",
    )
    assert snapshot.items().select("item_id", "title", "language_code", "price", "available").rows() == [
        ("mug", "Mug", "en-GB", 1.5, True),
        ("kettle", "", "", None, False),
    ]
    assert snapshot.items()["categories"].to_list() == [["Home"], []]
    assert snapshot.items()["image_uris"].to_list() == [
        ["https://shop.example/mug.jpg", "s3://pictures/mug.png"],
        [],
    ]
    events = snapshot.events().select("item_id", "type", "time", "quantity", "price", "value")
    assert events.rows() == [
        ("mug", "view", 10, 1.0, None, None),
        ("kettle", "view", 20, 1.0, None, None),
        ("mug", "purchase", 30, 2.0, 1.5, None),
        ("mug", "view", 40, 1.0, None, 4.0),
    ]


async def test_items_are_as_they_stand_at_the_moment_of_the_snapshot(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    """The newest event is at 50."""
    items = [
        Item("mug", available_time=50),
        Item("soon", available_time=51),
        Item("gone", expire_time=50),
        Item("going", expire_time=51),
        Item("dollars", price_nanos=10**9, currency="USD"),
        Item("pounds", price_nanos=10**9, currency="GBP"),
    ]
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=items, now=5)
        events = [catalog_event("1", time=50, price_nanos=10**9, currency="USD")]
        await store_events(connection=connection, shop="default", events=events)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    assert dict(snapshot.items().select("item_id", "available").iter_rows()) == {
        "mug": True,
        "soon": False,
        "gone": False,
        "going": True,
        "dollars": True,
        "pounds": True,
    }
    assert snapshot.items()["price"].to_list()[-2:] == [None, 1.0]
    assert snapshot.events()["price"].to_list() == [None]


async def test_an_item_is_there_with_all_that_the_shop_says_of_it(
    catalog_database: Database, tmp_path: Path
) -> None:
    item = Item(
        "mug",
        title="Mug",
        description="Red.",
        localized_texts={"de": {"title": "Becher", "description": "Rot."}, "fr": {"title": "Tasse"}},
        tags=("new",),
        availability=Availability.PREORDER,
        available_time=7,
        expire_time=8,
        group_id="mugs",
        created_time=3,
        attributes={"colours": ["red", "blue"], "fair": True, "since": Moment(1_500), "watts": 9.5},
    )
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[item, Item("kettle")], now=5)
        await delete_items(connection=connection, shop="default", item_ids=["kettle"], now=6)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    items = Snapshot.open(tmp_path / "snapshot").items()

    assert items["localized_texts"].to_list() == [
        [
            {"language_code": "de", "title": "Becher", "description": "Rot."},
            {"language_code": "fr", "title": "Tasse", "description": None},
        ],
        [],
    ]
    assert items.select(
        "description", "tags", "availability", "available_time", "expire_time", "deleted", "created_time"
    ).rows() == [
        ("Red.", ["new"], "preorder", 7, 8, False, 3),
        ("", [], "in_stock", None, None, True, 5),
    ]
    assert unpack_attributes(items["attributes"]) == [
        {
            "colours": ["red", "blue"],
            "fair": True,
            "since": datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC),
            "watts": 9.5,
        },
        {},
    ]


async def test_users_are_there_with_what_the_shop_says_of_them_and_without_events_too(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    records = [
        UserRecord("ann", tags=("gold",), attributes={"floor": 3}, language_code="de", created_time=2),
        UserRecord("bea", created_time=1),
    ]
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=5)
        events = [catalog_event("1", time=30), catalog_event("2", time=4, user_id=None, visitor_id="phone")]
        await store_events(connection=connection, shop="default", events=events)
        await upsert_user_records(connection=connection, shop="default", records=records, now=9)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    users = Snapshot.open(tmp_path / "snapshot").users().sort("created_time")

    assert users.select("tags", "language_code", "created_time").rows() == [
        ([], "", 1),
        (["gold"], "de", 2),
        ([], "", 4),
    ]
    assert unpack_attributes(users["attributes"]) == [{}, {"floor": 3.0}, {}]


async def test_events_keep_their_properties_and_which_of_them_were_one_order(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    """Equal order ids of two users stay apart, and none is there as it was."""
    events = [
        catalog_event("1", time=1, order_id="order-7", properties={"page": "home", "seen": {"time": 1_000}}),
        catalog_event("2", time=2, order_id="order-7"),
        catalog_event("3", time=3, order_id="order-8"),
        catalog_event("4", time=4, order_id="order-7", user_id="bea"),
        catalog_event("5", time=5, attribution=Attribution.FOREIGN_ITEM),
    ]
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=5)
        await store_events(connection=connection, shop="default", events=events)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    first, second, third, fourth, fifth = snapshot.events()["order"]
    assert first == second
    assert len({first, third, fourth, fifth}) == 4
    assert fifth == ""
    assert snapshot.events()["attribution"].to_list() == ["none"] * 4 + ["foreign_item"]
    assert all(re.fullmatch("[0-9a-f]{32}", order) for order in (first, third, fourth))
    assert unpack_attributes(snapshot.events()["properties"])[:2] == [
        {"page": "home", "seen": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)},
        {},
    ]


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_VALUES: st.SearchStrategy[AttributeValue] = (
    _TEXTS
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(EARLIEST, LATEST).map(Moment)
    | st.lists(_TEXTS, max_size=3)
)
_ATTRIBUTES = st.dictionaries(st.from_regex("[a-z][a-z0-9_]{0,5}", fullmatch=True), _VALUES, max_size=5)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(shop=st.lists(_ATTRIBUTES, min_size=1, max_size=4))
async def test_attributes_come_back_as_they_were_stored(
    catalog_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    shop: list[dict[str, AttributeValue]],
) -> None:
    folder = tmp_path_factory.mktemp("snapshots") / "snapshot"
    # An attribute has one type, so each item has attributes of its own.
    shop = [
        {f"{name}_{number}": value for name, value in attributes.items()}
        for number, attributes in enumerate(shop)
    ]
    items = [Item(str(number), attributes=attributes) for number, attributes in enumerate(shop)]
    async with catalog_database.write() as connection:
        await replace_definitions(connection=connection, shop="default", types={})  # of earlier examples
        await upsert_items(connection=connection, shop="default", items=items, now=5)

    await export_snapshot(catalog_database, "default", folder)
    table = Snapshot.open(folder).items()[: len(items)]  # beyond are those of earlier examples

    wanted = [
        {name: to_moment(value) if isinstance(value, Moment) else value for name, value in attributes.items()}
        for attributes in shop
    ]
    assert unpack_attributes(table["attributes"]) == wanted


async def test_what_was_shown_is_there_item_by_item(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)
    await _show(
        catalog_database,
        _SHOWN,
        replace(_SHOWN, request_id="r2", time=55, user_id=None, visitor_id="phone", items=_SHOWN.items[:1]),
        replace(_SHOWN, request_id="r3", page=10, time=70, user_id="never seen", items=_SHOWN.items[1:]),
        replace(_SHOWN, request_id="r3", page=10, time=80, user_id="never seen", items=_SHOWN.items[:1]),
    )

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    ann = snapshot.events()["user"][2]
    assigned = [{"experiment": "blue", "variant": "b", "propensity": 0.5}]
    assert snapshot.exposures().rows() == [
        (ann, 55, "r2", "home", assigned, 1, "mug", "ease", "ease@3", -0.25),
        (ann, 60, "r1", "home", assigned, 1, "mug", "ease", "ease@3", -0.25),
        (ann, 60, "r1", "home", assigned, 2, "kettle", "popular", "", None),
        (None, 80, "r3", "home", assigned, 11, "mug", "ease", "ease@3", -0.25),
    ]


async def test_people_appear_under_pseudonyms_and_linked_visitors_as_their_users(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)
    await _show(catalog_database, replace(_SHOWN, user_id=None, visitor_id="stranger"))

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    ann_as_visitor, ann_linked, ann, stranger = snapshot.events()["user"].to_list()
    assert ann_as_visitor == ann_linked == ann != stranger
    assert sorted(snapshot.users()["user"]) == sorted([ann, stranger])
    assert set(snapshot.exposures()["user"]) == {stranger}
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in (ann, stranger))
    for file in snapshot.folder.iterdir():
        assert b"stranger" not in file.read_bytes()


async def test_who_was_forgotten_is_in_no_table(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)
    await _show(catalog_database, _SHOWN, replace(_SHOWN, user_id=None, visitor_id="stranger"))

    await forget_user(catalog_database, "default", People(frozenset({"ann"})))
    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    (stranger,) = snapshot.users()["user"]
    assert set(snapshot.events()["user"]) == set(snapshot.exposures()["user"]) == {stranger}
    assert dict(snapshot.manifest.counts) == {"items": 2, "users": 1, "events": 1, "exposures": 2}


async def test_equal_shops_give_equal_snapshots(
    catalog_database: Database,
    tmp_path: Path,
    catalog_event: MakeEvent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await _fill(catalog_database, catalog_event)
    await _show(catalog_database, _SHOWN)

    first = await export_snapshot(catalog_database, "default", tmp_path / "first")
    monkeypatch.setattr(snapshots, "_PARTITION", 1)
    second = await export_snapshot(catalog_database, "default", tmp_path / "second")

    assert first.fingerprint == second.fingerprint


async def test_an_empty_shop_gives_an_empty_snapshot(catalog_database: Database, tmp_path: Path) -> None:
    manifest = await export_snapshot(catalog_database, "default", tmp_path / "snapshot")

    assert dict(manifest.counts) == {"items": 0, "users": 0, "events": 0, "exposures": 0}
    assert manifest.event_weights == EVENT_WEIGHTS


async def test_a_shop_that_does_not_exist_leaves_nothing(catalog_database: Database, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await export_snapshot(catalog_database, "nowhere", tmp_path / "snapshots" / "snapshot")

    assert list((tmp_path / "snapshots").iterdir()) == []


async def test_a_shop_is_written_to_an_object_store(
    catalog_database: Database, bucket: str, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)

    manifest = await export_snapshot(catalog_database, "default", f"{bucket}/monday")

    assert Snapshot.open(f"{bucket}/monday").manifest == manifest
    assert manifest.counts["events"] == 4


async def test_what_does_not_count_is_left_out(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    events = [
        catalog_event("search", type="search", item_id="", query="pot"),
        catalog_event("returned", type="purchase"),
        catalog_event("return", type="refund", reversed_event_id="returned"),
        catalog_event("kept", type="purchase", unit_cost_nanos=1_250_000_000),
    ]
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug", title="Mug")], now=5)
        await store_events(connection=connection, shop="default", events=events)

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")

    found = Snapshot.open(tmp_path / "snapshot").events()
    assert found.select("type", "price", "unit_cost").rows() == [("purchase", None, 1.25)]
