"""``endcap migrate``, which the errors about old schemas name."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migrations import HEAD
from endcap.sdk.errors import FailedPrecondition
from endcap.server.commands.migrate import migrate


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings put the database; nothing is there."""
    file = tmp_path / "new" / "endcap.db"
    monkeypatch.setenv("ENDCAP_DATABASE_URL", f"sqlite:///{file}")
    return file


async def _open_and_close(file: Path) -> None:
    await (await open_database(f"sqlite:///{file}")).close()


def test_a_database_that_is_missing_is_created_as_its_error_says(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FailedPrecondition, match="create it with 'endcap migrate'"):
        asyncio.run(_open_and_close(file))

    migrate()

    asyncio.run(_open_and_close(file))
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "the database has no schema"
    assert printed[1].startswith("  0001  ")
    assert printed[-2].startswith(f"  {HEAD}  ")
    assert printed[-1] == f"the database has schema {HEAD}"


def test_a_dry_run_prints_the_steps_and_creates_nothing(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(dry_run=True)

    printed = capsys.readouterr().out.splitlines()
    assert not file.parent.exists()
    assert [line.split()[0] for line in printed[1:-1]] == [f"{n:04}" for n in range(1, int(HEAD) + 1)]
    assert printed[-1] == f"nothing was changed: without --dry-run the database gets schema {HEAD}"


def test_a_database_that_is_up_to_date_is_left_as_it_is(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate()
    capsys.readouterr()

    migrate()

    assert capsys.readouterr().out == f"the database has schema {HEAD}\nnothing to do\n"


def test_postgresql_is_brought_to_the_schema_alike(
    empty_postgresql_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENDCAP_DATABASE_URL", empty_postgresql_url)
    for dry_run in (True, False, False):
        migrate(dry_run=dry_run)
    printed = capsys.readouterr().out.splitlines()

    steps = [line.split()[0] for line in printed if line.startswith("  ")]
    assert steps == [f"{number:04}" for number in range(1, int(HEAD) + 1)] * 2
    assert [line for line in printed if not line.startswith("  ")] == [
        "the database has no schema",
        f"nothing was changed: without --dry-run the database gets schema {HEAD}",
        "the database has no schema",
        f"the database has schema {HEAD}",
        f"the database has schema {HEAD}",
        "nothing to do",
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_newer_schema_is_rejected_with_what_to_do(file: Path, dry_run: bool) -> None:
    migrate()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SystemExit) as exit_:
        migrate(dry_run=dry_run)

    assert exit_.value.code == (
        f"Error: the database has schema 9999, but this release knows {HEAD}: use a newer release of Endcap"
    )
