"""A database with one shop, which every test of the room starts from."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from endcap.catalog.database import Database, open_database
from endcap.catalog.events import Event
from endcap.catalog.migration import migrate
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


@pytest.fixture
def catalog_event() -> Callable[..., Event]:
    """Make an event: ``ann`` views ``mug``, unless told otherwise."""

    def make(event_id: str, **changes: object) -> Event:
        values: dict[str, object] = {"type": "view", "item_id": "mug", "time": NOW, "user_id": "ann"}
        return Event(event_id, **{**values, **changes})  # type: ignore[arg-type]

    return make
