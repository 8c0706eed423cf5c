"""Forgetting: what is left of a user is searched for in everything that the database keeps."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BindParameter, select

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database import membership, postgresql
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import EVENTS, EXPOSURES, METADATA, VISITORS
from endcap.catalog.events.events import Event, Outcome
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import ExposedItem, Exposure
from endcap.catalog.events.storing import store_events
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.forgetting import erase_forgotten, forget_user
from endcap.catalog.people.user_records import UserRecord, get_user_records, upsert_user_records
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.sdk.errors import NotFound
from endcap.sdk.snapshot import Snapshot


NOW = 1_700_000_000_000
ANN = People(users=frozenset({"ann-of-green-gables"}))
IDS = ("ann-of-green-gables", "visitor-phone", "visitor-laptop")

MakeEvent = Callable[..., Event]
EXPOSURE = Exposure("default", "1", NOW, "home", "view", {}, (ExposedItem("mug", "popular"),))


async def _store(database: Database, *events: Event, shop: str = "default") -> tuple[Outcome, ...]:
    async with database.write() as connection:
        return (await store_events(connection=connection, shop=shop, events=events)).outcomes


async def _show(database: Database, *exposures: Exposure) -> None:
    log = ExposureLog(database)
    for number, exposure in enumerate(exposures):
        log.record(replace(exposure, request_id=f"{number}"))
    await log.close()


async def _record(database: Database, user_id: str) -> None:
    async with database.write() as connection:
        record = UserRecord(user_id, tags=("trade",))
        await upsert_user_records(connection=connection, shop="default", records=[record], now=NOW)


@pytest.fixture
async def shop(catalog_database: Database, catalog_event: MakeEvent) -> Database:
    """A shop where Ann came by phone and by laptop, and Ben used her laptop before."""
    ann, phone, laptop = IDS
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=NOW)
    await _record(catalog_database, ann)
    await _record(catalog_database, "ben")
    await _store(
        catalog_database,
        catalog_event("1", user_id=None, visitor_id=phone),
        catalog_event("2", user_id=ann, visitor_id=phone, time=NOW + 1),
        catalog_event("3", user_id="ben", visitor_id=laptop),
        catalog_event("4", user_id=ann, visitor_id=laptop, properties={"note": "first"}),
        catalog_event("5", user_id=ann, visitor_id=None),
        catalog_event("6", user_id="ben", visitor_id="visitor-other"),
        catalog_event("7", user_id=ann, visitor_id="visitor-other"),
        catalog_event("8", user_id="ben", visitor_id="visitor-other"),
    )
    await _show(
        catalog_database,
        replace(EXPOSURE, user_id=ann),
        replace(EXPOSURE, visitor_id=phone),
        replace(EXPOSURE, user_id="ben", visitor_id=laptop),
        replace(EXPOSURE, user_id="ben"),
    )
    return catalog_database


async def _everything(database: Database) -> str:
    """Return the contents of every table, as text."""
    async with database.read() as connection:
        rows = [
            repr(tuple(row))
            for table in METADATA.sorted_tables
            for row in await connection.execute(select(table))
        ]
    return "\n".join(rows)


@pytest.mark.parametrize("chunk", [1, 5_000])
async def test_no_trace_of_a_user_and_their_visitors_is_left_in_any_table(
    shop: Database, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "CHUNK", chunk)
    before = await _everything(shop)
    forgotten = await forget_user(shop, "default", ANN)
    after = await _everything(shop)

    assert all(each in before for each in IDS)
    assert not [each for each in IDS if each in after]
    assert forgotten.people == People(frozenset({IDS[0]}), frozenset(IDS[1:]))
    assert (forgotten.event_count, forgotten.exposure_count) == (5, 2)


def _found(content: bytes) -> list[str]:
    return [each for each in IDS if each.encode() in content]


async def test_no_trace_of_a_user_is_left_in_the_files_of_the_database(
    shop: Database, database_files: Callable[[], bytes]
) -> None:
    async with shop.write() as connection:
        await connection.exec_driver_sql("ANALYZE")  # what the planner samples are values too

    before = _found(database_files())
    await forget_user(shop, "default", ANN)
    is_done = await erase_forgotten(shop)

    assert before == list(IDS)
    assert is_done
    assert _found(database_files()) == []


async def test_no_compiled_statement_keeps_the_id_of_a_user(shop: Database) -> None:
    def found() -> list[str]:
        gc.collect()
        values = repr([each.value for each in gc.get_objects() if type(each) is BindParameter])
        return [each for each in IDS if each in values]

    await forget_user(shop, "default", ANN)
    before = found()
    await erase_forgotten(shop)

    assert IDS[0] in before
    assert found() == []


async def test_what_a_reader_still_sees_is_erased_when_the_reader_has_ended(
    shop: Database, database_files: Callable[[], bytes]
) -> None:
    async with shop.read() as reader:
        await reader.execute(select(EVENTS.c.sequence))
        await forget_user(shop, "default", ANN)
        is_done_early = await erase_forgotten(shop)
        left = _found(database_files())
    is_done = await erase_forgotten(shop)

    assert (is_done_early, left) == (False, list(IDS))
    assert is_done
    assert _found(database_files()) == []


async def test_writers_go_on_while_a_reader_keeps_the_past(shop: Database, catalog_event: MakeEvent) -> None:
    async with shop.read() as reader:
        await reader.execute(select(EVENTS.c.sequence))
        await forget_user(shop, "default", ANN)
        erasing = asyncio.create_task(erase_forgotten(shop))
        outcomes = [
            await _store(shop, catalog_event(f"late-{number}", user_id="ben")) for number in range(20)
        ]
        is_done = await erasing

    assert not is_done
    assert outcomes == [(Outcome.ACCEPTED,)] * 20


@pytest.mark.parametrize("catalog_url", ["postgresql"], indirect=True)
async def test_a_table_that_somebody_uses_is_erased_afterwards(shop: Database) -> None:
    await forget_user(shop, "default", ANN)
    async with shop.read() as reader:  # it does not see Ann, and holds the table
        await reader.execute(select(EVENTS.c.sequence))
        assert not await erase_forgotten(shop)

    assert await erase_forgotten(shop)


@pytest.mark.parametrize("catalog_url", ["postgresql"], indirect=True)
async def test_a_large_table_is_vacuumed_where_it_is(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "_REWRITTEN_BYTES", 0)
    query = "SELECT pg_relation_filenode(relid), n_dead_tup FROM pg_stat_user_tables WHERE relname = 'events'"

    async def place_and_dead_rows() -> tuple[Any, ...]:
        async with shop.read() as connection:
            return tuple((await connection.exec_driver_sql(query)).one())

    place = (await place_and_dead_rows())[0]
    await forget_user(shop, "default", ANN)
    is_done = await erase_forgotten(shop)

    assert is_done
    assert await place_and_dead_rows() == (place, 0)


async def test_nothing_is_erased_where_nobody_was_forgotten(shop: Database) -> None:
    async with shop.read() as reader:
        await reader.execute(select(EVENTS.c.sequence))
        assert await erase_forgotten(shop)


async def test_what_others_did_stays_theirs(shop: Database) -> None:
    await forget_user(shop, "default", ANN)

    async with shop.read() as connection:
        events = [
            tuple(row)
            for row in await connection.execute(
                select(EVENTS.c.event_id, EVENTS.c.user_id, EVENTS.c.visitor_id).order_by(EVENTS.c.event_id)
            )
        ]
        exposures = [
            tuple(row)
            for row in await connection.execute(select(EXPOSURES.c.user_id, EXPOSURES.c.visitor_id))
        ]
        visitors = [tuple(row) for row in await connection.execute(select(VISITORS.c.id, VISITORS.c.user_id))]
        records = await get_user_records(connection=connection, shop="default", user_ids=[IDS[0], "ben"])
    assert events == [("3", "ben", None), ("6", "ben", "visitor-other"), ("8", "ben", "visitor-other")]
    assert exposures == [("ben", None), ("ben", None)]
    assert visitors == [("visitor-other", "ben")]
    assert list(records) == ["ben"]


async def test_a_visitor_takes_the_user_along_that_they_are_linked_to(shop: Database) -> None:
    forgotten = await forget_user(shop, "default", People(visitors=frozenset({"visitor-phone"})))

    assert forgotten.people == People(frozenset({IDS[0]}), frozenset(IDS[1:]))


async def test_late_events_and_exposures_of_a_deleted_user_are_rejected(
    shop: Database, catalog_event: MakeEvent
) -> None:
    await forget_user(shop, "default", ANN)
    outcomes = await _store(
        shop,
        catalog_event("9", user_id=IDS[0]),
        catalog_event("10", user_id=None, visitor_id=IDS[1]),
        catalog_event("11", user_id="ben", visitor_id=IDS[2]),
        catalog_event("12", user_id="ben"),
    )
    await _show(shop, replace(EXPOSURE, user_id=IDS[0]), replace(EXPOSURE, visitor_id=IDS[2]), EXPOSURE)

    deleted = Outcome.USER_DELETED
    assert outcomes == (deleted, deleted, deleted, Outcome.ACCEPTED)
    assert not [each for each in IDS if each in await _everything(shop)]
    async with shop.read() as connection:
        assert len((await connection.execute(select(EXPOSURES.c.sequence))).all()) == 3


async def test_events_that_wait_for_their_commit_leave_no_trace(
    shop: Database, catalog_event: MakeEvent
) -> None:
    writer = EventWriter(shop, lambda *_: None)
    recording = [
        asyncio.create_task(writer.record("default", [catalog_event(f"late-{number}", user_id=IDS[0])]))
        for number in range(20)
    ]
    await forget_user(shop, "default", ANN)
    outcomes = [(await each).outcomes for each in recording]
    await writer.close()

    assert {outcome for each in outcomes for outcome in each} <= {Outcome.ACCEPTED, Outcome.USER_DELETED}
    assert IDS[0] not in await _everything(shop)


async def test_the_same_id_in_another_shop_is_somebody_else(shop: Database, catalog_event: MakeEvent) -> None:
    async with shop.write() as connection:
        await create_shop(connection=connection, shop="second", now=NOW)
    await _store(shop, catalog_event("1", user_id=IDS[0]), shop="second")
    await forget_user(shop, "default", ANN)

    assert await _store(shop, catalog_event("2", user_id=IDS[0]), shop="second") == (Outcome.ACCEPTED,)


async def test_somebody_without_a_trace_is_forgotten_only_where_that_is_allowed(
    shop: Database, catalog_event: MakeEvent
) -> None:
    nobody = People(users=frozenset({"nobody"}))
    with pytest.raises(NotFound):
        await forget_user(shop, "default", nobody)
    forgotten = await forget_user(shop, "default", nobody, allow_missing=True)

    assert (forgotten.event_count, forgotten.exposure_count) == (0, 0)
    assert await _store(shop, catalog_event("9", user_id="nobody")) == (Outcome.USER_DELETED,)
    with pytest.raises(NotFound):
        await forget_user(shop, "nowhere", nobody, allow_missing=True)


async def test_a_snapshot_after_it_has_nobody_of_that_pseudonym(shop: Database, tmp_path: Path) -> None:
    await export_snapshot(shop, "default", tmp_path / "before")
    await forget_user(shop, "default", ANN)
    await export_snapshot(shop, "default", tmp_path / "after")
    before, after = (set(Snapshot.open(tmp_path / name).users()["user"]) for name in ("before", "after"))

    assert len(before) == 2
    assert len(after) == 1
    assert after < before
