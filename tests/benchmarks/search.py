"""What search costs: the index when items are written and on the disk, and a query.

Run it with ``python tests/benchmarks/search.py``. The shop is that of the demo, once as it is and once grown
to 100,000 items, whose titles draw the shop's own words as often as the shop uses them.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items import items as catalog_items
from endcap.catalog.items.items import Item, upsert_items
from endcap.catalog.items.search import search_items
from endcap.demo.cleaning import clean, raw_rows
from endcap.sdk import testing
from endcap.server.recommending.title_search import match_titles


LARGE = 100_000
BATCH = 10_000  # as an import writes
LIMIT = 200
ALL = np.ones(1_000_000, np.bool_)
QUERIES = 300


async def main() -> None:
    """Print what each catalog costs."""
    titles = clean(raw_rows()).items["title"].to_list()
    for name, own in (("the shop", titles), (f"{LARGE:,} items", grown(titles))):
        print(f"{name}: {len(own):,} titles")
        await measure(own)


async def measure(titles: Sequence[str]) -> None:
    """Print what writing, storing and searching some titles costs."""

    async def no_index(**_: object) -> None:
        return

    with TemporaryDirectory() as folder:
        with patch.object(catalog_items, "index_items", no_index):
            bare = await stocked(Path(folder) / "bare", titles)
        indexed = await stocked(Path(folder) / "indexed", titles)
        print(f"  written without the index in {bare.seconds:6.2f} s,  {bare.megabytes:6.1f} MB")
        print(f"  written with the index in    {indexed.seconds:6.2f} s,  {indexed.megabytes:6.1f} MB")
        print(f"  written again, unchanged, in {await writing(indexed.database, titles):6.2f} s")
        for kind, texts in queries(titles).items():
            await print_times(kind, texts, indexed.database)
        for each in (bare, indexed):
            await each.database.close()
    view = testing.catalog(testing.SampleItem(str(row), title=title) for row, title in enumerate(titles))
    started = time.perf_counter()
    match_titles(view, "heart")
    print(f"  in memory: titles read in {(time.perf_counter() - started) * 1000:.0f} ms")
    texts = queries(titles)["two words"]
    times = [milliseconds(lambda text=text: match_titles(view, text)) for text in texts]  # type: ignore[misc]
    print(f"  in memory: two words        p50 {median(times):7.2f} ms")


class Stocked:
    """A database that holds one shop, and what filling it took."""

    def __init__(self, database: Database, seconds: float, file: Path) -> None:
        self.database = database
        self.seconds = seconds
        written = [path for path in file.parent.iterdir() if path.name.startswith(file.name)]
        self.megabytes = sum(path.stat().st_size for path in written) / 1e6


async def stocked(folder: Path, titles: Sequence[str]) -> Stocked:
    """Write items of some titles into a new database."""
    file = folder / "endcap.db"
    await migrate(f"sqlite:///{file}")
    database = await open_database(f"sqlite:///{file}")
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
    seconds = await writing(database, titles)
    # Closing the last connection moves what the log holds into the file.
    await database.close()
    return Stocked(await open_database(f"sqlite:///{file}"), seconds, file)


async def writing(database: Database, titles: Sequence[str]) -> float:
    """Write items in batches and return the seconds that it took."""
    stock = [Item(str(row), title=title) for row, title in enumerate(titles)]
    started = time.perf_counter()
    for start in range(0, len(stock), BATCH):
        async with database.write() as connection:
            await upsert_items(
                connection=connection, shop="default", items=stock[start : start + BATCH], now=1
            )
    return time.perf_counter() - started


def grown(titles: Sequence[str]) -> list[str]:
    """Return many titles of as many words as the given ones, drawn from all their words."""
    generator = random.Random(0)
    words = [word for title in titles for word in title.split()]
    lengths = [len(title.split()) for title in titles]
    return [" ".join(generator.choices(words, k=generator.choice(lengths))) for _ in range(LARGE)]


def queries(titles: Sequence[str]) -> dict[str, list[str]]:
    """Return texts of several kinds, drawn from the titles."""
    generator = random.Random(1)
    chosen = [title.split() for title in generator.sample(list(titles), QUERIES) if len(title.split()) > 1]
    return {
        "one word": [words[0] for words in chosen],
        "two words": [" ".join(words[:2]) for words in chosen],
        "one letter": [words[0][:1] for words in chosen],
        "two letters": [words[0][:2] for words in chosen],
        "four letters": [words[0][:4] for words in chosen],
        "a word and two letters": [f"{words[0]} {words[1][:2]}" for words in chosen],
        "all words": [" ".join(words) for words in chosen],
        "the commonest words": ["set of heart pink red", "bag box heart", "of the in"] * 10,
        "64 words": [" ".join(word for words in chosen[:16] for word in words)[:256]] * 10,
    }


async def print_times(kind: str, texts: Sequence[str], database: Database) -> None:
    """Print how long texts of one kind take."""
    times = []
    for text in texts:
        async with database.read() as connection:
            started = time.perf_counter()
            await search_items(connection=connection, shop="default", text=text, allowed=ALL, limit=LIMIT)
            times.append((time.perf_counter() - started) * 1000)
    p95 = quantiles(times, n=20)[-1]
    print(f"  {kind:26} p50 {median(times):7.2f} ms, p95 {p95:7.2f} ms, worst {max(times):7.2f} ms")


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    asyncio.run(main())
