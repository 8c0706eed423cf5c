"""Backups: whole, checked, taken and put back while others write; on SQLite, and on PostgreSQL."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from endcap.catalog.backup import sqlite_backup
from endcap.catalog.backup.backup import back_up, restore
from endcap.catalog.configuration.shops import create_shop, get_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.migrations import HEAD
from endcap.catalog.database.revisions import JUMP
from endcap.catalog.database.tables import EVENTS, SHOPS, USERS
from endcap.catalog.events.events import Event, Outcome, events_after
from endcap.catalog.events.storing import store_events
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import forget_user
from endcap.client import AsyncClient
from endcap.sdk.errors import AlreadyExists, DataLoss, FailedPrecondition, InvalidInput, NotFound
from endcap.server.app import Application
from endcap.server.settings import Settings


NOW = 1_700_000_000_000
MakeEvent = Callable[..., Event]


@pytest.fixture(autouse=True)
def _programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the programs on the path that belong to the server."""
    if request.node.callspec.params.get("catalog_url") == "postgresql":
        server = request.getfixturevalue("postgresql")
        monkeypatch.setenv("PATH", f"{server.programs}{os.pathsep}{os.environ['PATH']}")


ON_SQLITE = pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("catalog_url", ["postgresql"], indirect=True)


@pytest.fixture
def another_url(request: pytest.FixtureRequest, catalog_url: str, tmp_path: Path) -> str:
    """A database of the same kind that holds nothing."""
    if catalog_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/another/endcap.db"
    url: str = request.getfixturevalue("empty_postgresql_url")
    return url


async def record(database: Database, events: list[Event]) -> None:
    async with database.write() as connection:
        await store_events(connection=connection, shop="default", events=events)


async def stored(url: str) -> list[str]:
    """Return the ids of the events that a database of this release's schema holds."""
    database = await open_database(url)
    async with database.read() as connection:
        events = await events_after(connection=connection, shop="default", revision=0)
    await database.close()
    return [event.event_id for _, event in events]


async def test_every_event_acknowledged_before_a_backup_is_in_it_while_others_write_on(
    catalog_database: Database,
    catalog_url: str,
    another_url: str,
    catalog_event: MakeEvent,
    tmp_path: Path,
) -> None:
    acknowledged: list[str] = []
    stopping = asyncio.Event()
    writer = EventWriter(catalog_database, lambda shop, events, revision: None)

    async def write(name: int) -> None:
        number = 0
        while not stopping.is_set():
            event = catalog_event(f"{name}-{number}")
            await writer.record("default", [event])
            acknowledged.append(event.event_id)
            number += 1

    writing = [asyncio.create_task(write(name)) for name in range(4)]
    while len(acknowledged) < 40:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    during = 0
    async with asyncio.timeout(30):
        while not during:  # a backup may be over before anybody had a turn
            (tmp_path / "backup").unlink(missing_ok=True)
            before = set(acknowledged)
            await back_up(catalog_url, tmp_path / "backup")
            during = len(acknowledged) - len(before)
    stopping.set()
    await asyncio.gather(*writing)
    await writer.close()
    await restore(another_url, tmp_path / "backup")
    found = await stored(another_url)

    assert before <= set(found) <= set(acknowledged)
    assert len(found) == len(set(found))
    assert {path.name for path in tmp_path.iterdir() if "backup" in path.name} == {"backup"}


async def test_a_database_goes_back_to_its_backup_and_takes_events_again(
    catalog_database: Database, catalog_url: str, catalog_event: MakeEvent, tmp_path: Path
) -> None:
    await record(catalog_database, [catalog_event("before")])
    await back_up(catalog_url, tmp_path / "backup")
    await record(catalog_database, [catalog_event("after")])

    with pytest.raises(FailedPrecondition, match="allow this with --replace"):
        await restore(catalog_url, tmp_path / "backup")
    untouched = await stored(catalog_url)
    await restore(catalog_url, tmp_path / "backup", replace=True)
    restored = await stored(catalog_url)
    await record(catalog_database, [catalog_event("again")])

    assert (untouched, restored) == (["before", "after"], ["before"])
    assert await stored(catalog_url) == ["before", "again"]


