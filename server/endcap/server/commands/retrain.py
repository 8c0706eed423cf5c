"""The command ``endcap retrain``."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from endcap.catalog.configuration.shops import DEFAULT_SHOP
from endcap.sdk.errors import EndcapError, FailedPrecondition, InvalidInput
from endcap.server.commands.models import GateMargin, GateMetric, open_registry
from endcap.server.commands.terminal import ShopOption, run
from endcap.server.models.promotion import DEFAULT_GATE, Gate
from endcap.server.models.retraining import Retraining
from endcap.server.settings import read_settings


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def retrain(
    strategies: Annotated[list[str], typer.Argument(help="The strategies to train, as for 'endcap train'.")],
    *,
    every: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Go on for ever, once in 30m, 6h or 1d; left out, train once."),
    ] = "",
    metric: GateMetric = DEFAULT_GATE.metric,
    margin: GateMargin = DEFAULT_GATE.margin,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="STRATEGY.NAME=VALUE", help="As for 'endcap train'.")
    ] = None,
    shop: ShopOption = DEFAULT_SHOP,
) -> None:
    """Train on what the shop knows by now, and serve with each bundle that measures no worse."""
    run(_retrain(strategies, every, Gate(metric, margin), values or [], shop))


def read_duration(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``30m``, ``6h`` or ``1d``.

    Raises:
        InvalidInput: The text is not a number followed by s, m, h or d.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if found is None:
        raise InvalidInput(f"{text!r} is no duration: write a number and s, m, h or d, such as 6h")
    return int(found[1]) * _SECONDS[found[2]]


async def _retrain(
    strategies: Sequence[str], every: str, gate: Gate, values: Sequence[str], shop: str
) -> None:
    seconds = read_duration(every) if every else None
    settings = read_settings()

    async def train(snapshot: Path, output: Path, against: Sequence[Path]) -> None:
        options = ["--snapshot", str(snapshot), "--output", str(output)]
        for bundle in against:
            options += ["--against", str(bundle)]
        for value in values:
            options += ["--set", value]
        await _run_training([*strategies, *options])

    async with open_registry() as (registry, database):
        retraining = Retraining(
            database,
            registry,
            train,
            shop=shop,
            models=strategies,
            store=settings.bundle_store,
            gate=gate,
            kept=settings.kept_bundles,
        )
        with _stopping_on_sigterm():
            await _repeat(retraining, seconds)


async def _repeat(retraining: Retraining, seconds: float | None) -> None:
    """Run one round, or rounds for ever; a round that fails does not end them."""
    while True:
        started = time.monotonic()
        try:
            await _round(retraining)
        except (EndcapError, OSError) as error:
            if seconds is None:
                raise
            typer.echo(f"Error: {error}", err=True)
        if seconds is None:
            return
        await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))


@contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """End well, a training under way included; the first process of a container has no other way to end."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    except asyncio.CancelledError:
        raise typer.Exit from None


async def _round(retraining: Retraining) -> None:
    trained = False
    async for bundle, verdict in retraining.round():
        trained = True
        outcome = "promoted" if verdict.promoted else "not promoted"
        typer.echo(f"{bundle} {outcome}: {verdict.reason}")
    if not trained:
        typer.echo(f"{datetime.now(UTC):%Y-%m-%d %H:%M} nothing new to train on")


async def _run_training(arguments: Sequence[str]) -> None:
    """Train in a process of its own: this one serves no PyTorch, and a training may need much memory.

    Its output is left out, because it names folders that are gone by then; its errors are printed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "endcap.cli", "train", *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        if await process.wait() != 0:
            raise FailedPrecondition("the training failed, and what serves is as it was: see above")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
