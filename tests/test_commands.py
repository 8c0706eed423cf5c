"""Whatever command an error or a README names can be given."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer


ROOT = Path(__file__).parents[1]
ROOTS = ("protos", "plugins", "server", "trainers")


def _named() -> Iterator[tuple[str, str, str]]:
    """Yield where a command is named, the command, and the word after it; empty when there is none."""
    files = [file for root in ROOTS for ending in ("py", "md") for file in (ROOT / root).rglob(f"*.{ending}")]
    for file in [*files, *ROOT.glob("*.md")]:
        # In code a command stands between quotes; a README's examples begin a line with it.
        start = r"(?:^|[`'])" if file.suffix == ".md" else r"[`']"
        text = file.read_text(encoding="utf-8")
        for command, word in re.findall(start + r"endcap ([a-z]+)(?: ([a-z]+))?", text, re.MULTILINE):
            yield str(file.relative_to(ROOT)), command, word


NAMED = sorted({(command, word): (place, command, word) for place, command, word in _named()}.values())


def test_commands_are_found_where_they_are_named() -> None:
    assert {"migrate", "snapshot", "train"} <= {command for _, command, _ in NAMED}


@pytest.mark.parametrize(("place", "command", "word"), NAMED)
def test_a_command_that_is_named_exists(place: str, command: str, word: str) -> None:
    (found,) = entry_points(group="endcap.commands", name=command)
    loaded = found.load()
    if isinstance(loaded, typer.Typer) and word:
        names = {
            known.name or getattr(known.callback, "__name__", "") for known in loaded.registered_commands
        }
        assert word in names, f"{place} names 'endcap {command} {word}'"
