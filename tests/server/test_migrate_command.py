"""``endcap migrate``, which the errors about old schemas name."""

import asyncio
from pathlib import Path

import pytest

from endcap.catalog.database import open_database
from endcap.catalog.migrations import HEAD
from endcap.sdk.errors import FailedPrecondition
from endcap.server.commands.migrate import migrate


async def _open_and_close(url: str) -> None:
    await (await open_database(url)).close()


def test_a_database_that_is_missing_is_created_as_its_error_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/new/endcap.db"
    monkeypatch.setenv("ENDCAP_DATABASE_URL", url)
    with pytest.raises(FailedPrecondition, match="create it with 'endcap migrate'"):
        asyncio.run(_open_and_close(url))

    migrate()

    asyncio.run(_open_and_close(url))
    assert f"has schema {HEAD}" in capsys.readouterr().out
