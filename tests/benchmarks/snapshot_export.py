"""What a snapshot takes: rows a second, processor time, peak memory.

Run it with ``python tests/benchmarks/snapshot_export.py --events 1000000``. The snapshot is written by a
process of its own, as an operator starts it, from a new database of SQLite, or an empty one of PostgreSQL.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Table, insert

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.database.tables import EVENTS, EXPOSURES, ITEMS, USERS
from endcap.sdk.snapshot import Snapshot


NOW = 1_700_000_000_000
YEAR = 31_536_000  # seconds
SHUFFLE = 48_271
"""A prime: its multiples go through numbers as if by chance."""


def main() -> None:
    """Print what the snapshot takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--exposures", type=int, default=10_000, help="lists of ten items")
    parser.add_argument("--database", help="the URL of an empty PostgreSQL database; else SQLite is used")
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary one")
    chosen = parser.parse_args()
    with TemporaryDirectory(dir=chosen.folder) as folder:
        url = chosen.database or f"sqlite:///{folder}/endcap.db"
        asyncio.run(fill(url, chosen.items, chosen.users, chosen.events, chosen.exposures))
        measure(url, Path(folder) / "snapshot")


async def fill(url: str, item_count: int, user_count: int, event_count: int, exposure_count: int) -> None:
    """Create a shop whose events came in any order."""
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    users = (
        {"shop": "default", "id": f"user-{number}", "created_time": NOW, "pseudonym_key": bytes(16)}
        for number in range(user_count)
    )
    await store(database, ITEMS, (item(number) for number in range(item_count)))
    await store(database, USERS, users)
    await store(database, EVENTS, (event(number, item_count, user_count) for number in range(event_count)))
    await store(database, EXPOSURES, (exposure(number, user_count) for number in range(exposure_count)))
    await database.close()


async def store(database: Database, table: Table, rows: Iterator[Mapping[str, Any]]) -> None:
    """Store rows, many a transaction."""
    while chunk := list(islice(rows, 100_000)):
        async with database.write() as connection:
            await connection.execute(insert(table), chunk)


def item(number: int) -> dict[str, Any]:
    """Return an item with some text."""
    return dict.fromkeys(("language_code", "brand", "currency", "group_id"), "") | {
        "shop": "default",
        "id": f"item-{number}",
        "position": number,
        "title": f"Vintage tin {number}",
        "description": "A tin for tea, painted by hand. " * 5,
        "localized_texts": {},
        "categories": ["Home", "Tins"],
        "tags": [],
        "attributes": {"colour": "red", "grams": 120.0},
        "price_nanos": 10**9,
        "image_uris": [f"https://shop.example/{number}.jpg"],
        "availability": "in_stock",
        "created_time": NOW,
        "updated_time": NOW,
        "deleted": False,
        "revision": 1,
    }


def event(number: int, item_count: int, user_count: int) -> dict[str, Any]:
    """Return an event of a year, one in ten of them a purchase."""
    return {
        "shop": "default",
        "event_id": f"event-{number}",
        "type": "view" if number % 10 else "purchase",
        "user_id": f"user-{number * SHUFFLE % user_count}",
        "item_id": f"item-{number * SHUFFLE % item_count}",
        "time": NOW + number * SHUFFLE % YEAR * 1000,
        "quantity": 1.0,
        "price_nanos": 10**9,
        "currency": "GBP",
        "attribution_token": "",
        "order_id": "",
        "properties": {},
        "revision": number // 1000,
    }


def exposure(number: int, user_count: int) -> dict[str, Any]:
    """Return a list of ten items that was shown."""
    return dict.fromkeys(("query", "language", "device", "view"), "") | {
        "shop": "default",
        "request_id": f"request-{number}",
        "placement": "home",
        "unit": (number % user_count).to_bytes(8),
        "page": 0,
        "superseded": False,
        "time": NOW + number,
        "user_id": f"user-{number % user_count}",
        "bundles": {"ease": "3"},
        "configuration": 1,
        "assignments": [],
        "candidates": bytes(8),
        "item_ids": [f"item-{place}" for place in range(10)],
        "sources": [["ease", "ease@3", 10]],
        "log_propensities": [-0.5] * 10,
        "degraded": [],
    }


def measure(url: str, place: Path) -> None:
    """Write a snapshot in a process of its own, and print what that took."""
    environment = {**os.environ, "ENDCAP_DATABASE_URL": url}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "endcap.cli", "snapshot", str(place)], env=environment, check=True)
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = Snapshot.open(place).manifest.counts
    size = sum(file.stat().st_size for file in place.iterdir())
    print(
        f"{seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of a processor,"
        f" peak {usage.ru_maxrss / 1024:.0f} MB, {sum(counts.values()) / seconds:,.0f} rows/s,"
        f" {size / 1e6:,.0f} MB on disk"
    )


if __name__ == "__main__":
    main()
