"""The command ``endcap demo``: from raw rows to recommendations over gRPC, in real processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.console import Console

from endcap.client import Client
from endcap.demo.cleaning import CURRENCY, CleanedShop, clean, raw_rows, write_import_folder
from endcap.demo.tour import swap_and_roll_back, tour


STRATEGIES = ("popular", "item_knn", "ease", "matrix_factorization", "next_purchase", "hybrid")
SWAPPED = "item_knn"
"""The model that another bundle stands in for, and comes back."""

_CUTOFF = "2010-11-01"
_PORT = 50051


def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes; it is emptied first.")] = Path(
        "data/demo"
    ),
    keep_serving: Annotated[bool, typer.Option(help="Leave the server running on port 50051.")] = False,
) -> None:
    """Import a real shop, train, evaluate, serve, and ask for recommendations."""
    console = Console()
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    shop = clean(raw_rows())
    _say_what_was_dropped(console, shop)
    write_import_folder(shop, folder / "import")
    port = _PORT if keep_serving else _free_port()
    environment = {
        **os.environ,
        "ENDCAP_DATABASE_URL": f"sqlite:///{folder / 'endcap.db'}",
        "ENDCAP_BUNDLES_FOLDER": str(folder / "bundles"),
        "ENDCAP_BUNDLE_STORE": str(folder / "trained"),
        "ENDCAP_ADDRESS": f"127.0.0.1:{port}",
        "ENDCAP_REFLECTION": "true",
    }

    def endcap(title: str, *arguments: str) -> None:
        console.rule(title)
        subprocess.run([sys.executable, "-m", "endcap.cli", *arguments], check=True, env=environment)  # noqa: S603

    endcap("Import", "import", str(folder / "import"), "--currency", CURRENCY)
    endcap("Snapshot", "snapshot", str(folder / "snapshot"))
    chosen = [argument for name in STRATEGIES for argument in ("--strategy", name)]
    endcap(
        "Evaluate",
        "evaluate",
        str(folder / "snapshot"),
        *chosen,
        "--cutoff",
        _CUTOFF,
        "--chart",
        str(folder / "evaluation.png"),
    )
    endcap(
        "Train",
        "train",
        *STRATEGIES,
        "content",
        "--set",
        "content.steps=100",
        "--snapshot",
        str(folder / "snapshot"),
        "--output",
        str(folder / "trained"),
        "--no-measure",
    )
    bundles = [str(path) for path in sorted((folder / "trained").glob("*/*"))]
    endcap("Activate", "models", "activate", *bundles)
    console.rule("Serve")
    server = subprocess.Popen([sys.executable, "-m", "endcap.cli", "serve"], env=environment)
    try:
        newest_time = int(shop.events["time"].max())  # type: ignore[arg-type]
        _wait_until_serving(server, port)
        with Client(f"127.0.0.1:{port}") as client:
            tour(client, console, newest_time=newest_time)
            before = set((folder / "trained" / SWAPPED).iterdir())
            endcap(
                "Train another one, serve with it, and roll back",
                "train",
                SWAPPED,
                "--set",
                f"{SWAPPED}.neighbours=3",
                "--snapshot",
                str(folder / "snapshot"),
                "--output",
                str(folder / "trained"),
                "--no-measure",
            )
            (new,) = set((folder / "trained" / SWAPPED).iterdir()) - before
            swap_and_roll_back(client, console, f"{SWAPPED}/{new.name}")
        if keep_serving:
            console.print(f"Serving on 127.0.0.1:{port}; stop with Ctrl-C.")
            server.wait()
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def _say_what_was_dropped(console: Console, shop: CleanedShop) -> None:
    console.print("Online Retail II (Chen 2019, UCI, doi:10.24432/C5CG6D, CC BY 4.0)")
    console.print(f"{shop.raw:,} raw rows")
    for reason, count in shop.dropped.items():
        console.print(f"  {count:,} dropped: {reason}")
    console.print(f"{shop.events.height:,} purchases of {shop.items.height:,} products kept")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_serving(server: "subprocess.Popen[bytes]", port: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while server.poll() is None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=1)
            except grpc.FutureTimeoutError:
                if time.monotonic() > deadline:
                    break
            else:
                return
    sys.exit("Error: the server did not start: see its log above")
