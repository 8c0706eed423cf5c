"""What swapping models costs a server under load, and whether it serves a bundle with a flipped bit.

Run it with ``python tests/benchmarks/model_swaps.py``. A shop is imported, models are trained, and a server
is started, each by its command; callers then ask without a pause, first undisturbed, then while models swap.
It fails when a call fails, an answer mixes two generations, a flipped bit is taken in, or the server's memory
grows by more than a tenth. Latencies are printed and not judged: they depend on what else the machine does.
"""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import polars as pl

from endcap.client import AsyncClient, Options
from endcap.v1.model_service_pb2 import ActivateBundleRequest, ListModelsRequest, RegisterBundleRequest
from endcap.v1.recommendation_service_pb2 import RecommendResponse


NOW = 1_700_000_000_000
DAY = 86_400_000
CUSTOMERS = 5_000
PURCHASES = 100_000
MODELS = {
    "ease": ("ease.regularization=200", "ease.regularization=500"),
    "popular": ("popular.window_days=30", "popular.window_days=90"),
}
"""Each model is trained twice, with other parameters."""

MEMORY_LIMIT = 1.10
PATIENT = Options(deadline=30.0)


@dataclass
class Load:
    """Callers that ask for recommendations without a pause."""

    client: AsyncClient
    callers: int
    answers: list[RecommendResponse] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        """Ask until told to stop."""
        async with asyncio.TaskGroup() as group:
            for caller in range(self.callers):
                group.create_task(self._call(random.Random(caller)))

    async def _call(self, generator: random.Random) -> None:
        while not self.stopping:
            started = time.perf_counter()
            try:
                answer = await self.client.recommend(
                    generator.choice(("home", "trending")), user_id=f"user-{generator.randrange(CUSTOMERS)}"
                )
            except grpc.RpcError as error:
                self.failures.append(str(error))
            else:
                self.milliseconds.append((time.perf_counter() - started) * 1000)
                self.answers.append(answer)

    def summary(self) -> str:
        """Say how many calls there were and how long they took."""
        median, late = np.percentile(self.milliseconds, (50, 99))
        degraded = sum(answer.degraded for answer in self.answers)
        return (
            f"{len(self.answers):,} calls, {len(self.failures)} failed, {degraded} degraded,"
            f" median {median:.1f} ms, 99 % within {late:.1f} ms"
        )


def main() -> int:
    """Print what came of it; return 1 when a promise is not kept."""
    parser = ArgumentParser()
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two swaps")
    parser.add_argument("--flips", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "ENDCAP_DATABASE_URL": f"sqlite:///{folder / 'endcap.db'}",
            "ENDCAP_BUNDLES_FOLDER": str(folder / "bundles"),
            "ENDCAP_BUNDLE_STORE": str(folder / "trained"),
            "ENDCAP_STRATEGY_TIMEOUT_SECONDS": "5",
            "ENDCAP_LOG_LEVEL": "warning",
        }
        prepare(folder, environment, options.items)
        with serving(environment) as (address, process):
            return asyncio.run(measure(folder, address, process, options))


def prepare(folder: Path, environment: dict[str, str], items: int) -> None:
    """Import a shop, and train each model twice."""

    def endcap(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "endcap.cli", *arguments], check=True, env=environment)

    generator = np.random.default_rng(0)
    chosen = np.minimum(generator.geometric(3 / items, PURCHASES), items) - 1
    customers = generator.integers(0, CUSTOMERS, PURCHASES)
    (folder / "import").mkdir()
    item_ids = [f"item-{row}" for row in range(items)]
    pl.DataFrame({"item_id": item_ids, "title": item_ids}).write_parquet(folder / "import" / "items.parquet")
    pl.DataFrame(
        {
            "user_id": [f"user-{customer}" for customer in customers],
            "item_id": [item_ids[row] for row in chosen],
            "time": NOW - generator.integers(0, 365 * DAY, PURCHASES),
            "type": ["purchase"] * PURCHASES,
        }
    ).write_parquet(folder / "import" / "events.parquet")
    endcap("import", str(folder / "import"))
    endcap("snapshot", str(folder / "snapshot"))
    folders = ("--snapshot", str(folder / "snapshot"), "--output", str(folder / "trained"))
    for model, settings in MODELS.items():
        for setting in settings:
            endcap("train", model, *folders, "--no-measure", "--set", setting)


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a server; give its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [sys.executable, "-m", "endcap.cli", "serve"], env={**environment, "ENDCAP_ADDRESS": address}
    )
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield address, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


