"""A snapshot holds the shop, and nobody's id."""

from collections.abc import Callable
from pathlib import Path

from endcap.catalog.database import Database
from endcap.catalog.events import Event, store_events
from endcap.catalog.items import Item, delete_items, upsert_items
from endcap.catalog.snapshots import export_snapshot
from endcap.sdk.snapshot import Snapshot


MakeEvent = Callable[..., Event]


async def _fill(database: Database, make: MakeEvent) -> None:
    events = [
        make("1", time=30, type="purchase", price_nanos=1_500_000_000, quantity=2.0),
        make("2", time=10, user_id=None, visitor_id="phone"),
        make("3", time=20, visitor_id="phone", item_id="kettle"),
        make("4", time=40, user_id=None, visitor_id="stranger", value=4.0),
        make("5", time=50, item_id="not there yet"),
    ]
    async with database.write() as connection:
        items = [Item("mug", title="Mug", categories=("Home",), price_nanos=1_500_000_000), Item("kettle")]
        await upsert_items(connection=connection, shop="default", items=items, now=5)
        await delete_items(connection=connection, shop="default", item_ids=["kettle"], now=6)
        await store_events(connection=connection, shop="default", events=events)


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
    assert snapshot.items().select("item_id", "title", "price", "available").rows() == [
        ("mug", "Mug", 1.5, True),
        ("kettle", "", None, False),
    ]
    assert snapshot.items()["categories"].to_list() == [["Home"], []]
    assert snapshot.events().drop("user").rows() == [
        ("mug", "view", 10, 1.0, None, None),
        ("kettle", "view", 20, 1.0, None, None),
        ("mug", "purchase", 30, 2.0, 1.5, None),
        ("mug", "view", 40, 1.0, None, 4.0),
    ]


async def test_people_appear_under_pseudonyms_and_linked_visitors_as_their_users(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)

    snapshot = await export_snapshot(catalog_database, "default", tmp_path / "snapshot")

    ann_as_visitor, ann_linked, ann, stranger = snapshot.events()["user"].to_list()
    assert ann_as_visitor == ann_linked == ann != stranger
    assert sorted(snapshot.users()["user"]) == sorted([ann, stranger])
    assert not {"ann", "phone", "stranger"} & {ann, stranger}
    for file in snapshot.folder.iterdir():
        assert b"stranger" not in file.read_bytes()


async def test_equal_shops_give_equal_snapshots(
    catalog_database: Database, tmp_path: Path, catalog_event: MakeEvent
) -> None:
    await _fill(catalog_database, catalog_event)

    first = await export_snapshot(catalog_database, "default", tmp_path / "first")
    second = await export_snapshot(catalog_database, "default", tmp_path / "second")

    assert first.manifest.fingerprint == second.manifest.fingerprint


async def test_an_empty_shop_gives_an_empty_snapshot(catalog_database: Database, tmp_path: Path) -> None:
    snapshot = await export_snapshot(catalog_database, "default", tmp_path / "snapshot")

    assert dict(snapshot.manifest.counts) == {"items": 0, "users": 0, "events": 0}
