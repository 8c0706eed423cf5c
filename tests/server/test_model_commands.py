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

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_folder
from endcap.demo.commands import SWAPPED
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
        make_bundle(tmp_path / "trained", ITEM_IDS, seed=seed, recall=recall, rivals=rivals)
        for seed, recall, rivals in ((1, 0.1, {}), (2, 0.1, {}), (3, 0.01, {"popular": 0.1}))
    )
    never_compared = make_bundle(tmp_path / "trained", ITEM_IDS, seed=4, model="item_knn")
    named = f"ease@{new.name}"
    for arguments, code, said in (
        (["verify", str(old), str(new)], 0, "may serve"),
        (["activate", str(old)], 0, f"ease@{old.name} is active"),
        (["register", str(new)], 0, f"registered {named}"),
        (["register", str(new)], 1, "registered already"),
        (["verify", named], 0, f"{named} may serve"),
        (["activate", named], 0, f"{named} is active"),
        (["promote", str(worse)], 1, f"not promoted: {named} was not measured on the same days"),
        (["promote", str(never_compared)], 1, "not promoted: popular was not measured on the same days"),
        (["rollback", "ease"], 0, f"ease@{old.name} is active"),
        (["list"], 0, "retired"),
        (["prune", "--keep", "1"], 0, f"deleted {named}"),
        (["delete", f"ease@{old.name}"], 1, "is active"),
        (["delete", "ease"], 1, "is not MODEL@VERSION"),
        (["activate", "nowhere"], 1, "folder 'nowhere' does not exist: name one that 'endcap train' wrote"),
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

    assert " promoted: recall@20 1.0000, on the same days that of popular is 1.0000" in trained.stdout
    assert "active" in listed.output
    assert "recall@20" in listed.output


def test_the_tour_of_models_runs_on_what_the_demo_leaves(
    environment: dict[str, str], make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """It leaves bundles that nobody measured, and one model that another bundle stood in for, for a while."""
    bundles = [
        make_bundle(tmp_path / "trained", ITEM_IDS, seed=seed, model=model, recall=None)
        for model, seed in (("ease", 1), (SWAPPED, 1), (SWAPPED, 2))
    ]
    for arguments in (["activate", *map(str, bundles)], ["rollback", SWAPPED]):
        assert CliRunner().invoke(models, arguments, env=environment).exit_code == 0
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [block] = [block for block in readme.split("```") if "endcap models" in block]
    tour = [line.partition("#")[0].split() for line in block.splitlines() if line.startswith("endcap ")]
    assert len(tour) == 3

    said = [
        subprocess.run(
            # For ever is too long for a test.
            [sys.executable, "-m", "endcap.cli", *" ".join(words).removesuffix(" --every 6h").split()],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _, *words in tour
    ]

    assert "item_knn" in said[0]
    assert said[1] == f"{SWAPPED}@{bundles[2].name} is active\n"
    # The bundle that serves was never measured; now it is, on the days that the new one is measured on.
    assert (
        f" promoted: recall@20 1.0000, on the same days that of ease@{bundles[0].name} is 1.0000" in said[2]
    )
    [kept] = (tmp_path / "trained" / "default").glob("*/*")
    assert said[2].startswith(f"{kept} promoted")


def test_a_shop_that_sold_nothing_is_told_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    asyncio.run(_open_empty_shop(url))
    trained = subprocess.run(
        [sys.executable, "-m", "endcap.cli", "retrain", "popular"],
        env={**os.environ, "ENDCAP_DATABASE_URL": url, "ENDCAP_BUNDLE_STORE": str(tmp_path / "trained")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert trained.returncode == 1
    assert "Error: the snapshot has no events to learn from: record or import some first" in trained.stderr
    assert "Traceback" not in trained.stderr


async def _open_empty_shop(url: str) -> None:
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW)
    await database.close()


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
