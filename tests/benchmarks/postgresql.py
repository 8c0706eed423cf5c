"""What recording events in PostgreSQL takes, against bare asyncpg on the same server.

Run it with ``python tests/benchmarks/postgresql.py URL``, where the URL is that of an empty database. Every
round measures all of them in turn.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from itertools import count

import asyncpg

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.events.events import Event
from endcap.catalog.events.writer import EventWriter


CALLERS = 64

# The same columns, indices and references as ours, and nothing else done.
_BARE = """
CREATE TABLE bare (LIKE events INCLUDING ALL);
ALTER TABLE bare ADD FOREIGN KEY (shop) REFERENCES shops
"""
_INSERT = """
INSERT INTO bare (
    shop, event_id, type, user_id, item_id, time, quantity, currency, attribution_token, order_id,
    properties, revision
) VALUES ('default', $1, 'view', $2, $3, $4, 1, '', '', '', '{}', 1)
"""


class Bare:
    """Inserts rows as asyncpg does it at best."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def record(self, batches: list[list[Event]]) -> None:
        """Insert each batch in a transaction of its own."""
        rows = [[self._row(event) for event in batch] for batch in batches]
        for batch in rows:
            async with self._connection.transaction():
                await self._connection.executemany(_INSERT, batch)

    @staticmethod
    def _row(event: Event) -> tuple[object, ...]:
        return (event.event_id, event.user_id, event.item_id, event.time)


def main() -> None:
    """Print events a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.url, chosen.rounds))


async def measure(url: str, rounds: int) -> None:
    """Take turns, so that all see the same disk."""
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
    bare = await asyncpg.connect(url)
    await bare.execute(_BARE)
    numbers = count()

    def events(batches: int, size: int) -> list[list[Event]]:
        return [[_event(next(numbers)) for _ in range(size)] for _ in range(batches)]

    ways: dict[str, tuple[Callable[[list[list[Event]]], Awaitable[None]], int, int]] = {
        "bare 1000": (Bare(bare).record, 20, 1_000),
        "ours 1000": (lambda batches: _record(database, batches, callers=2), 20, 1_000),
        "bare 1": (Bare(bare).record, 500, 1),
        "ours 1": (lambda batches: _record(database, batches, callers=CALLERS), 5_000, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (record, batches, size) in ways.items():
            given = events(batches, size)
            started = time.perf_counter()
            await record(given)
            rates[name].append(batches * size / (time.perf_counter() - started))
    for name, values in rates.items():
        print(f"{name:>10}: {_summary(values, ',.0f')} events/s")
    for batch in ("1000", "1"):
        pairs = zip(rates[f"ours {batch}"], rates[f"bare {batch}"], strict=True)
        print(f"batches of {batch}: {_summary([ours / bare for ours, bare in pairs], '.2f')} of the bare")
    await bare.close()
    await database.close()


async def _record(database: Database, batches: list[list[Event]], *, callers: int) -> None:
    """Record as the server does: each caller one call after the other, many callers a commit."""
    writer = EventWriter(database, lambda shop, events, revision: None)
    calls = iter(batches)

    async def call() -> None:
        for batch in calls:
            await writer.record("default", batch)

    await asyncio.gather(*(call() for _ in range(callers)))
    await writer.close()


def _event(number: int) -> Event:
    user, item = number * 7 % 20_000, number * 13 % 2_000
    return Event(f"event-{number:09}", "view", f"item-{item}", 1_700_000_000_000 + number, f"user-{user}")


def _summary(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
