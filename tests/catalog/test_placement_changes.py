"""The audit log of placements."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from endcap.catalog.configuration.audit_log import (
    PlacementChange,
    list_changes,
    record_change,
)
from endcap.catalog.configuration.placements import (
    Placement,
    RungSpec,
    delete_placement,
    list_placements,
    put_placement,
)
from endcap.catalog.configuration.rules import PinRule, Rule
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import revisions_after
from endcap.catalog.database.tables import PLACEMENT_CHANGES
from endcap.sdk.query import Task


NOW = 1_700_000_000_000
SHELF = Placement(
    "shelf",
    Task.FOR_YOU,
    (RungSpec("ease", {"decay": 0.5}, timeout=50), RungSpec("popular")),
    rules=(Rule("first", PinRule(1, item_id="mug")),),
)


async def _change_shelf_three_times(database: Database) -> list[PlacementChange]:
    """Create the shelf, make its pages longer, delete it: revisions 2, 3 and 4 of a new shop."""
    changes: list[PlacementChange] = []
    async with database.write() as connection:
        for number, changed in enumerate([SHELF, replace(SHELF, page_size=4)]):
            before = changes[-1].after if changes else None
            after = await put_placement(connection=connection, shop="default", placement=changed, now=number)
            changes.append(
                PlacementChange("shelf", after.revision, number, before, after, "ann", f"call {number}")
            )
        gone = await delete_placement(connection=connection, shop="default", placement_id="shelf")
        changes.append(PlacementChange("shelf", gone, 2, changes[-1].after, None, "ben", "call 2"))
        for change in changes:
            await record_change(connection=connection, shop="default", change=change)
    return changes


async def test_the_newest_change_comes_first_and_each_is_as_it_was_recorded(
    catalog_database: Database,
) -> None:
    changes = await _change_shelf_three_times(catalog_database)

    async with catalog_database.read() as connection:
        found = await list_changes(connection=connection, shop="default", limit=10)

    assert found == changes[::-1]
    assert [change.revision for change in found] == [4, 3, 2]
    assert (found[2].before, found[0].after) == (None, None)


async def test_changes_go_on_below_the_last_one_read(catalog_database: Database) -> None:
    await _change_shelf_three_times(catalog_database)

    async with catalog_database.read() as connection:
        first = await list_changes(connection=connection, shop="default", limit=2)
        rest = await list_changes(
            connection=connection, shop="default", limit=2, below_revision=first[-1].revision
        )

    assert [[change.revision for change in page] for page in (first, rest)] == [[4, 3], [2]]


async def test_a_placement_has_its_own_changes_and_so_has_a_shop(catalog_database: Database) -> None:
    await _change_shelf_three_times(catalog_database)
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="another", now=NOW)

        others = await list_changes(connection=connection, shop="default", limit=9, placement_id="home")
        another = await list_changes(connection=connection, shop="another", limit=9)

    assert (others, another) == ([], [])


async def test_another_process_finds_which_revisions_changed_placements(catalog_database: Database) -> None:
    await _change_shelf_three_times(catalog_database)

    async with catalog_database.read() as connection:
        found = await revisions_after(
            connection=connection, table=PLACEMENT_CHANGES, shop="default", revision=2
        )

    assert found == {3, 4}


async def test_a_change_that_is_undone_leaves_no_entry(catalog_database: Database) -> None:
    async def change_and_fail() -> None:
        async with catalog_database.write() as connection:
            stored = await put_placement(connection=connection, shop="default", placement=SHELF, now=NOW)
            change = PlacementChange("shelf", stored.revision, NOW, None, stored)
            await record_change(connection=connection, shop="default", change=change)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()

    async with catalog_database.read() as connection:
        assert await list_changes(connection=connection, shop="default", limit=9) == []


async def test_placements_are_listed_from_any_id_on(catalog_database: Database) -> None:
    async with catalog_database.read() as connection:
        found = await list_placements(connection=connection, shop="default", after="home", limit=2)

    assert [placement.id for placement in found] == ["product", "rank"]


@pytest.mark.parametrize("person", ["user", "visitor"])
async def test_what_somebody_was_shown_is_found_by_an_index(catalog_database: Database, person: str) -> None:
    query = (
        "SELECT item_ids FROM exposures WHERE shop = 's' AND NOT superseded"
        f" AND {person}_id = 'p' AND time > 1 ORDER BY time"
    )

    async with catalog_database.read() as connection:
        if connection.dialect.name == "sqlite":
            plan = (await connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))).all()
        else:
            await connection.execute(text("SET LOCAL enable_seqscan = off"))  # too few rows to need an index
            plan = (await connection.execute(text(f"EXPLAIN {query}"))).all()

    assert f"exposures_{person} " in str(plan)
