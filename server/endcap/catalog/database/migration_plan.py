"""The plan of a migration."""

from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory

from endcap.catalog.database import migrations, sqlite
from endcap.catalog.database.engine import Database, parse_url
from endcap.catalog.database.schema import reject_newer, schema_version


@dataclass(frozen=True, slots=True)
class MigrationStep:
    """One revision that is applied."""

    revision: str
    summary: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A migration: the schemas before and after, and its steps."""

    current: str | None
    """The revision of the database; None if it holds no schema."""

    target: str
    """The revision of this release."""

    steps: tuple[MigrationStep, ...]
    """The steps in order, all in one transaction; empty if the schema is current."""


async def plan_migration(url: str) -> Plan:
    """Return the plan of ``migrate`` for a database, without changing it.

    Args:
        url: The URL, as for ``open_database``.

    Raises:
        InvalidInput: The URL is not that of a supported database.
        FailedPrecondition: The schema is newer than this release, or the database rejects the user.
        Unavailable: The database does not answer.
        DataLoss: The database is damaged.
    """
    current = await stored_schema(url)
    reject_newer(current)
    history = ScriptDirectory(str(Path(migrations.__file__).parent))
    revisions = reversed(list(history.iterate_revisions(migrations.HEAD, current or "base")))
    steps = tuple(MigrationStep(revision.revision, revision.doc) for revision in revisions)
    return Plan(current, migrations.HEAD, steps)


async def stored_schema(url: str) -> str | None:
    """Return the schema version of a database, or None if it has no schema yet."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not sqlite.database_file(parsed).exists():
        return None
    async with Database(url) as database, database.read() as connection:
        return await connection.run_sync(schema_version)
