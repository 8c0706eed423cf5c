"""A snapshot holds the shop, and nobody's id."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from endcap.catalog import snapshots
from endcap.catalog.database import Database
from endcap.catalog.events import Event, store_events
from endcap.catalog.exposures import ExposedItem, Exposure, ExposureLog
from endcap.catalog.forgetting import forget_user
from endcap.catalog.items import Item, delete_items, upsert_items
from endcap.catalog.snapshots import export_snapshot
from endcap.catalog.tombstones import People
from endcap.sdk.errors import NotFound
from endcap.sdk.snapshot import Snapshot


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
    experiment="blue",
    variant="b",
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
    assert snapshot.events().drop("user").rows() == [
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


async def test_what_was_shown_is_there_item_by_item(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)
    await _show(
        catalog_database,
        _SHOWN,
        replace(_SHOWN, request_id="r2", time=55, user_id=None, visitor_id="phone", items=_SHOWN.items[:1]),
        replace(_SHOWN, request_id="r3", time=70, user_id="never seen", items=_SHOWN.items[:1]),
    )

    await export_snapshot(catalog_database, "default", tmp_path / "snapshot")
    snapshot = Snapshot.open(tmp_path / "snapshot")

    ann = snapshot.events()["user"][2]
    assert snapshot.exposures().rows() == [
        (ann, 55, "r2", "home", "blue", "b", 1, "mug", "ease", "ease@3", -0.25),
        (ann, 60, "r1", "home", "blue", "b", 1, "mug", "ease", "ease@3", -0.25),
        (ann, 60, "r1", "home", "blue", "b", 2, "kettle", "popular", "", None),
        (None, 70, "r3", "home", "blue", "b", 1, "mug", "ease", "ease@3", -0.25),
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
    assert snapshot.users()["user"].to_list() == sorted([ann, stranger])
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


async def test_a_shop_that_is_none_leaves_nothing(catalog_database: Database, tmp_path: Path) -> None:
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
