"""Whatever command an error or a README names can be given."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from endcap.cli import main


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


def test_a_command_that_does_not_exist_is_rejected_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["endcap", "recomend"])

    with pytest.raises(SystemExit) as rejected:
        main.main()

    assert rejected.value.code == "endcap: command 'recomend' does not exist: did you mean 'recommend'?"


@pytest.mark.parametrize("command", [["serve"], ["backup", "file"], ["prune"], ["recommend", "home"]])
def test_a_setting_that_cannot_be_is_named_with_what_it_may_be(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["endcap", *command])
    monkeypatch.setenv("ENDCAP_ADDRESS", "localhost")
    monkeypatch.setenv("ENDCAP_REFRESH_SECONDS", "0")

    with pytest.raises(SystemExit) as rejected:
        main.main()

    assert rejected.value.code == (
        "Error: ENDCAP_ADDRESS is 'localhost': name a host and a port, such as 127.0.0.1:50051; "
        "ENDCAP_REFRESH_SECONDS is '0': input should be greater than 0"
    )
