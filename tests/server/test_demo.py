"""What may go wrong around the demo: its port, its folder, its packages, and what its visitor does."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_folder
from endcap.client import Client
from endcap.demo import commands
from endcap.demo.serving import HOST, require_free, serving
from endcap.demo.tour import VISITOR, record_views
from endcap.sdk.errors import FailedPrecondition, Unavailable
from endcap.server.commands.shops import shops


LAST_SALE = 1_291_900_000_000
"""9 December 2010: longer ago than shops take events, unless they are told otherwise."""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """What tells processes of a shop that sold a mug in 2010, and a kettle before."""
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    asyncio.run(_open_shop(url, tmp_path / "import"))
    return {**os.environ, "ENDCAP_DATABASE_URL": url, "ENDCAP_ADDRESS": f"{HOST}:0"}


async def _open_shop(url: str, folder: Path) -> None:
    folder.mkdir()
    item_ids = ["kettle", "mug"]
    pl.DataFrame({"item_id": item_ids, "title": item_ids}).write_parquet(folder / "items.parquet")
    pl.DataFrame(
        {"user_id": ["anna"] * 2, "item_id": item_ids, "time": [LAST_SALE - 1, LAST_SALE]}
    ).with_columns(type=pl.lit("purchase")).write_parquet(folder / "events.parquet")
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=LAST_SALE)
    await import_folder(database, "default", folder, now=LAST_SALE)
    await database.close()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of a demo that ran to its end."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "whole").write_text(version("endcap"), encoding="utf-8")
    return folder


def test_views_of_long_ago_are_rejected_aloud_until_the_shop_takes_them(settings: dict[str, str]) -> None:
    with (
        serving(settings) as (_, port),
        Client(f"{HOST}:{port}") as client,
        pytest.raises(FailedPrecondition, match="TIME_TOO_OLD"),
    ):
        record_views(client, ["kettle", "mug"], time=LAST_SALE)

    told = CliRunner().invoke(shops, ["set", "--max-event-age-days", "36500"], env=settings)
    assert told.exit_code == 0, told.output

    with serving(settings) as (_, port), Client(f"{HOST}:{port}") as client:
        revision = record_views(client, ["kettle", "mug"], time=LAST_SALE)
        viewed = client.recommend("recently-viewed", visitor_id=VISITOR, minimum_revision=revision)

    assert [result.item_id for result in viewed.results] == ["mug", "kettle"]


def test_a_server_that_cannot_start_is_not_waited_for(
    settings: dict[str, str], taken: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(FailedPrecondition, match="the server did not start"),
        serving({**settings, "ENDCAP_ADDRESS": f"{HOST}:{taken}"}),
    ):
        pytest.fail("whoever listens there was taken for it")

    assert f"Error: {HOST}:{taken} is taken" in capfd.readouterr().err


def test_a_port_is_free_once_nobody_listens_there(taken: int) -> None:
    with pytest.raises(Unavailable, match=f"{HOST}:{taken} is taken"):
        require_free(taken)
    with socket.create_server((HOST, 0)) as gone:
        port = gone.getsockname()[1]

    require_free(port)


def test_a_demo_whose_port_is_taken_empties_nothing(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_PORT", taken)
    (tmp_path / "kept").touch()

    with pytest.raises(SystemExit, match=f"^Error: {HOST}:{taken} is taken: stop what listens there"):
        commands.demo(tmp_path, keep_serving=True)

    assert (tmp_path / "kept").exists()


def test_a_demo_without_the_packages_that_train_says_so_and_empties_nothing(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(SystemExit, match="which needs torch: pip install 'endcap\\[server,train\\]'$"):
        commands.demo(whole, keep_serving=False)

    assert (whole / "whole").exists()


@pytest.mark.parametrize(("release", "made"), [(version("endcap"), False), ("an older one", True)])
def test_only_what_is_not_whole_is_made_before_it_is_served(
    release: str, made: bool, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(commands, "require_free", lambda port: done.append("port"))
    monkeypatch.setattr(commands, "_make", lambda console, folder: done.append("made"))
    monkeypatch.setattr(commands, "_serve", lambda console, folder: done.append("served"))
    (whole / "whole").write_text(release, encoding="utf-8")

    commands.demo(whole, keep_serving=True)

    assert done == ["port", *["made"] * made, "served"]
