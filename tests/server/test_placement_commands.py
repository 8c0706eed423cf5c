"""``endcap placements``, as an operator calls it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.server.commands.placements import placements


NOW = 1_700_000_000_000
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on a database with one new shop."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    monkeypatch.setenv("ENDCAP_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LOGNAME", "ann")
    asyncio.run(_create_shop(url))
    return lambda *arguments: CliRunner().invoke(placements, arguments)


async def _create_shop(url: str) -> None:
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW)
    await database.close()


def printed(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    placement: dict[str, Any] = json.loads(result.stdout)
    return placement


def strategies(placement: dict[str, Any]) -> list[str]:
    return [rung["strategy"] for rung in placement["ladder"]]


def test_a_placement_is_created_by_its_task_and_strategies(run: Run) -> None:
    created = printed(run("put", "shelf", "--task", "similar", "--strategy", "item_knn"))

    assert (created["id"], created["task"], strategies(created)) == ("shelf", "TASK_SIMILAR", ["item_knn"])
    assert printed(run("show", "shelf")) == created
    assert "shelf" in run("list").stdout


def test_options_change_what_they_name_and_leave_the_rest(run: Run) -> None:
    home = printed(run("show", "home"))

    changed = printed(run("put", "home", "--strategy", "cold_start", "--strategy", "popular"))

    assert strategies(changed) == ["cold_start", "popular"]
    assert changed["display_name"] == home["display_name"] == "Home page"


def test_a_file_is_the_whole_placement_and_goes_round(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "home.json"
    home = printed(run("show", "home"))
    home["rules"] = [{"name": "cheap", "boost": {"filter": "price < 10", "strength": 0.5}}]
    del home["display_name"]
    file.write_text(json.dumps(home), encoding="utf-8")

    changed = printed(run("put", "home", "--file", str(file)))
    again = run("put", "home", "--file", str(file))

    assert (changed["rules"], changed.get("display_name")) == (home["rules"], None)
    assert again.exit_code == 1
    assert "somebody else has changed this" in again.output


def test_options_go_before_what_a_file_says(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "shelf.json"
    file.write_text('{"page_size": 4}', encoding="utf-8")

    created = printed(run("put", "shelf", "--file", str(file), "--task", "trending", "--strategy", "popular"))

    assert (created["page_size"], created["task"]) == (4, "TASK_TRENDING")


def test_a_preview_stores_nothing(run: Run) -> None:
    previewed = printed(run("put", "shelf", "--task", "trending", "--strategy", "popular", "--validate-only"))

    assert strategies(previewed) == ["popular"]
    assert "etag" not in previewed
    assert "placement 'shelf' does not exist" in run("show", "shelf").output


def test_changes_are_shown_with_who_made_them(run: Run) -> None:
    run("put", "shelf", "--task", "for-you", "--strategy", "popular")
    run("put", "shelf", "--strategy", "cold_start", "--strategy", "popular")
    run("put", "home", "--strategy", "popular")
    run("delete", "shelf")

    lines = [line.split("│") for line in run("changes", "shelf").stdout.splitlines() if "│" in line]

    assert [[cell.strip() for cell in line[2:5]] for line in lines] == [
        ["shelf", "deleted", "ann"],
        ["shelf", "ladder", "ann"],
        ["shelf", "created", "ann"],
    ]
    assert "home" in run("changes").stdout
    assert "home" not in run("changes", "--limit", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["put", "shelf", "--strategy", "popular"], "placement.task must be one of"),
        (
            ["put", "shelf", "--task", "similar", "--strategy", "unheard_of"],
            "strategy 'unheard_of' does not exist",
        ),
        (["put", "Shelf", "--task", "similar", "--strategy", "item_knn"], "placement.id must be"),
        (["put", "home", "--task", "similar"], "the task of 'home' is for-you"),
        (["put", "home", "--file", "home.json"], "home.json is not the JSON of a placement"),
        (["put", "home", "--file", "shelf.json"], "shelf.json holds the placement 'shelf'"),
        (["delete", "attic"], "placement 'attic' does not exist"),
        (["list", "--shop", "nowhere"], "shop 'nowhere' does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("home.json").write_text('{"id": 5, "tusk": ', encoding="utf-8")
    Path("shelf.json").write_text('{"id": "shelf"}', encoding="utf-8")

    result = run(*arguments)

    assert result.exit_code == 1
    assert message in result.output + str(result.exception)