async def measure(folder: Path, address: str, process: "subprocess.Popen[bytes]", options: Namespace) -> int:
    """Ask undisturbed, swap under load, then flip bits."""
    async with AsyncClient(address, PATIENT) as client:
        swapping = Swapping(client, folder / "trained")
        await swapping.register()
        for swap in range(4):  # every bundle has served once before memory is looked at
            await swapping.swap(swap)
        undisturbed = Load(client, options.callers)
        await asyncio.gather(undisturbed.run(), stop_after(undisturbed, 10.0))
        before = resident_mebibytes(process.pid)
        disturbed = Load(client, options.callers)
        seconds = await under_load(disturbed, swapping, options.swaps, options.pause)
        after = resident_mebibytes(process.pid)
        mixed = swapping.mixed([*undisturbed.answers, *disturbed.answers])
        taken_in = await flip_bits(client, folder, options.flips)
    print(f"undisturbed        {undisturbed.summary()}")
    print(f"{options.swaps} swaps in {seconds:.0f} s  {disturbed.summary()}")
    median, most = np.median(swapping.milliseconds), max(swapping.milliseconds)
    print(f"one swap           median {median:.0f} ms, most {most:.0f} ms")
    print(f"mixed answers      {mixed}")
    print(f"server's memory    {before:.0f} MiB before, {after:.0f} MiB after")
    print(f"flipped bits       {taken_in} of {options.flips} taken in")
    failed = len(undisturbed.failures) + len(disturbed.failures)
    return int(bool(failed or mixed or taken_in) or after > before * MEMORY_LIMIT)


class Swapping:
    """Activates the bundles in turn, and remembers what each generation is made of."""

    def __init__(self, client: AsyncClient, store: Path) -> None:
        self._client = client
        self._bundles = [
            (model, version.name) for model in MODELS for version in sorted((store / model).iterdir())
        ]
        self._active: dict[str, str] = {}
        self._generations: dict[str, dict[str, str]] = {}
        self.milliseconds: list[float] = []

    async def register(self) -> None:
        """Register every bundle."""
        for model, version in self._bundles:
            await self._client.models.RegisterBundle(RegisterBundleRequest(path=f"{model}/{version}"))

    async def swap(self, number: int) -> None:
        """Activate the next bundle: first of one model, then of the other, then the second ones."""
        model, version = self._bundles[(0, 2, 1, 3)[number % 4]]
        started = time.perf_counter()
        answer = await self._client.models.ActivateBundle(ActivateBundleRequest(model=model, version=version))
        self.milliseconds.append((time.perf_counter() - started) * 1000)
        self._active[model] = version
        self._generations[answer.generation] = dict(self._active)

    def mixed(self, answers: Sequence[RecommendResponse]) -> int:
        """Count the answers that hold an item of another generation than their own."""
        return sum(
            any(
                bundle != f"{result.strategy}@{self._generations[answer.generation][result.strategy]}"
                for result in answer.results
                for bundle in result.bundles
            )
            for answer in answers
        )


async def under_load(load: Load, swapping: Swapping, swaps: int, pause: float) -> float:
    """Swap while callers ask, and return the seconds it took."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        for swap in range(swaps):
            await asyncio.sleep(pause)
            await swapping.swap(swap)
        load.stopping = True
    return time.perf_counter() - started


async def stop_after(load: Load, seconds: float) -> None:
    """Let a load run for a time."""
    await asyncio.sleep(seconds)
    load.stopping = True


async def flip_bits(client: AsyncClient, folder: Path, flips: int) -> int:
    """Flip one bit after the other, and return after how many the server did not go on as before."""
    generator = random.Random(0)
    retired = next(
        bundle.version
        for model in (await client.models.ListModels(ListModelsRequest())).models
        for bundle in model.bundles
        if model.name == "ease" and bundle.version != model.active_version
    )
    generation = (await client.recommend("home", user_id="user-1")).generation
    kept = folder / "bundles" / "default" / "ease" / retired
    candidate = folder / "trained" / "ease" / retired
    register = RegisterBundleRequest(path=f"ease/{retired}")
    activate = ActivateBundleRequest(model="ease", version=retired)
    taken_in = 0
    for flip in range(flips):
        in_store = flip % 2 == 0
        file = generator.choice(sorted((candidate if in_store else kept).iterdir()))
        with flipped(file, generator.randrange(8 * file.stat().st_size)):
            try:
                if in_store:
                    await client.models.RegisterBundle(register)
                else:
                    await client.models.ActivateBundle(activate)
            except grpc.RpcError as error:
                taken_in += error.code() is not grpc.StatusCode.FAILED_PRECONDITION
            else:
                taken_in += 1
        taken_in += (await client.recommend("home", user_id="user-1")).generation != generation
    await client.models.ActivateBundle(activate)  # whole again, it may serve
    return taken_in


@contextmanager
def flipped(file: Path, bit: int) -> Iterator[None]:
    """Flip a bit of a file for the length of the block."""
    with file.open("r+b", buffering=0) as stream:
        stream.seek(bit // 8)
        byte = stream.read(1)[0]
        for value in (byte ^ 1 << bit % 8, byte):
            stream.seek(bit // 8)
            stream.write(bytes([value]))
            if value != byte:
                yield


def resident_mebibytes(process: int) -> float:
    """Return the memory that a process holds of its own; mapped weights are pages of the system's cache."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
