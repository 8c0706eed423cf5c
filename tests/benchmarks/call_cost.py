"""The processor time of a Recommend call, of this checkout beside another commit in one run.

Run it with ``python tests/benchmarks/call_cost.py COMMIT``. Each side imports one synthetic shop with its
own code, serves it in a process of its own, and answers the same calls, one side after the other, round by
round. The server's processor time comes from the kernel (``/proc/PID/stat``), so the client's work does not
count. It fails when this checkout takes over 5 % longer in the median round; equal sides differ by less.
"""

import asyncio
import csv
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any


ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("protos", "plugins", "server", "trainers")
ITEMS, USERS, EVENTS = 5_000, 2_000, 100_000
ROUNDS, CALLS, CONCURRENCY = 5, 600, 8
TOLERANCE = 1.05
ENDCAP = [sys.executable, "-m", "endcap.cli"]
CASES: dict[str, dict[str, Any]] = {
    "home": {},
    "filter": {"filter": 'price < 20 AND categories:"Category 1"'},
    "reasons": {"include_reasons": True},
}
"""The arguments of ``AsyncClient.recommend``, by the name of the case."""


def write_shop(folder: Path) -> None:
    """Write the files of the shop."""
    chance = random.Random(1)
    with (folder / "items.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["item_id", "title", "categories", "price"])
        for number in range(ITEMS):
            title = f"Word{number % 977} word{number % 131}"
            table.writerow([f"item-{number}", title, f"Category {number % 7}", number % 50 + 1])
    with (folder / "events.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["user_id", "item_id", "type", "time"])
        for number in range(EVENTS):
            item = min(int(chance.expovariate(8 / ITEMS)), ITEMS - 1)
            row = (
                f"user-{chance.randrange(USERS)}",
                f"item-{item}",
                "view",
                1_700_000_000_000 + number * 1_000,
            )
            table.writerow(row)


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def drive(port: int) -> None:
    """For each line of input make the calls of its case, and say when they are done."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from endcap.client import AsyncClient
    from endcap.v1.placement_pb2 import Placement, Rung
    from endcap.v1.placement_service_pb2 import UpdatePlacementRequest

    chance = random.Random(2)
    async with AsyncClient(f"127.0.0.1:{port}") as client:

        async def call(number: int, case: str) -> None:
            for _ in range(number):
                user = f"user-{chance.randrange(USERS)}"
                answer = await client.recommend("home", user_id=user, deadline=30, **CASES[case])
                assert answer.results

        # The default ladder differs between releases, and with it the work.
        ladder = Placement(id="home", ladder=[Rung(strategy="popular")])
        await client.placements.UpdatePlacement(
            UpdatePlacementRequest(placement=ladder, update_mask=FieldMask(paths=["ladder"])),
            timeout=30,
            wait_for_ready=True,
        )
        for line in iter(sys.stdin.readline, ""):
            await asyncio.gather(*(call(CALLS // CONCURRENCY, line.strip()) for _ in range(CONCURRENCY)))
            print("done", flush=True)


class Side:
    """One checkout that serves the shop."""

    def __init__(self, server: subprocess.Popen[str], driver: subprocess.Popen[str]) -> None:
        self._server, self._driver = server, driver

    def cost(self, case: str) -> float:
        """Return the microseconds of the server's processor that a call of a case takes."""
        before = processor_seconds(self._server.pid)
        assert self._driver.stdin
        assert self._driver.stdout
        self._driver.stdin.write(f"{case}\n")
        self._driver.stdin.flush()
        if self._driver.stdout.readline() != "done\n":
            raise SystemExit("the calls failed: see the messages above")
        return (processor_seconds(self._server.pid) - before) / CALLS * 1e6


@contextmanager
def serving(checkout: Path, shop: Path, folder: Path) -> Iterator[Side]:
    """Import the shop with the code of a checkout, and serve it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(checkout / root) for root in ROOTS),
        "ENDCAP_ADDRESS": f"127.0.0.1:{port}",
        "ENDCAP_DATABASE_URL": f"sqlite:///{folder}/endcap.db",
        "ENDCAP_BUNDLES_FOLDER": str(folder / "bundles"),
        "ENDCAP_BUNDLE_STORE": str(folder / "trained"),
    }
    command = [*ENDCAP, "import", str(shop), "--currency", "GBP"]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    with ExitStack() as ending:
        server = subprocess.Popen([*ENDCAP, "serve"], env=environment, text=True, stdout=subprocess.DEVNULL)
        ending.callback(server.wait)
        ending.callback(server.terminate)
        command = [sys.executable, __file__, "--drive", str(port)]
        driver = subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        ending.callback(driver.wait)
        ending.callback(driver.terminate)
        yield Side(server, driver)


def main(commit: str) -> int:
    """Measure and print; return 1 when this checkout takes more."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        shop, before = folder / "shop", folder / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(before), commit], check=True)
        ending.callback(subprocess.run, [*git, "remove", "--force", str(before)], check=True)
        shop.mkdir()
        write_shop(shop)
        sides = {}
        for name, checkout in (("before", before), ("now", ROOT)):
            (folder / f"{name}-data").mkdir()
            sides[name] = ending.enter_context(serving(checkout, shop, folder / f"{name}-data"))
        time.sleep(5)  # the server loads the shop and builds what it keeps
        print("case", "before", "now", "ratio", sep="\t")
        failed = False
        for case in CASES:
            for side in sides.values():
                side.cost(case)  # fills caches
            rounds = [{name: side.cost(case) for name, side in sides.items()} for _ in range(ROUNDS)]
            ratio = median(each["now"] / each["before"] for each in rounds)
            figures = (f"{median(each[name] for each in rounds):,.0f} µs" for name in sides)
            print(case, *figures, f"{ratio:.2f}", sep="\t", flush=True)
            failed |= ratio > TOLERANCE
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        asyncio.run(drive(int(sys.argv[2])))
    elif len(sys.argv) == 2:
        sys.exit(main(sys.argv[1]))
    else:
        sys.exit("name the commit to measure beside this checkout")