async def test_a_server_takes_over_what_was_restored(
    catalog_database: Database, catalog_url: str, catalog_event: MakeEvent, tmp_path: Path
) -> None:
    async with catalog_database.write() as connection:
        items = [Item("mug"), Item("kettle")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await record(catalog_database, [catalog_event("before")])
    await back_up(catalog_url, tmp_path / "backup")
    await record(catalog_database, [catalog_event("after", item_id="kettle", time=NOW + 1)])
    settings = Settings(
        address="127.0.0.1:0",
        database_url=catalog_url,
        bundles_folder=tmp_path / "bundles",
        refresh_seconds=0.1,
        drain_seconds=0.1,
    )
    application = Application(settings)
    await application.start()
    try:
        async with AsyncClient(f"127.0.0.1:{application.port}") as client, asyncio.timeout(20):

            async def viewed() -> list[str]:
                answer = await client.recommend("recently-viewed", user_id="ann")
                return [result.item_id for result in answer.results]

            at_first = await viewed()
            await restore(catalog_url, tmp_path / "backup", replace=True)
            while (after := await viewed()) == at_first:
                pass
    finally:
        await application.stop()

    assert (at_first, after) == (["kettle", "mug"], ["mug"])


async def test_a_server_is_not_deceived_by_what_is_written_after_a_restore(
    catalog_database: Database, catalog_url: str, catalog_event: MakeEvent, tmp_path: Path
) -> None:
    async with catalog_database.write() as connection:
        items = [Item("mug"), Item("kettle"), Item("tea")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
    await back_up(catalog_url, tmp_path / "backup")
    await record(catalog_database, [catalog_event("undone", item_id="kettle")])
    settings = Settings(
        address="127.0.0.1:0",
        database_url=catalog_url,
        bundles_folder=tmp_path / "bundles",
        drain_seconds=0.1,
    )
    application = Application(settings)
    await application.start()
    # Before the server looks for news there are more revisions than it knows.
    await restore(catalog_url, tmp_path / "backup", replace=True)
    for number, item_id in enumerate(("mug", "tea")):
        await record(catalog_database, [catalog_event(item_id, item_id=item_id, time=NOW + number)])
    async with catalog_database.read() as connection:
        revision = (await get_shop(connection=connection, shop="default")).revision
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        answer = await client.recommend("recently-viewed", user_id="ann", minimum_revision=revision)
    await application.stop()

    assert [result.item_id for result in answer.results] == ["tea", "mug"]


async def test_a_backup_that_is_ahead_of_the_shop_it_replaces_knows_its_own_events(
    catalog_database: Database, catalog_url: str, catalog_event: MakeEvent, tmp_path: Path
) -> None:
    ahead = 3 * JUMP
    async with catalog_database.write() as connection:
        await connection.execute(update(SHOPS).values(revision=ahead))
    await record(catalog_database, [catalog_event("1")])
    await back_up(catalog_url, tmp_path / "backup")
    async with catalog_database.write() as connection:
        await connection.execute(update(SHOPS).values(revision=1))
    await restore(catalog_url, tmp_path / "backup", replace=True)

    async with catalog_database.write() as connection:
        events = [catalog_event("1"), catalog_event("1", user_id="bob"), catalog_event("2")]
        stored_now = await store_events(connection=connection, shop="default", events=events)
    assert stored_now.outcomes == (Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.ACCEPTED)
    assert stored_now.revision > ahead + JUMP


async def people(url: str) -> set[str]:
    """Return the users and visitors of the events that a database holds, and the users who have a record."""
    database = await open_database(url)
    async with database.read() as connection:
        events = await connection.execute(select(EVENTS.c.user_id, EVENTS.c.visitor_id))
        named = {each for row in events for each in row if each is not None}
        named.update((await connection.execute(select(USERS.c.id))).scalars())
    await database.close()
    return named


async def test_who_was_deleted_after_a_backup_stays_deleted_when_it_replaces_the_shops(
    catalog_database: Database,
    catalog_url: str,
    database_files: Callable[[], bytes],
    catalog_event: MakeEvent,
    tmp_path: Path,
) -> None:
    ann = "ann-of-green-gables"
    by_ann = catalog_event("1", user_id=ann, visitor_id="phone")
    await record(catalog_database, [by_ann, catalog_event("2", user_id="ben", visitor_id="tablet")])
    await back_up(catalog_url, tmp_path / "backup")
    # In between the tablet has changed hands: it goes with Ann, and Ben, whose it was, does not.
    later = catalog_event("3", user_id=ann, visitor_id="tablet", time=NOW + 1)
    await record(catalog_database, [later])
    await forget_user(catalog_database, "default", People(frozenset({ann})))
    # Nobody in the backup is meant by this one.
    nobody = People(frozenset({"cid"}))
    await forget_user(catalog_database, "default", nobody, allow_missing=True)
    forgotten = await restore(catalog_url, tmp_path / "backup", replace=True)
    left = database_files()

    assert forgotten == 3
    assert b"ann-of-green-gables" not in left
    assert await people(catalog_url) == {"ben"}
    deleted = [catalog_event("4", user_id=ann), catalog_event("5", user_id="cid")]
    async with catalog_database.write() as connection:
        late = await store_events(connection=connection, shop="default", events=deleted)
    assert late.outcomes == (Outcome.USER_DELETED,) * 2


async def test_an_empty_database_knows_of_no_deletions(
    catalog_database: Database,
    catalog_url: str,
    another_url: str,
    catalog_event: MakeEvent,
    tmp_path: Path,
) -> None:
    await record(catalog_database, [catalog_event("1"), catalog_event("2", user_id="ben")])
    await back_up(catalog_url, tmp_path / "backup")
    await forget_user(catalog_database, "default", People(frozenset({"ann"})))

    assert await restore(another_url, tmp_path / "backup") == 0
    assert await people(another_url) == {"ann", "ben"}


async def test_a_user_is_deleted_from_a_backup_of_a_shop_that_was_made_anew_since(
    catalog_database: Database,
    catalog_url: str,
    another_url: str,
    catalog_event: MakeEvent,
    tmp_path: Path,
) -> None:
    await record(catalog_database, [catalog_event("1"), catalog_event("2", user_id="ben")])
    await back_up(catalog_url, tmp_path / "backup")
    await migrate(another_url)
    another = await open_database(another_url)
    async with another.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW)
    await record(another, [catalog_event("1")])
    await forget_user(another, "default", People(frozenset({"ann"})))
    await another.close()

    assert await restore(another_url, tmp_path / "backup", replace=True) == 1
    assert await people(another_url) == {"ben"}


async def test_a_backup_of_an_older_release_is_brought_up_to_date(
    catalog_database: Database, catalog_url: str, tmp_path: Path
) -> None:
    await migrate(catalog_url, target="0005")
    await back_up(catalog_url, tmp_path / "backup")
    await migrate(catalog_url)

    await restore(catalog_url, tmp_path / "backup", replace=True)

    assert await stored(catalog_url) == []


async def test_a_backup_of_a_newer_release_is_rejected(
    catalog_database: Database, catalog_url: str, another_url: str, tmp_path: Path
) -> None:
    async def set_version(version: str) -> None:
        async with catalog_database.write() as connection:
            await connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")

    await set_version("9999")
    await back_up(catalog_url, tmp_path / "backup")
    await set_version(HEAD)

    with pytest.raises(FailedPrecondition, match="use a newer release"):
        await restore(another_url, tmp_path / "backup")


async def test_a_file_that_exists_is_not_written_over(catalog_url: str, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("precious")

    with pytest.raises(AlreadyExists, match="choose another name"):
        await back_up(catalog_url, tmp_path / "backup")
    with pytest.raises(InvalidInput, match="create it"):
        await back_up(catalog_url, tmp_path / "nowhere" / "backup")

    assert (tmp_path / "backup").read_text() == "precious"


async def test_a_damaged_backup_changes_nothing(
    catalog_database: Database, catalog_url: str, catalog_event: MakeEvent, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    await record(catalog_database, [catalog_event(str(number)) for number in range(500)])
    await back_up(catalog_url, backup)
    content = bytearray(backup.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8_192] = b"\xde\xad" * 4_096
    backup.write_bytes(content[: -len(content) // 4])

    with pytest.raises(DataLoss):
        await restore(catalog_url, backup, replace=True)

    assert len(await stored(catalog_url)) == 500


async def test_what_is_no_backup_is_rejected(catalog_url: str, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear shop,")
    other = b"PGDMP" if catalog_url.startswith("sqlite") else b"SQLite format 3\0"
    (tmp_path / "other").write_bytes(other + bytes(100))

    with pytest.raises(NotFound, match=r"file .* does not exist: name a file that 'endcap backup' wrote"):
        await restore(catalog_url, tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="is not a backup"):
        await restore(catalog_url, tmp_path / "letter")
    with pytest.raises(InvalidInput, match="is a backup of"):
        await restore(catalog_url, tmp_path / "other")


@ON_SQLITE
async def test_a_damaged_database_is_not_backed_up_as_if_it_were_whole(
    catalog_database: Database, catalog_url: str, tmp_path: Path
) -> None:
    await catalog_database.close()
    file = Path(catalog_url.removeprefix("sqlite:///"))
    content = bytearray(file.read_bytes())
    content[4_096:84_096] = b"\xde\xad" * 40_000
    file.write_bytes(content)

    with pytest.raises(DataLoss):
        await back_up(catalog_url, tmp_path / "backup")

    assert not any("backup" in path.name for path in tmp_path.iterdir())


@ON_SQLITE
async def test_a_restore_that_dies_on_the_way_leaves_the_database_as_it_was(
    catalog_database: Database,
    catalog_url: str,
    catalog_event: MakeEvent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await record(catalog_database, [catalog_event("before")])
    await back_up(catalog_url, tmp_path / "backup")
    await record(catalog_database, [catalog_event("after")])

    def die(target: Path, copy: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite_backup, "_replace", die)
    with pytest.raises(KeyboardInterrupt):
        await restore(catalog_url, tmp_path / "backup", replace=True)

    assert await stored(catalog_url) == ["before", "after"]
    assert not list((tmp_path / "catalog").glob(".restore-*"))


@ON_POSTGRESQL
@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
async def test_a_program_that_is_missing_is_named(
    catalog_url: str, tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backup").write_bytes(b"PGDMP")
    monkeypatch.setenv("PATH", str(tmp_path))
    works: dict[str, Any] = {
        "pg_dump": lambda: back_up(catalog_url, tmp_path / "new"),
        "pg_restore": lambda: restore(catalog_url, tmp_path / "backup"),
    }

    with pytest.raises(FailedPrecondition, match=f"{program} is not on the PATH: install"):
        await works[program]()
