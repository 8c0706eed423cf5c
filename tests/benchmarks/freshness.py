"""What it costs to take in items that were written: 1, 100 and 1,000 of a shop of 100,000.

Run it with ``python tests/benchmarks/freshness.py``. For each kind of write it tells in milliseconds

=========  =====================================================================================
read       until the changed items are read from SQLite, most of it off the event loop
update     the new view of them, in a thread: processor time
waited     the same on the clock
loop       the longest that the event loop did not turn during the whole
swap       what runs in the event loop: the histories and the state
align      the first alignment of a model's vocabulary with the new view's
=========  =====================================================================================

and beside them what loading the shop again takes. It fails when an update takes longer than 50 ms of a
processor or the swap longer than 2 ms.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Availability, Item, upsert_items
from endcap.catalog.memory.changes_since import ShopChanges, read_changes_since
from endcap.catalog.memory.loading import LoadedShop, load_shop
from endcap.catalog.memory.rows import TimedView, update_timed_view
from endcap.sdk import Vocabulary, align
from endcap.server.serving.masks import Masks


ITEM_COUNT = 100_000
SIZES = (1, 100, 1_000)
REPEATS = 7
UPDATE_LIMIT_MS = 50.0
SWAP_LIMIT_MS = 2.0

_TURN = 0.001  # seconds

_chance = random.Random(1)


def make_item(number: int, *, sold_out: bool = False, word: str = "") -> Item:
    return Item(
        f"item-{number}",
        title=f"Word{number % 977} word{number % 131} {word}",
        description=" ".join(f"word{number * step % 4093}" for step in range(1, 20)),
        categories=(f"Category {number % 40}", f"Category {number % 40} > {number % 400}"),
        brand=f"Brand {number % 2_000}",
        tags=tuple(f"tag {number * step % 50}" for step in (1, 3)),
        attributes={
            "colour": f"colour {number % 12}",
            "watts": float(number % 100),
            "sku": f"sku {number}{word}",
        },
        price_nanos=number * 1_000_000,
        group_id=f"group {number // 3}" if number % 5 == 0 else "",
        availability=Availability.OUT_OF_STOCK if sold_out else Availability.IN_STOCK,
    )


WRITES: dict[str, Callable[[int, int], list[Item]]] = {
    "sold out": lambda size, _: [make_item(number, sold_out=True) for number in _some(size)],
    "rewritten": lambda size, turn: [make_item(number, word=f"turn{turn}") for number in _some(size)],
    "new": lambda size, turn: [make_item(10**6 + 10**4 * turn + 10**7 * size + n) for n in range(size)],
}


def _some(size: int) -> list[int]:
    return _chance.sample(range(ITEM_COUNT), size)


async def _longest_pause(done: asyncio.Event) -> float:
    longest = 0.0
    while not done.is_set():
        before = time.perf_counter()
        await asyncio.sleep(_TURN)
        longest = max(longest, time.perf_counter() - before - _TURN)
    return longest


def _update(timed_view: TimedView, news: ShopChanges) -> tuple[TimedView | None, float]:
    started = time.thread_time()
    after = update_timed_view(timed_view, news.shop, news.items, now=0)
    return after, time.thread_time() - started


async def _measure(
    database: Database, loaded: LoadedShop, timed_view: TimedView, model: Vocabulary
) -> tuple[TimedView, dict[str, float]]:
    revision = timed_view.revision
    done = asyncio.Event()
    watching = asyncio.create_task(_longest_pause(done))
    started = time.perf_counter()
    async with database.read() as connection:
        news = await read_changes_since(connection=connection, shop="default", revision=revision)
    read = time.perf_counter()
    after, processor = await asyncio.to_thread(_update, timed_view, news)
    updated = time.perf_counter()
    assert after is not None
    loaded.histories.follow(after.view.vocabulary)
    Masks(after.view)
    swapped = time.perf_counter()
    done.set()
    pause = await watching
    aligning = time.perf_counter()
    align(model, after.view.vocabulary)
    aligned = time.perf_counter()
    figures = {
        "read": read - started,
        "update": processor,
        "waited": updated - read,
        "loop": pause,
        "swap": swapped - updated,
        "align": aligned - aligning,
    }
    return after, {name: seconds * 1000 for name, seconds in figures.items()}


async def main() -> int:
    """Measure and print; return 1 when a limit is not kept."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/endcap.db"
        await migrate(url)
        database = await open_database(url)
        async with database.write() as connection:
            await create_shop(connection=connection, shop="default", now=1)
        for start in range(0, ITEM_COUNT, 10_000):
            items = [make_item(number) for number in range(start, start + 10_000)]
            async with database.write() as connection:
                await upsert_items(connection=connection, shop="default", items=items, now=1)
        started = time.perf_counter()
        loaded = await load_shop(database, "default", now=0)
        print(f"loading the shop again: {(time.perf_counter() - started) * 1000:,.0f} ms")
        model = Vocabulary(f"item-{number}" for number in range(0, ITEM_COUNT, 2))
        started = time.perf_counter()
        align(model, loaded.view.vocabulary)
        print(f"aligning from nothing: {(time.perf_counter() - started) * 1000:,.1f} ms")
        print(
            "milliseconds, median (largest)", *("read", "update", "waited", "loop", "swap", "align"), sep="\t"
        )
        timed_view = loaded.timed_view
        for kind, make in WRITES.items():
            for size in SIZES:
                figures = []
                for turn in range(REPEATS):
                    async with database.write() as connection:
                        await upsert_items(
                            connection=connection, shop="default", items=make(size, turn), now=2
                        )
                    timed_view, measured = await _measure(database, loaded, timed_view, model)
                    figures.append(measured)
                columns = {name: [each[name] for each in figures] for name in figures[0]}
                print(
                    f"{size:,} {kind}",
                    *(f"{median(column):.1f} ({max(column):.1f})" for column in columns.values()),
                    sep="\t",
                )
                failed |= median(columns["update"]) > UPDATE_LIMIT_MS
                failed |= median(columns["swap"]) > SWAP_LIMIT_MS
        await database.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
