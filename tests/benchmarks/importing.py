"""What an import takes: rows a second, processor time, peak memory, and all that after it is killed.

Run it with ``python tests/benchmarks/importing.py --items 100000 --events 1000000``. Each import is a process
of its own, as an operator starts it, into a new database of SQLite.
"""

import argparse
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl


CHUNK = 100_000
WORDS = ("heart", "mug", "red", "kettle", "lunch", "bag", "retro", "spot", "vintage", "tin", "blue", "candle")
NOW = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """What one process took."""

    seconds: float
    processor_seconds: float
    peak_megabytes: float
    output: str


def main() -> None:
    """Print what every import takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--formats", nargs="+", default=["csv", "jsonl", "parquet"])
    parser.add_argument("--folder", type=Path, help="where the files and databases go; a temporary one")
    chosen = parser.parse_args()
    with TemporaryDirectory(dir=chosen.folder) as folder:
        for ending in chosen.formats:
            files = Path(folder) / ending
            files.mkdir()
            write(files / f"items.{ending}", items(chosen.items))
            write(files / f"events.{ending}", events(chosen.events, chosen.items, chosen.users))
            measure(ending, files, chosen.items, chosen.events)


def measure(ending: str, files: Path, item_count: int, event_count: int) -> None:
    """Import files whole, again, and killed in the middle."""
    whole = importing(files, files / "whole.db")
    print(f"{ending}: {item_count:,} items, {event_count:,} events")
    rate = (item_count + event_count) / whole.seconds
    print(f"  whole:   {said(whole)}, {rate:,.0f} rows/s")
    again = importing(files, files / "whole.db")
    print(f"  again:   {said(again)}, adds nothing")
    killed = importing(files, files / "killed.db", kill_at=event_count // 2)
    there = count_events(files / "killed.db")
    resumed = importing(files, files / "killed.db")
    print(f"  killed:  {said(killed)}, {there:,} events are there")
    print(f"  resumed: {said(resumed)}")
    for database in ("whole.db", "killed.db"):
        assert count_events(files / database) == event_count, database
    print(f"  the database has {(files / 'whole.db').stat().st_size / 1e6:,.0f} MB")


def said(run: Run) -> str:
    """Return a run in words."""
    processor = f"{run.processor_seconds:6.1f} s of a processor"
    return f"{run.seconds:7.1f} s, {processor}, peak {run.peak_megabytes:.0f} MB"


def importing(files: Path, database: Path, *, kill_at: int | None = None) -> Run:
    """Run ``endcap import``, or kill it when there are some events."""
    environment = {**os.environ, "ENDCAP_DATABASE_URL": f"sqlite:///{database}"}
    command = [sys.executable, "-m", "endcap.cli", "import", str(files), "--currency", "GBP"]
    started = time.perf_counter()
    used = processor_seconds()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, peak_megabytes(process.pid))
        if kill_at is not None and count_events(database) >= kill_at:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.05)
    output = process.communicate()[0]
    if process.returncode not in {0, -signal.SIGKILL}:
        sys.exit(output)
    return Run(time.perf_counter() - started, processor_seconds() - used, peak, output)


def processor_seconds() -> float:
    """Return what the processes that have ended took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_megabytes(process: int) -> float:
    """Return the most memory that a process has held, 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def count_events(database: Path) -> int:
    """Return how many events a database holds; nothing was deleted."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT max(sequence) FROM events").fetchone()
    except sqlite3.OperationalError:  # it is not there yet
        return 0
    return int(count or 0)


def items(count: int) -> Iterator[pl.DataFrame]:
    """Yield items of made-up names."""
    random.seed(1)
    for start in range(0, count, CHUNK):
        numbers = range(start, min(count, start + CHUNK))
        yield pl.DataFrame(
            {
                "item_id": [f"item-{number}" for number in numbers],
                "title": [" ".join(random.choices(WORDS, k=4)) for _ in numbers],
                "description": [" ".join(random.choices(WORDS, k=20)) for _ in numbers],
                "categories": ["|".join(random.choices(WORDS, k=2)) for _ in numbers],
                "brand": random.choices(WORDS, k=len(numbers)),
                "price": [random.randrange(1_000) / 100 for _ in numbers],
            }
        )


def events(count: int, item_count: int, user_count: int) -> Iterator[pl.DataFrame]:
    """Yield events, a second apart, of users and items that are popular by the square of their number."""
    random.seed(2)
    for start in range(0, count, CHUNK):
        numbers = range(start, min(count, start + CHUNK))
        yield pl.DataFrame(
            {
                "user_id": [f"user-{int(user_count * random.random() ** 2)}" for _ in numbers],
                "item_id": [f"item-{int(item_count * random.random() ** 2)}" for _ in numbers],
                "type": random.choices(["view", "add_to_cart", "purchase"], [8, 1, 1], k=len(numbers)),
                "time": [NOW - (count - number) * 1000 for number in numbers],
                "quantity": [1] * len(numbers),
                "price": [random.randrange(1_000) / 100 for _ in numbers],
            }
        )


def write(file: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Write frames into one file."""
    if file.suffix == ".parquet":
        pl.concat(list(frames)).write_parquet(file)
        return
    with file.open("wb") as stream:
        for number, frame in enumerate(frames):
            if file.suffix == ".csv":
                frame.write_csv(stream, include_header=number == 0)
            else:
                frame.write_ndjson(stream)


if __name__ == "__main__":
    main()
