"""A statement is one change of threads, whatever it returns."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from endcap.catalog.database import sqlite_driver
from endcap.catalog.database.sqlite_driver import connect


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    path = f"file:{tmp_path / 'numbers.db'}?mode=rwc"
    engine = create_async_engine(
        "sqlite+aiosqlite:///file", async_creator=lambda: connect(path, lock_timeout=1)
    )
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
        rows = [{"number": number} for number in range(1_000)]
        await connection.execute(text("INSERT INTO numbers VALUES (:number)"), rows)
    yield engine
    await engine.dispose()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the connections' threads are asked to do."""
    names: list[str] = []
    run = sqlite_driver.Connection.run

    async def counted(connection: sqlite_driver.Connection, function, *arguments) -> None:  # type: ignore[no-untyped-def]
        names.append(function.__name__)
        await run(connection, function, *arguments)

    monkeypatch.setattr(sqlite_driver.Connection, "run", counted)
    return names


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 1_000])
async def test_all_rows_of_a_statement_arrive_in_order(engine: AsyncEngine, count: int) -> None:
    async with engine.connect() as connection:
        query = text("SELECT number FROM numbers ORDER BY number LIMIT :count")
        rows = (await connection.execute(query, {"count": count})).scalars().all()
    assert rows == list(range(count))


@pytest.mark.parametrize("size", [1, 7, 256, 300, 5_000])
async def test_a_stream_gives_partitions_of_the_size_asked_for(engine: AsyncEngine, size: int) -> None:
    async with engine.connect() as connection:
        result = await connection.stream(text("SELECT number FROM numbers ORDER BY number"))
        partitions = [[row.number for row in partition] async for partition in result.partitions(size)]
    assert [number for partition in partitions for number in partition] == list(range(1_000))
    assert {len(partition) for partition in partitions[:-1]} <= {size}


async def test_a_short_statement_is_one_call_of_the_thread(engine: AsyncEngine, calls: list[str]) -> None:
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar() == 1_000
        changed = await connection.execute(text("UPDATE numbers SET number = -number WHERE number < 10"))
        assert changed.rowcount == 10
    assert calls == ["_execute", "_execute"]


async def test_a_stream_that_is_left_holds_no_lock(engine: AsyncEngine, tmp_path: Path) -> None:
    async with engine.connect() as connection:
        result = await connection.stream(text("SELECT number FROM numbers"))
        await result.fetchone()
        await result.close()
        with sqlite3.connect(tmp_path / "numbers.db", timeout=0) as other:
            other.execute("INSERT INTO numbers VALUES (5000)")


async def test_an_error_of_the_database_is_its_own(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(Exception, match="UNIQUE") as caught:
            await connection.execute(text("INSERT INTO numbers VALUES (1)"))
        assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
