"""``endcap snapshot``, as an operator calls it."""

import asyncio
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.sdk.snapshot import Snapshot
from endcap.server.commands.data import snapshot


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database with a shop of one item."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    monkeypatch.setenv("ENDCAP_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "30")  # a place is never broken, however narrow the terminal

    async def fill() -> None:
        await migrate(url)
        database = await open_database(url)
        async with database.write() as connection:
            await create_shop(connection=connection, shop="default", now=1, currency="GBP")
            await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=1)
        await database.close()

    asyncio.run(fill())


def _call(*arguments: object) -> Result:
    app = Typer()
    app.command()(snapshot)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("shop")
def test_a_snapshot_is_written_to_a_folder_or_a_bucket(bucket: str, tmp_path: Path) -> None:
    for place in (tmp_path / "monday", f"{bucket}/monday"):
        written = _call(place)
        again = _call(place)

        assert written.exit_code == 0, written.output
        assert written.output == f"{place}: 1 items, 0 users, 0 events, 0 exposures\n"
        assert Snapshot.open(str(place)).items()["item_id"].to_list() == ["mug"]
        assert again.exit_code == 1
        assert f"Error: {place} " in again.output
        assert "already: choose a new" in again.output


@pytest.mark.usefixtures("shop", "bucket")
def test_what_the_object_store_lacks_is_one_sentence() -> None:
    result = _call("s3://no-such-bucket/monday")

    assert result.exit_code == 1
    assert result.output == "Error: bucket 'no-such-bucket' does not exist: create it, or name another\n"
