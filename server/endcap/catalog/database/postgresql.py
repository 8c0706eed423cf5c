"""PostgreSQL: opening a database, beginning transactions, mapping errors."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import URL, Connection, Table, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from endcap.sdk.errors import DataLoss, EndcapError, Exhausted, FailedPrecondition, InvalidInput, Unavailable


READING: Mapping[str, object] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""The execution options of a connection that sees one state and writes nothing."""

WRITING: Mapping[str, object] = {"isolation_level": "READ COMMITTED", "endcap_writes": True}
"""The execution options of a connection that writes: reads after waiting for a lock see new rows."""

WRITERS = 5
"""Concurrent writing transactions of this process; those of one shop wait for each other's rows."""

_CONNECTIONS = 2 * WRITERS
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 60.0
_PARTING_SECONDS = 0.1
_MIGRATION_LOCK = 0x656E_6463_6170  # "endcap"

_REWRITTEN_BYTES = 64 << 20
"""The largest table, with its indexes, that is rewritten: half a second, measured in memory."""

_VACUUM_SECONDS = 3600.0
_VACUUM_LOCK_SECONDS = 0.2  # a transaction that waits to lock a whole table blocks all others
_SAMPLES = "pg_catalog.pg_statistic"  # the planner's samples of columns, values included
_LOOKS, _LOOK_SECONDS = 20, 0.05

_SEES_OLDER_STATE = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)
    AND greatest(age(backend_xmin), age(backend_xid)) > age($1::text::xid)
) OR EXISTS (SELECT FROM pg_replication_slots WHERE age(xmin) > age($1::text::xid))
"""

_NO_ANSWER = "the database does not answer: try again, and check that it runs"

_NO_NUL = "a text holds the character NUL, which PostgreSQL cannot store: leave it out"

_MEANINGS: Mapping[str, tuple[type[EndcapError], str]] = {
    # By SQLSTATE, or by its first two characters, which are the class of the error.
    "08": (Unavailable, _NO_ANSWER),
    "22021": (InvalidInput, _NO_NUL),
    "22P05": (InvalidInput, _NO_NUL),
    "25006": (Unavailable, "the database takes no writes now: set the URL to the primary server"),
    "28": (FailedPrecondition, "the database rejects the user or the password of its URL: correct them"),
    "3D000": (
        FailedPrecondition,
        "the database that the URL names does not exist: create it with 'createdb'",
    ),
    "40": (Unavailable, "another process changed the same rows of the database: try again"),
    "42501": (
        FailedPrecondition,
        "the user of the database lacks permission: make this user the owner of the database",
    ),
    "53": (Unavailable, "the database has no connections or no memory left: try again, or give it more"),
    "53100": (Exhausted, "the disk of the database is full: free some space; nothing was stored"),
    "55P03": (Unavailable, "another process is writing to the database: try again"),
    "57": (Unavailable, _NO_ANSWER),
    "58": (Unavailable, "the database cannot use its files: try again, and check its disk"),
    "XX001": (DataLoss, "the database is damaged: restore it from a backup"),
    "XX002": (DataLoss, "an index of the database is damaged: rebuild it with 'reindexdb'"),
}


def create_engine(url: URL, *, lock_timeout: float, migrating: bool = False) -> AsyncEngine:
    """Create an engine that connects on demand.

    Args:
        url: The URL of the database, with any options of ``libpq``, such as ``sslmode``.
        lock_timeout: Seconds to wait for locks of other transactions.
        migrating: Whether to change the schema: statements then have no time limit, and other migrations
            wait.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = {
        # Acknowledged writes are on disk, whatever the server's default is.
        "synchronous_commit": "on",
        "lock_timeout": f"{lock_timeout:g}s",
        # A cached plan fits the table of its time and any array: it may compare every row added since with
        # each of a thousand ids, which takes seconds.
        "plan_cache_mode": "force_custom_plan",
    }
    if not migrating:
        # A process that hangs within a transaction must not keep its locks for ever.
        settings["idle_in_transaction_session_timeout"] = f"{_STATEMENT_SECONDS:g}s"

    async def connect() -> asyncpg.Connection:
        with _our_errors():
            return await asyncpg.connect(
                dsn,
                timeout=_CONNECT_SECONDS,
                command_timeout=None if migrating else _STATEMENT_SECONDS,
                server_settings=settings,
            )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=lock_timeout,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "invalidate", _hang_up)
    event.listen(engine.sync_engine, "handle_error", _meaning)
    if migrating:
        event.listen(engine.sync_engine, "begin", _lock_schema)
    return engine


