"""A process that records events is killed again and again: nothing acknowledged is lost, nothing is doubled.

Killing a process shows what is lost within it; ``test_durability`` shows what a power cut would lose.
"""

import asyncio
import json
import os
import subprocess
import sys

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import events_after


ROUNDS = int(os.environ.get("ENDCAP_TEST_KILLS", "50"))
"""Give more to be surer."""

CALLERS = 8

_RECORD_AND_BE_KILLED = """
import asyncio, itertools, json, os, random, signal, sys, time
from endcap.catalog.database.engine import open_database
from endcap.catalog.events.writer import EventWriter
from endcap.catalog.events.events import Event

url, rounds, callers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# By caller, who numbers its events from 0 and sends the one that has no answer again.
acknowledged = [0] * callers

async def record(writer, caller, output):
    for number in itertools.count(acknowledged[caller]):
        await writer.record("default", [Event(f"{caller}-{number}", "view", "mug", 1, user_id="ann")])
        os.write(output, b"%d\\n" % caller)

async def main(output):
    writer = EventWriter(await open_database(url), lambda shop, events, revision: None)
    await asyncio.gather(*(record(writer, caller, output) for caller in range(callers)))

randomness = random.Random(0)
for _ in range(rounds):
    incoming, output = os.pipe()
    process = os.fork()  # which spares each round the time of the imports
    if not process:
        asyncio.run(main(output))
    os.close(output)
    with open(incoming, "rb") as answers:
        lines = [answers.readline()]
        time.sleep(randomness.uniform(0, 0.1))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        lines += answers
    for line in lines:
        acknowledged[int(line)] += 1
print(json.dumps(acknowledged))
"""


async def test_no_kill_loses_or_doubles_an_event(catalog_database: Database, catalog_url: str) -> None:
    command = [sys.executable, "-c", _RECORD_AND_BE_KILLED, catalog_url, str(ROUNDS), str(CALLERS)]
    killed = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE)
    acknowledged = json.loads(killed.stdout)

    async with catalog_database.read() as connection:
        stored = await events_after(connection=connection, shop="default", revision=0)
        if connection.dialect.name == "sqlite":
            assert (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar() == "ok"
    numbers: list[list[int]] = [[] for _ in range(CALLERS)]
    for _, event in stored:
        caller, number = map(int, event.event_id.split("-"))
        numbers[caller].append(number)

    assert min(acknowledged) >= 1
    for count, found in zip(acknowledged, numbers, strict=True):
        # One more may be there: that of the last round, which was stored and never acknowledged.
        assert found in (list(range(count)), list(range(count + 1)))
