"""What the pages say exists, exists: links, settings, strategies, trainers and their parameters."""

import re
import shlex
import sys
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from endcap.cli.main import main
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task
from endcap.server.settings import Settings


ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", "build", "data"} & set(path.relative_to(ROOT).parts)
)


def _table(page: str, first: str) -> dict[str, list[str]]:
    """Return the rows of a page's table whose first column is called ``first``, by what stands there."""
    lines = iter((ROOT / page).read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            break
    next(lines)
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        rows[cells[0].strip("`")] = cells[1:]
    return rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text)

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"\bENDCAP_([A-Z_]+)\b", page.read_text(encoding="utf-8")))

    assert {name.lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "docker" / "compose.yaml"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_databases_are_named_without_their_drivers(page: Path) -> None:
    assert re.findall(r"\b(?:sqlite|postgresql)\+\w+:", page.read_text(encoding="utf-8")) == []


BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINES = sorted(
    {
        re.split(r" [#>]", line)[0].strip()
        for page in PAGES
        for block in BLOCK.findall(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.startswith("endcap ")
    }
)


@pytest.mark.parametrize("line", LINES)
def test_commands_are_shown_with_options_that_exist(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The options are read before the help is shown, and nothing is done.
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), "--help"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 0


def test_every_command_is_in_the_changelog() -> None:
    line = next(
        line
        for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
        if "The commands" in line
    )

    assert sorted(re.findall(r"`(\w+)`", line)) == sorted(entry_points(group="endcap.commands").names)


def test_the_strategies_that_ship_are_listed_with_their_tasks() -> None:
    ours = {
        name: each.tasks
        for name, each in PluginHost.discover().registrations.items()
        if each.plugin.distribution == "endcap"
    }

    listed = _table("plugins/README.md", "strategy")

    assert {
        name: frozenset(Task) if row[0] == "every task" else {Task(task) for task in row[0].split(", ")}
        for name, row in listed.items()
    } == ours


def test_the_trainers_are_listed_with_their_parameters_and_defaults() -> None:
    trainers = {entry.name: entry.load() for entry in entry_points(group="endcap.trainers")}

    listed = _table("trainers/README.md", "strategy")

    assert {
        name: {field: _plain(default) for field, default in re.findall(r"`(\w+)` ((?:\d,\d|[^,(])+)", row[0])}
        for name, row in listed.items()
    } == {
        name: {field.name: _plain(str(field.default)) for field in fields(trainer.parameters)}
        for name, trainer in trainers.items()
    }


def _plain(value: str) -> str:
    """Return a value as one would read it: ``50,000`` and ``50000.0`` are the same."""
    return value.strip().replace(",", "").removesuffix(".0").lower()
