"""Backups of PostgreSQL: archives of ``pg_dump``, which ``pg_restore`` reads."""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import URL

from endcap.catalog.database.migration import migrate
from endcap.catalog.database.migration_plan import stored_schema
from endcap.sdk.errors import DataLoss, FailedPrecondition


NAME = "PostgreSQL"

MAGIC = b"PGDMP"

_ROWS = re.compile(r"^COPY .*alembic_version .*\n(\S+)\n", re.MULTILINE)
_ANYBODYS = ("--no-owner", "--no-privileges")  # the user who restores the backup owns the tables


async def back_up(url: URL, file: Path) -> None:
    """Write a database to a new file, in one transaction."""
    code, _ = await _run("pg_dump", "--format=custom", *_ANYBODYS, f"--file={file}", url=url)
    if code:
        raise FailedPrecondition(
            "pg_dump failed, see above: pg_dump must reach the database and be no older than the server"
        )


async def check(file: Path) -> str | None:
    """Check that a backup is complete, and return its schema version.

    Raises:
        DataLoss: The backup is damaged.
    """
    whole, _ = await _run("pg_restore", "--file=/dev/null", str(file))
    code, rows = await _run("pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(file))
    if whole or code:
        raise DataLoss(
            f"{file} is damaged, or was written by a newer pg_dump than this pg_restore: see above"
        )
    found = _ROWS.search(rows)
    return None if found is None else found[1]


async def restore(url: URL, file: Path, amend: Callable[[str], Awaitable[None]]) -> None:
    """Replace the content of a database in one transaction, after migrating its schema to that of the backup.

    Later transactions amend the content, since only then the database has the schema of this release.
    """
    text = url.render_as_string(hide_password=False)
    there, archived = await stored_schema(text), await check(file)
    if there is not None and archived is not None and there != archived:
        # Tables that the backup does not hold would keep the tables that it replaces from being dropped.
        await migrate(text, target=archived)
    options = ("--single-transaction", "--clean", "--if-exists", "--exit-on-error", *_ANYBODYS)
    code, _ = await _run("pg_restore", *options, str(file), url=url)
    if code:
        raise FailedPrecondition("pg_restore failed, see above: the shops are as they were")
    await migrate(text)
    await amend(text)


async def _run(program: str, *arguments: str, url: URL | None = None) -> tuple[int, str]:
    """Run a program of PostgreSQL and return its exit code and output; its errors go to standard error."""
    if shutil.which(program) is None:
        raise FailedPrecondition(
            f"{program} is not on the PATH: install PostgreSQL's client programs, no older than the server"
        )
    environment = dict(os.environ)
    if url is not None:
        # Other users of the machine can see the arguments.
        environment["PGPASSWORD"] = url.password or environment.get("PGPASSWORD", "")
        place = url.set(drivername="postgresql", password=None).render_as_string()
        arguments = (f"--dbname={place}", *arguments)
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, env=environment
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")
