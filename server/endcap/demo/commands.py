"""The command ``endcap demo``: from raw rows to recommendations over gRPC, in real processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from endcap.client import Client
from endcap.demo.cleaning import CURRENCY, CleanedShop, clean, raw_rows, write_import_folder
from endcap.demo.serving import HOST, require_free, serving
from endcap.demo.tour import swap_and_roll_back, tour
from endcap.sdk.errors import EndcapError, FailedPrecondition


STRATEGIES = (
    "popular",
    "item_knn",
    "ease",
    "matrix_factorization",
    "next_purchase",
    "linear_sequence",
    "sasrec",
    "hybrid",
)
SHORT_TRAININGS = ("--set", "sasrec.max_minutes=1")
"""Parameters that keep the demo short: sasrec is not trained to its end, and ranks accordingly."""

SWAPPED = "item_knn"
"""The model that another bundle stands in for, and comes back."""

_CUTOFF = "2010-11-01"
_PORT = 50051
_MAX_EVENT_AGE_DAYS = 36_500
"""The shop's days are those of 2010, and what the tour records belongs to the last of them."""

_TRAINING_PACKAGES = ("torch", "onnx", "onnxscript", "scipy", "matplotlib")
_MARK = "whole"
"""The file that the demo writes last: it holds the release whose demo the folder is."""


def demo(
    folder: Annotated[
        Path,
        typer.Option(help="Where everything goes; it is emptied first, unless it is whole and kept serving."),
    ] = Path("data/demo"),
    keep_serving: Annotated[
        bool,
        typer.Option(help="Serve on port 50051 in the end, at once if the folder is whole."),
    ] = False,
) -> None:
    """Import a real shop, train, evaluate, serve, and ask for recommendations."""
    console, folder = Console(), folder.absolute()
    try:
        if keep_serving:
            require_free(_PORT)
        if not (keep_serving and _is_whole(folder)):
            _require_training()
            _make(console, folder)
        if keep_serving:
            _serve(console, folder)
    except EndcapError as error:
        sys.exit(f"Error: {error}")


def _is_whole(folder: Path) -> bool:
    mark = folder / _MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == version("endcap")


def _require_training() -> None:
    missing = [name for name in _TRAINING_PACKAGES if find_spec(name) is None]
    if missing:
        raise FailedPrecondition(
            f"the demo trains, which needs {', '.join(missing)}: pip install 'endcap[server,train]'"
        )


def _make(console: Console, folder: Path) -> None:
    """Empty the folder, fill it by all that the demo shows, and say that it is whole."""
    # First what says that the folder is whole, for the rest goes file by file.
    (folder / _MARK).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shop = clean(raw_rows())
    _say_what_was_dropped(console, shop)
    write_import_folder(shop, folder / "import")
    environment = _environment(folder, port=0)
    snapshot, trained = folder / "snapshot", folder / "trained"

    def endcap(title: str, *arguments: str) -> None:
        console.rule(title)
        _run(environment, *arguments)

    endcap("Import", "import", str(folder / "import"), "--currency", CURRENCY)
    _run(environment, "shops", "set", "--max-event-age-days", str(_MAX_EVENT_AGE_DAYS))
    endcap("Snapshot", "snapshot", str(snapshot))
    chosen = [argument for name in STRATEGIES for argument in ("--strategy", name)]
    chart = ("--chart", str(folder / "evaluation.png"))
    endcap("Evaluate", "evaluate", str(snapshot), *chosen, "--cutoff", _CUTOFF, *chart, *SHORT_TRAININGS)
    training = ("--snapshot", str(snapshot), "--output", str(trained), "--no-measure")
    endcap(
        "Train", "train", *STRATEGIES, "content", "--set", "content.steps=100", *SHORT_TRAININGS, *training
    )
    endcap("Activate", "models", "activate", *(str(path) for path in sorted(trained.glob("*/*"))))
    console.rule("Serve")
    with serving(environment) as (_, port), Client(f"{HOST}:{port}") as client:
        tour(client, console, newest_time=int(shop.events["time"].max()))  # type: ignore[arg-type]
        before = set((trained / SWAPPED).iterdir())
        title = "Train another one, serve with it, and roll back"
        endcap(title, "train", SWAPPED, "--set", f"{SWAPPED}.max_neighbors=3", *training)
        (new,) = set((trained / SWAPPED).iterdir()) - before
        swap_and_roll_back(client, console, f"{SWAPPED}/{new.name}")
    (folder / _MARK).write_text(version("endcap"), encoding="utf-8")


def _serve(console: Console, folder: Path) -> None:
    """Serve the shop in the folder until Ctrl-C."""
    try:
        with serving(_environment(folder, _PORT)) as (server, port):
            console.print(f"Serving {folder} on {HOST}:{port}; stop with Ctrl-C.")
            if server.wait() != 0:
                raise FailedPrecondition("the server ended: see what it says above")
    except KeyboardInterrupt:
        console.print("Stopping.")


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Return the settings of every process of the demo."""
    return {
        **os.environ,
        "ENDCAP_DATABASE_URL": f"sqlite:///{folder / 'endcap.db'}",
        "ENDCAP_BUNDLES_FOLDER": str(folder / "bundles"),
        "ENDCAP_BUNDLE_STORE": str(folder / "trained"),
        "ENDCAP_ADDRESS": f"{HOST}:{port}",
        "ENDCAP_REFLECTION": "true",
        "ENDCAP_LOG_LEVEL": "info",
    }


def _run(environment: Mapping[str, str], command: str, *arguments: str) -> None:
    """Run a command of ours in a process of its own.

    Raises:
        FailedPrecondition: It failed, and has said why.
    """
    line = [sys.executable, "-m", "endcap.cli", command, *arguments]
    if subprocess.run(line, check=False, env=environment).returncode != 0:  # noqa: S603
        raise FailedPrecondition(f"'endcap {command}' failed: see what it says above")


def _say_what_was_dropped(console: Console, shop: CleanedShop) -> None:
    console.print("Online Retail II (Chen 2019, UCI, doi:10.24432/C5CG6D, CC BY 4.0)")
    console.print(f"{shop.raw:,} raw rows")
    for reason, count in shop.dropped.items():
        console.print(f"  {count:,} dropped: {reason}")
    console.print(f"{shop.events.height:,} purchases of {shop.items.height:,} products kept")