async def erase_deleted(engine: AsyncEngine, tables: Sequence[str]) -> bool:
    """Rewrite small tables, vacuum large ones, and delete the planner's samples of them.

    A vacuum frees rows, but their bytes stay in the free space of a page until other rows overwrite them.
    Rewriting a table leaves no bytes, but locks the table meanwhile.

    Returns:
        Whether this succeeded. If False, a transaction sees an older state or holds a table for long.
    """
    async with engine.connect() as connection:
        # On the driver's connection, because SQLAlchemy would begin a transaction.
        driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
        with _our_errors():
            await driver.execute(f"SET lock_timeout = '{_VACUUM_LOCK_SECONDS:g}s'")
            try:
                return await _vacuum(driver, *tables, options="ANALYZE") and await _vacuum(driver, _SAMPLES)
            except asyncpg.LockNotAvailableError:
                return False
            finally:
                await driver.execute("RESET lock_timeout")


async def _vacuum(driver: asyncpg.Connection, *tables: str, options: str = "ANALYZE FALSE") -> bool:
    """Vacuum tables once no transaction sees deleted rows; return False if one still does."""
    now = await driver.fetchval("SELECT pg_current_xact_id()::xid::text")
    for _ in range(_LOOKS):
        if not await driver.fetchval(_SEES_OLDER_STATE, now):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    else:
        return False
    for table in tables:
        size = await driver.fetchval("SELECT pg_total_relation_size($1::text::regclass)", table)
        way = "FULL" if size <= _REWRITTEN_BYTES else "INDEX_CLEANUP ON"
        await driver.execute(f"VACUUM ({way}, {options}) {table}", timeout=_VACUUM_SECONDS)
    return True


async def keep_plans(connection: AsyncConnection) -> None:
    """Let the rest of a transaction cache plans, which halves the cost of checking many references."""
    await connection.exec_driver_sql("SET LOCAL plan_cache_mode = auto")


async def copy_rows(
    *, connection: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert many rows by COPY, which takes half the time of as many INSERTs.

    Args:
        connection: A connection that writes.
        table: The table.
        columns: The columns of the values.
        rows: Rows of values as the driver takes them, so JSON is a text.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():
        await connection.exec_driver_sql(
            "SELECT 1"
        )  # SQLAlchemy begins the transaction with the first statement
    with _our_errors():
        await driver.copy_records_to_table(table.name, records=rows, columns=columns)


def _refuse_closed(
    connection: DBAPIConnection, _: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    # A stopped server has closed its connections, which the driver notices: the pool opens another one.
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _hang_up(connection: DBAPIConnection, _: ConnectionPoolEntry, _error: BaseException | None) -> None:
    # A cancelled call waits until the server has cancelled it too, up to two seconds if the server hangs:
    # longer than the caller can wait.
    asyncio.get_running_loop().call_later(_PARTING_SECONDS, connection.driver_connection.terminate)


def _meaning(context: ExceptionContext) -> EndcapError | None:
    """Return the error that a failure of PostgreSQL means to a caller; None for a bug of Endcap."""
    error = context.original_exception
    if not isinstance(error, Exception):
        return None  # a cancelled call, which loses the connection
    # A broken connection may raise an error of the driver without a code.
    return Unavailable(_NO_ANSWER) if context.is_disconnect else _meaning_of(error)


def _meaning_of(error: BaseException) -> EndcapError | None:
    if isinstance(error, OSError):  # a network error, or the timeout of a statement
        return Unavailable(_NO_ANSWER)
    code = getattr(error, "sqlstate", None) or ""
    kind, message = _MEANINGS.get(code) or _MEANINGS.get(code[:2]) or (None, "")
    return None if kind is None else kind(message)


@contextmanager
def _our_errors() -> Iterator[None]:
    """Map errors of direct calls to the driver."""
    try:
        yield
    except asyncpg.ClientConfigurationError:
        raise InvalidInput(
            "the database URL holds an option that PostgreSQL does not know: remove it"
        ) from None
    except (OSError, asyncpg.PostgresError) as error:
        meant = _meaning_of(error)
        if meant is None:
            raise
        raise meant from error


def _lock_schema(connection: Connection) -> None:
    if connection.get_execution_options().get("endcap_writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
