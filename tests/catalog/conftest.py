"""A database with one shop, which every test of the room starts from: on SQLite, and on PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.revisions import lock_revision
from endcap.catalog.events.events import Event


NOW = 1_700_000_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each kind of database in turn, where there is no schema yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog/endcap.db"
    url: str = request.getfixturevalue("empty_postgresql_url")
    return url


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds the schema, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "endcap.db"
    asyncio.run(migrate(f"sqlite:///{file}"))
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each kind of database in turn, where there is the schema and no shop."""
    if request.param == "sqlite":
        file = tmp_path / "catalog/endcap.db"
        file.parent.mkdir()
        shutil.copy(request.getfixturevalue("_migrated_file"), file)
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def catalog_database(catalog_url: str) -> AsyncIterator[Database]:
    """A database that holds the shop ``default``."""
    database = await open_database(catalog_url, lock_timeout=0.2)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    yield database
    await database.close()


@pytest.fixture
def database_files(request: pytest.FixtureRequest, catalog_url: str) -> Callable[[], bytes]:
    """Read all files of the database; of PostgreSQL those that are not for the server's log."""
    if catalog_url.startswith("sqlite"):
        folder = Path(catalog_url.removeprefix("sqlite:///")).parent
        return lambda: _content(folder)
    server, name = request.getfixturevalue("postgresql"), request.getfixturevalue("_migrated")

    def of_postgresql() -> bytes:
        server.execute("CHECKPOINT")
        number = server.ask(f"SELECT oid FROM pg_database WHERE datname = '{name}'")
        return _content(server.folder / "data/base" / number)

    return of_postgresql


def _content(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def writing_elsewhere(catalog_url: str) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Hold what another process holds while it writes to the shop."""

    @asynccontextmanager
    async def hold() -> AsyncIterator[None]:
        database = await open_database(catalog_url)
        async with database.write() as connection:
            await lock_revision(connection=connection, shop="default")
            yield
        await database.close()

    return hold


@pytest.fixture
def catalog_event() -> Callable[..., Event]:
    """Make an event: ``ann`` views ``mug``, unless told otherwise."""

    def make(event_id: str, **changes: object) -> Event:
        values: dict[str, object] = {"type": "view", "item_id": "mug", "time": NOW, "user_id": "ann"}
        return Event(event_id, **{**values, **changes})  # type: ignore[arg-type]

    return make
