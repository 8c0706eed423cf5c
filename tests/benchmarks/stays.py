"""Counts how often one call comes back to a module that it had left: what a reader of the code has to follow.

    python tests/benchmarks/stays.py            # the counts
    python tests/benchmarks/stays.py --show     # and the modules in their order

Each kind of call is made three times on a server in this process, and the last time is traced by
``sys.setprofile`` in all threads. The counting rule:

- Functions of modules below ``endcap`` count when they are called. A coroutine or generator counts when it
  begins, not when it goes on. A comprehension or lambda is part of the function that it stands in. The
  rules of a placement count as one module.
- Not counted are ``endcap.v1`` (generated), ``endcap.client`` (the caller), and what returns at once with
  something that is no step of the call: ``endcap.sdk`` and the ``LIBRARIES`` below.
- A stay is an unbroken run of counted calls in one module. That a function goes on when a function that it
  called returns begins no stay; its next call of a function of its own module does.
- A return is a stay in a module that had a stay before, so returns = stays - distinct modules.
- Of ``Recommend`` only the server counts: exposures are written at the same time, but not by the call.

The import is of one row, the events are one, so that no loop over rows counts.
"""

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import polars as pl
from google.protobuf.field_mask_pb2 import FieldMask

import endcap.sdk
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_files
from endcap.catalog.importing.rows import Subject
from endcap.catalog.importing.sources import Source
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.placement_pb2 import Placement, Rung
from endcap.v1.placement_service_pb2 import UpdatePlacementRequest
from endcap.v1.rule_pb2 import BoostRule, CapRule, DiversityRule, Rule


ROOT = Path(endcap.sdk.__file__).parents[3]
NOT_COUNTED = ("v1/", "client/", "sdk/")
RULES = "server/reranking/"
RULES_OF_THREE_KINDS = [
    Rule(name="lift", boost=BoostRule(filter="price > 100", strength=0.3)),
    Rule(name="spread", diversity=DiversityRule(attribute="categories")),
    Rule(name="cap", cap=CapRule(attribute="categories", maximum_count=3)),
]
LIBRARIES = (
    "catalog/fields/",
    "catalog/database/",
    "catalog/people/deleted_people.py",
    "server/api/limits.py",
    "server/metrics.py",
)
"""Modules that are no step of a call: limits, counters, and how statements are run."""


class Trace:
    """The modules of the functions that were called while it was on, in the order of the calls."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self._on = False
        self._frames: dict[int, FrameType] = {}  # held, so that no other frame gets the id of one

    async def of(self, call: Callable[[], Awaitable[object]]) -> None:
        """Trace one call."""
        self._on = True
        await call()
        await asyncio.sleep(0.2)  # for threads that are still on their way out
        self._on = False

    def enter(self, frame: FrameType, event: str, _: object) -> None:
        """Count a call of a function: the profile function of every thread."""
        path = frame.f_code.co_filename
        if not self._on or event != "call" or "/endcap/" not in path or id(frame) in self._frames:
            return
        if not frame.f_code.co_name.startswith("<") and Path(path).is_relative_to(ROOT):
            self._frames[id(frame)] = frame
            self.modules.append(path.rpartition("/endcap/")[2])


def main() -> None:
    """Print a line a kind of call."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--show", action="store_true", help="print the modules of the stays as well")
    show = parser.parse_args().show
    with TemporaryDirectory() as folder:
        for name, modules in asyncio.run(traced(Path(folder))).items():
            stays = [module for module, _ in groupby(modules)]
            distinct = len(set(stays))
            print(f"{name:18}{len(stays):4} stays in {distinct:2} modules, {len(stays) - distinct:2} returns")
            if show:
                print("".join(f"    {module}\n" for module in stays))


async def traced(folder: Path) -> dict[str, list[str]]:
    """Return the modules of the counted calls, by the kind of call."""
    url = f"sqlite:///{folder / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    items = [
        Item(f"item-{n}", title=f"Mug {n}", categories=(f"kind {n % 7}",), price_nanos=n * 10**9)
        for n in range(200)
    ]
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1, currency="EUR")
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    traces = {name: Trace() for name in ("Recommend", "Recommend, rules", "RecordEvents", "imported batch")}

    def enter(frame: FrameType, event: str, argument: object) -> None:
        for trace in traces.values():
            trace.enter(frame, event, argument)

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        settings = Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1, refresh_seconds=600.0)
        application = Application(settings)
        await application.start()
        async with AsyncClient(f"127.0.0.1:{application.port}") as client:
            await update(client, "ladder", Placement(id="home", ladder=[Rung(strategy="popular")]))
            await on_the_third(traces["Recommend"], lambda _: recommend(client))
            await update(client, "rules", Placement(id="home", rules=RULES_OF_THREE_KINDS))
            await on_the_third(traces["Recommend, rules"], lambda _: recommend(client))
            await on_the_third(traces["RecordEvents"], lambda _: record(client))
        await application.stop()
        await on_the_third(traces["imported batch"], lambda n: import_one(database, folder, n))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    await database.close()
    return {
        name: steps(trace.modules, within="server/" if name.startswith("Recommend") else "")
        for name, trace in traces.items()
    }


def steps(modules: Iterable[str], *, within: str) -> list[str]:
    """Return the modules that count, of those below a folder."""
    return [
        RULES if module.startswith(RULES) else module
        for module in modules
        if module.startswith(within) and not module.startswith((*NOT_COUNTED, *LIBRARIES))
    ]


async def on_the_third(trace: Trace, call: Callable[[int], Awaitable[object]]) -> None:
    """Make a call three times, and trace it when caches are warm."""
    await call(0)
    await call(1)
    await asyncio.sleep(0.5)  # for what the calls left to be written
    await trace.of(lambda: call(2))


async def update(client: AsyncClient, path: str, placement: Placement) -> None:
    """Change one field of a placement."""
    mask = FieldMask(paths=[path])
    await client.placements.UpdatePlacement(
        UpdatePlacementRequest(placement=placement, update_mask=mask), timeout=30
    )


async def recommend(client: AsyncClient) -> None:
    """Ask for a filtered page."""
    answer = await client.recommend("home", visitor_id="eve", filter="price > 20", deadline=30)
    assert len(answer.results) == 10, answer


async def record(client: AsyncClient) -> None:
    """Record one event."""
    await client.record_events([Event(type="view", visitor_id="eve", item_id="item-3")], deadline=30)


async def import_one(database: Database, folder: Path, number: int) -> None:
    """Import a file of one item."""
    file = folder / f"items-{number}.parquet"
    pl.DataFrame(
        {
            "item_id": [f"new-{number}"],
            "title": [f"Cup {number}"],
            "price": [float(number + 1)],
        }
    ).write_parquet(file)
    now = int(time.time() * 1_000)
    await import_files(database, "default", [Source(Subject.ITEMS, file)], now=now)


if __name__ == "__main__":
    main()
