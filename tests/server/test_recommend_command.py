"""``endcap recommend`` against a running server."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import polars as pl
import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.tables import EXPOSURES
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.people.users import remember_users
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.commands.recommend import recommend
from endcap.server.settings import Settings
from endcap.v1.recommendation_pb2 import Recommendation
from endcap.v1.recommendation_service_pb2 import (
    RecommendError,
    RecommendOutcome,
    RecommendRequest,
    RecommendResponse,
)


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
        items = [
            Item("kettle", title="Kettle [large]", price_nanos=1_234_500_000_000),
            Item("mug", title="Mug"),
            Item("tea", title="Tea"),
        ]
        await upsert_items(connection=connection, shop="default", items=items, now=NOW)
        await remember_users(connection=connection, shop="default", created_times=USERS)
    await database.close()
    application = Application(Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1))
    await application.start()
    yield f"127.0.0.1:{application.port}"
    await application.stop()


async def test_one_user_is_told_what_and_why(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["home", "--user", "user-0001", "--address", address, "--trace"]
    )

    assert result.exit_code == 0, result.output
    assert re.search(r"kettle\s+│ Kettle \[large\] │ 1,234.50 EUR │\s+\S+\s+│\s+cold_start", result.output)
    assert "answered without" not in result.output
    assert re.search(r"hybrid\s+│\s+skipped", result.output)  # the shop has no models
    assert re.search(r"cold_start\s+│\s+short\s+│\s+3\s+│\s+3", result.output)
    assert "3 items were eligible, 0 events were known" in result.output


async def test_what_the_server_rejects_is_a_sentence(address: str) -> None:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["attic", "--address", address])

    assert result.exit_code == 1
    assert result.output.startswith("Error: placement 'attic' does not exist")


def test_without_a_server_one_user_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDCAP_ADDRESS", "127.0.0.1:1")

    result = CliRunner().invoke(app, ["home"])

    assert result.exit_code == 1
    assert result.output.startswith("Error: the server at 127.0.0.1:1 does not answer: start it with")


async def test_every_user_is_in_the_files_with_a_whole_list(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    call = ["home", "--all-users", str(folder), "--page-size", "2", "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 0, result.output
    assert "1203 of 1203 users" in result.output
    assert "answered without" not in result.output
    answers = pl.read_parquet(folder / "*.parquet")
    assert answers.select("user_id", "position").rows() == [
        (user, position) for user in USERS for position in (1, 2)
    ]
    assert answers.filter(pl.col("user_id") == "user-0007")["item_id"].to_list() == ["kettle", "mug"]
    assert not answers["degraded"].any()  # though the shop has no models


@pytest.mark.parametrize(
    ("placement", "reason"),
    [
        ("attic", "placement 'attic' does not exist"),
        ("product", "the task similar starts from items: send item_ids"),
        ("search", "the task search needs what the user typed: send query"),
    ],
)
async def test_what_nobody_could_be_answered_is_rejected_and_leaves_no_files(
    address: str, tmp_path: Path, placement: str, reason: str
) -> None:
    folder = tmp_path / "answers"
    call = [placement, "--all-users", str(folder), "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 1
    assert f"Error: {reason}" in result.output
    assert not folder.exists()


def _failing(*, every: int) -> Callable[..., AsyncIterator[tuple[str, RecommendOutcome]]]:
    """Stand in for a server that fails the first of so many users."""

    async def outcomes(*_: object) -> AsyncIterator[tuple[str, RecommendOutcome]]:
        for number, user in enumerate(USERS):
            if number % every == 0:
                yield user, RecommendOutcome(error=RecommendError(message="the shelf fell down"))
            else:
                yield (
                    user,
                    RecommendOutcome(response=RecommendResponse(results=[Recommendation(item_id="mug")])),
                )

    return outcomes


async def test_requests_that_fail_are_counted_with_their_reason(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endcap.server.commands.recommend_all._outcomes", _failing(every=3))
    folder = tmp_path / "answers"
    call = ["home", "--all-users", str(folder), "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 0
    assert "802 of 1203 users" in result.output
    assert "no answer for 401 users: the shelf fell down" in result.output
    assert pl.read_parquet(folder / "*.parquet").height == 802


async def test_where_every_user_fails_there_are_no_files(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endcap.server.commands.recommend_all._outcomes", _failing(every=1))
    folder = tmp_path / "answers"
    call = ["home", "--all-users", str(folder), "--address", address]

    result = await asyncio.to_thread(CliRunner().invoke, app, call)

    assert result.exit_code == 1
    assert "none of 1203 users got an answer, most of them for: the shelf fell down" in result.output
    assert not folder.exists()


async def test_answers_in_files_are_no_exposures(address: str, tmp_path: Path) -> None:
    call = ["home", "--all-users", str(tmp_path / "answers"), "--address", address]
    asked = RecommendRequest(placement="home", user_id="user-0001", page_size=2)

    await asyncio.to_thread(CliRunner().invoke, app, call)
    async with AsyncClient(address) as client:
        unrecorded = await client.recommendations.Recommend(
            RecommendRequest(placement="home", user_id="user-0001", page_size=2, unrecorded=True)
        )
        recorded = await client.recommendations.Recommend(asked)
        database = await open_database(f"sqlite:///{tmp_path / 'endcap.db'}")
        for _ in range(100):  # exposures are written some time after the answer
            if shown := await _exposures(database):
                break
            await asyncio.sleep(0.05)
        await database.close()

    assert len(unrecorded.results) == 2
    assert (unrecorded.attribution_token, bool(recorded.attribution_token)) == ("", True)
    # They are written in the order of the answers, so that nothing before the recorded one is to come.
    assert shown == [recorded.request_id]


async def _exposures(database: Database) -> list[str]:
    async with database.read() as connection:
        return list(await connection.scalars(select(EXPOSURES.c.request_id)))


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
    assert "does not answer" in result.output
    assert not folder.exists()
