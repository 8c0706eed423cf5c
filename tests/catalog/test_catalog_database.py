"""Durable transactions, and what each failure of the database means to a caller."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest

from endcap.catalog.configuration.shops import create_shop, list_shops
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, get_items, upsert_items
from endcap.sdk.errors import DataLoss, Exhausted, FailedPrecondition, InvalidInput, Unavailable


ON_SQLITE = pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)


async def _store_texts(database: Database, count: int, *, text: str = "x" * 1_000) -> None:
    items = [Item(f"item-{number}", description=text) for number in range(count)]
    async with database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=items, now=1)


def _damage(url: str) -> None:
    Path(url.removeprefix("sqlite:///")).write_bytes(b"no database" * 1_000)


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@ON_SQLITE
async def test_a_connection_that_writes_is_durable(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        pragmas = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 200}


async def test_a_block_that_raises_changes_nothing(catalog_database: Database) -> None:
    async def create_and_fail() -> None:
        async with catalog_database.write() as connection:
            await create_shop(connection=connection, shop="second", now=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await create_and_fail()

    async with catalog_database.read() as connection:
        assert [shop.id for shop in await list_shops(connection=connection)] == ["default"]


async def test_a_reader_sees_one_state_while_others_write(catalog_database: Database) -> None:
    async with catalog_database.read() as reader:
        before = await list_shops(connection=reader)
        async with catalog_database.write() as writer:
            await create_shop(connection=writer, shop="second", now=1)

        assert await list_shops(connection=reader) == before


async def test_a_lock_held_by_another_process_is_unavailable_and_reads_go_on(
    catalog_database: Database, writing_elsewhere: Callable[[], AbstractAsyncContextManager[None]]
) -> None:
    async with writing_elsewhere():
        with pytest.raises(Unavailable):
            await _store_texts(catalog_database, 1)
        async with catalog_database.read() as connection:
            assert len(await list_shops(connection=connection)) == 1

    await _store_texts(catalog_database, 1)


@ON_SQLITE
async def test_a_file_that_may_not_grow_is_exhausted_and_recovers(catalog_database: Database) -> None:
    with _file_size_limit(200_000):
        with pytest.raises(Exhausted, match="disk"):
            await _store_texts(catalog_database, 1_000)
        async with catalog_database.read() as connection:
            assert await get_items(connection=connection, shop="default", item_ids=["item-1"]) == {}

    await _store_texts(catalog_database, 1_000)


async def test_a_full_disk_is_exhausted_and_reads_go_on(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk", "1m"):
        url = f"sqlite:///{tmp_path}/disk/endcap.db"
        await migrate(url)
        database = await open_database(url)
        async with database.write() as connection:
            await create_shop(connection=connection, shop="default", now=1)

        with pytest.raises(Exhausted, match="disk"):
            await _store_texts(database, 1_000)
        async with database.read() as connection:
            shops = await list_shops(connection=connection)
        await database.close()

    assert [shop.id for shop in shops] == ["default"]


@ON_SQLITE
async def test_a_damaged_file_is_data_loss(catalog_database: Database, catalog_url: str) -> None:
    await catalog_database.close()
    _damage(catalog_url)

    with pytest.raises(DataLoss):
        await open_database(catalog_url)


async def test_a_database_without_a_schema_names_the_remedy(empty_url: str) -> None:
    with pytest.raises(FailedPrecondition, match="create it with 'endcap migrate'"):
        await open_database(empty_url)


async def test_a_file_without_a_schema_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()

    with pytest.raises(FailedPrecondition, match="migrate"):
        await open_database(f"sqlite:///{tmp_path}/empty.db")


@pytest.mark.parametrize(("version", "remedy"), [("0000", "migrate"), ("9999", "newer release")])
async def test_another_schema_is_rejected(
    catalog_database: Database, catalog_url: str, version: str, remedy: str
) -> None:
    async with catalog_database.write() as connection:
        await connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")

    with pytest.raises(FailedPrecondition, match=remedy):
        await open_database(catalog_url)


@ON_SQLITE
async def test_a_place_that_cannot_be_written_is_named(
    catalog_database: Database, catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may write anywhere but on a disk that is mounted read-only.
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with pytest.raises(FailedPrecondition, match="catalog cannot be written"):
        await open_database(catalog_url)


@pytest.mark.parametrize(
    "url",
    ["mysql://host/endcap", "nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://host:many/endcap"],
)
async def test_a_url_of_no_known_database_is_rejected(url: str) -> None:
    with pytest.raises(InvalidInput, match="sqlite:///"):
        await open_database(url)
