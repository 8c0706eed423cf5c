"""How late the event loop turns while a server works: with a large shop, beside an idle loop in the same run.

Run it with ``python tests/benchmarks/loop_lag.py [ITEMS] [EVENTS]``, by default 100,000 and 1,000,000. A task
that sleeps for a millisecond at a time notes how much later than that it is woken. Printed are the 99.9th
percentile and the maximum in milliseconds for

==========  ===========================================================================================
idle        a loop that does nothing else
load        the shop is loaded again, and its events are counted again
import      another process imports a fiftieth of the events, which the server takes in
model       a model of at most 12,000 items is registered and activated, its matrix 576 MB beside the graph
calls       a rule with MMR re-ranks pages of 100, two calls at a time
==========  ===========================================================================================

It fails when the 99.9th percentile is above 20 ms or the maximum above 50 ms. The idle loop's tell what the
machine itself does to it.
"""

import asyncio
import gc
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.rules import DiversityMethod, DiversityRule, Rule
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.revisions import advance_revision, read_revisions
from endcap.catalog.events.events import Event
from endcap.catalog.events.storing import store_events
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.runtime.golden import make_golden_queries
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task, Vocabulary
from endcap.sdk.bundle import write_bundle
from endcap.sdk.profiles import PROFILE_INPUTS, profile_scores
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.trainers.weights import move_weights
from endcap.v1.model_service_pb2 import ActivateBundleRequest, RegisterBundleRequest


ITEM_COUNT, EVENT_COUNT = 100_000, 1_000_000
P999_LIMIT_MS, LONGEST_LIMIT_MS = 20.0, 50.0

_MODEL_ITEMS = 12_000

_TURN = 0.001  # seconds
_BATCH = 10_000
_NOW = int(time.time() * 1000)
_DAY = 86_400_000


