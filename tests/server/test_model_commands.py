"""``endcap models`` and ``endcap retrain``, as an operator calls them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from endcap.catalog.database import open_database
from endcap.catalog.importing import import_folder
from endcap.catalog.migration import migrate
from endcap.catalog.shops import create_shop
from endcap.server.commands.models import models


NOW = 1_700_000_000_000
DAY = 86_400_000
ITEM_IDS = [f"item-{number}" for number in range(20)]
MakeBundle = Callable[..., Path]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What tells the commands of a shop of 20 items and 40 customers, who bought over 60 days."""
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    asyncio.run(_open_shop(url, _sales(tmp_path / "import")))
    return {
        **os.environ,
        "ENDCAP_DATABASE_URL": url,
        "ENDCAP_BUNDLES_FOLDER": str(tmp_path / "bundles"),
        "ENDCAP_BUNDLE_STORE": str(tmp_path / "trained"),
    }


async def _open_shop(url: str, folder: Path) -> None:
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    await import_folder(database, "default", folder, now=NOW, currency="GBP")
    await database.close()


def _sales(folder: Path) -> Path:
    folder.mkdir()
    purchases = [
        (f"user-{customer}", ITEM_IDS[(customer * 7 + day) % 20], NOW + (day - 60) * DAY)
        for customer in range(40)
        for day in range(0, 60, 6)
    ]
    pl.DataFrame({"item_id": ITEM_IDS, "title": ITEM_IDS}).write_parquet(folder / "items.parquet")
    pl.DataFrame(
        purchases, schema={"user_id": pl.String, "item_id": pl.String, "time": pl.Int64}, orient="row"
    ).with_columns(type=pl.lit("purchase")).write_parquet(folder / "events.parquet")
    return folder


def test_a_bundle_goes_through_its_life_by_commands(
    environment: dict[str, str], make_bundle: MakeBundle, tmp_path: Path
) -> None:
    old, new, worse = (
        make_bundle(tmp_path / "trained", ITEM_IDS, seed=seed, recall=recall)
        for seed, recall in ((1, 0.1), (2, 0.1), (3, 0.01))
    )
    named = f"ease@{new.name}"
    for arguments, code, said in (
        (["verify", str(old), str(new)], 0, "may serve"),
        (["activate", str(old)], 0, f"ease@{old.name} is active"),
        (["register", str(new)], 0, f"registered {named}"),
        (["register", str(new)], 1, "registered already"),
        (["verify", named], 0, f"{named} may serve"),
        (["activate", named], 0, f"{named} is active"),
        (["promote", str(worse)], 1, "not promoted: recall@20 0.0100, the active one's 0.1000"),
        (["rollback", "ease"], 0, f"ease@{old.name} is active"),
        (["list"], 0, "retired"),
        (["prune", "--keep", "1"], 0, f"deleted {named}"),
        (["delete", f"ease@{old.name}"], 1, "is active"),
        (["delete", "ease"], 1, "is not MODEL@VERSION"),
        (["activate", "nowhere"], 1, "cannot be read"),
    ):
        result = CliRunner().invoke(models, arguments, env=environment)
        assert (result.exit_code, said in result.output) == (code, True), result.output


def test_a_round_of_retraining_trains_for_real_and_promotes(environment: dict[str, str]) -> None:
    trained = subprocess.run(
        [sys.executable, "-m", "endcap.cli", "retrain", "popular"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = CliRunner().invoke(models, ["list"], env=environment)

    assert "promoted: no bundle of this model serves yet" in trained.stdout
    assert "active" in listed.output
    assert "recall@20" in listed.output


def test_a_scheduled_retraining_goes_on_after_a_failure_and_ends_when_it_is_told(
    environment: dict[str, str],
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "endcap.cli", "retrain", "nothing", "--every", "1d"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "the training failed" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)

        assert process.wait() == 0
