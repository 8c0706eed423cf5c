"""``endcap recommend`` against a running server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from endcap.catalog.database import open_database
from endcap.catalog.items import Item, upsert_items
from endcap.catalog.migration import migrate
from endcap.catalog.shops import create_shop
from endcap.catalog.users import remember_users
from endcap.server.app import Application
from endcap.server.commands.recommend import recommend
from endcap.server.settings import Settings


NOW = 1_700_000_000_000
app = typer.Typer()
app.command()(recommend)

USERS = {f"user-{number:04}": NOW for number in range(1_203)}


@pytest.fixture
async def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where a server listens whose shop has three items and 1,203 users."""
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    monkeypatch.setenv("ENDCAP_DATABASE_URL", url)
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="EUR")
        items = [Item("kettle", title="Kettle"), Item("mug", title="Mug"), Item("tea", title="Tea")]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
        await remember_users(connection=connection, shop="default", created_times=USERS)
    await database.close()
    application = Application(Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1))
    await application.start()
    yield f"127.0.0.1:{application.port}"
    await application.stop()


async def test_every_user_is_in_the_files_with_a_whole_list(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    call = ["home", "--all-users", str(folder), "--page-size", "2", "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 0, result.output
    assert "1203 of 1203 users" in result.output
    answers = pl.read_parquet(folder / "*.parquet")
    assert answers.select("user_id", "position").rows() == [
        (user, position) for user in USERS for position in (1, 2)
    ]
    assert answers.filter(pl.col("user_id") == "user-0007")["item_id"].to_list() == ["kettle", "mug"]


async def test_requests_that_fail_are_counted_with_their_reason(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    call = ["attic", "--all-users", str(folder), "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert "0 of 1203 users" in result.output
    assert "no answer for 1203 users: there is no placement 'attic'" in result.output


async def test_a_folder_that_exists_is_left_alone(address: str, tmp_path: Path) -> None:
    call = ["home", "--all-users", str(tmp_path), "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 1
    assert "exists already" in result.output


async def test_without_a_server_nothing_is_written(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    call = ["home", "--all-users", str(folder), "--address", "127.0.0.1:1"]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 1
    assert "did not answer to the end" in result.output
    assert not folder.exists()