async def watch(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return the 99.9th percentile and the maximum of the lag during some work, in milliseconds."""
    lags: list[float] = []
    done = asyncio.Event()

    async def note() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(_TURN)
            lags.append(time.perf_counter() - before - _TURN)

    noting = asyncio.create_task(note())
    await asyncio.sleep(0.05)
    await work()
    done.set()
    await noting
    milliseconds = np.array(lags) * 1000
    return float(np.percentile(milliseconds, 99.9)), float(milliseconds.max())


def make_item(number: int) -> Item:
    return Item(
        f"item-{number}",
        title=f"Word{number % 977} word{number % 131}",
        description=" ".join(f"word{number * step % 4093}" for step in range(1, 20)),
        categories=(f"Category {number % 40}",),
        brand=f"Brand {number % 2_000}",
        attributes={"colour": f"colour {number % 12}", "watts": float(number % 100)},
        price_nanos=(number + 1) * 1_000_000,
    )


def make_event(chance: random.Random, name: str, item_count: int) -> Event:
    return Event(
        name,
        chance.choice(["view", "view", "view", "purchase"]),
        f"item-{int(chance.random() ** 2 * item_count)}",
        _NOW - int(chance.random() * 90 * _DAY),
        user_id=f"user-{chance.randrange(item_count)}",
    )


async def fill(database: Database, item_count: int, event_count: int) -> None:
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        rules = (Rule("mmr", DiversityRule(DiversityMethod.MMR)),)
        diverse = Placement("diverse", Task.FOR_YOU, (RungSpec("popular"),), rules=rules)
        await put_placement(connection=connection, shop="default", placement=diverse, now=1)
    for start in range(0, item_count, _BATCH):
        items = [make_item(number) for number in range(start, min(start + _BATCH, item_count))]
        async with database.write() as connection:
            await upsert_items(connection=connection, shop="default", items=items, now=1)
    await write_events(database, "first", item_count, event_count)


async def write_events(database: Database, name: str, item_count: int, count: int) -> None:
    chance = random.Random(name)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        events = [make_event(chance, f"{name} {start + each}", item_count) for each in range(size)]
        async with database.write() as connection:
            await store_events(connection=connection, shop="default", events=events)


def write_elsewhere(url: str, item_count: int, count: int) -> None:
    """Import events, in a process of its own."""

    async def write() -> None:
        database = await open_database(url)
        await write_events(database, f"import {time.time_ns()}", item_count, count)
        await database.close()

    asyncio.run(write())


def write_model(folder: str, item_count: int) -> None:
    """Write a bundle of ``ease`` whose similarities are drawn at random to ``folder/ease/version``."""
    Path(folder).mkdir()
    item_ids = [f"item-{number}" for number in range(min(item_count, _MODEL_ITEMS))]
    size = len(item_ids)
    similarities = np.random.default_rng(0).random((size, size), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["similarities", "rows"], ["chosen"]),
            helper.make_node("MatMul", ["weights", "chosen"], ["scores"]),
        ],
        "ease",
        [
            helper.make_tensor_value_info("rows", TensorProto.INT64, ["items"]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["profiles", "items"]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["profiles", size])],
        [numpy_helper.from_array(similarities, "similarities")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    move_weights(made, Path(folder))
    onnx, vocabulary = made.SerializeToString(), Vocabulary(item_ids)
    outputs = profile_scores(size)
    model = OnnxModel(
        onnx,
        name="ease",
        version="candidate",
        vocabulary=vocabulary,
        inputs=PROFILE_INPUTS,
        outputs=outputs,
        state={"mode": "basket"},
        weights_folder=Path(folder),
    )
    strategy = Instances(PluginHost.discover(), Generation.of([model])).get("ease")
    write_bundle(
        Path(folder),
        weights_folder=Path(folder),
        model="ease",
        onnx=onnx,
        item_ids=item_ids,
        created_time=_NOW,
        snapshot="0123456789abcdef",
        parameters={},
        state={"mode": "basket"},
        metrics={},
        inputs=PROFILE_INPUTS,
        outputs=outputs,
        golden_queries=make_golden_queries(strategy, vocabulary),
    )


async def main(item_count: int, event_count: int) -> int:
    """Measure and print; return 1 when a limit is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/endcap.db"
        await migrate(url)
        database = await open_database(url)
        started = time.perf_counter()
        await fill(database, item_count, event_count)
        print(f"{item_count:,} items and {event_count:,} events, written in {_since(started)}")
        settings = Settings(
            address="127.0.0.1:0",
            database_url=url,
            bundle_store=Path(folder, "trained"),
            bundles_folder=Path(folder, "bundles"),
            refresh_seconds=0.5,
        )
        await _in_another_process("--model", folder + "/trained", str(item_count))
        application = Application(settings)
        started = time.perf_counter()
        await application.start()
        print(f"started in {_since(started)}")
        gc.collect()
        gc.freeze()  # as a server does
        sys.setswitchinterval(0.0005)
        async with AsyncClient(f"127.0.0.1:{application.port}") as client:

            async def caught_up() -> None:
                async with database.read() as connection:
                    revision = (await read_revisions(connection))["default"]
                while True:
                    answer = await client.recommend("home", visitor_id="eve", page_size=1, deadline=120)
                    if answer.view == f"default@{revision}":
                        return
                    await asyncio.sleep(0.1)

            async def load() -> None:
                async with database.write() as connection:
                    await advance_revision(connection=connection, shop="default")
                await caught_up()
                await asyncio.sleep(1)  # in which the shop that was replaced is let go

            async def take_in() -> None:
                await _in_another_process("--write", url, str(item_count), str(event_count // 50))
                await caught_up()

            async def activate() -> None:
                (bundle,) = (settings.bundle_store / "ease").iterdir()
                path = RegisterBundleRequest(path=f"ease/{bundle.name}")
                registered = (await client.models.RegisterBundle(path, timeout=120)).bundle
                active = ActivateBundleRequest(model="ease", version=registered.version)
                await client.models.ActivateBundle(active, timeout=120)

            async def call() -> None:
                async def some() -> None:
                    for _ in range(10):
                        await client.recommend("diverse", visitor_id="eve", page_size=100, deadline=60)

                await asyncio.gather(some(), some())

            failed = False
            for name, work in (
                ("idle", lambda: asyncio.sleep(5)),
                ("load", load),
                ("import", take_in),
                ("model", activate),
                ("calls", call),
            ):
                started = time.perf_counter()
                p999, longest = await watch(work)
                print(f"{name:10}p99.9 {p999:6.1f} ms   max {longest:6.1f} ms   in {_since(started)}")
                failed |= name != "idle" and (p999 > P999_LIMIT_MS or longest > LONGEST_LIMIT_MS)
        await application.stop()
        await database.close()
    return int(failed)


async def _in_another_process(*arguments: str) -> None:
    program = await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments)
    if await program.wait():
        raise RuntimeError(f"{arguments[0]} failed")


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_elsewhere(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["--model"]:
        write_model(sys.argv[2], int(sys.argv[3]))
    else:
        sizes = [int(each) for each in sys.argv[1:3]]
        sys.exit(asyncio.run(main(*sizes, *(ITEM_COUNT, EVENT_COUNT)[len(sizes) :])))
