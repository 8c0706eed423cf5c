"""The schema version of a database, and checks that this release can use it."""

from sqlalchemy import Connection, inspect, text

from endcap.catalog.database.migrations import HEAD
from endcap.sdk.errors import FailedPrecondition


def schema_version(connection: Connection) -> str | None:
    """Return the revision of the schema that a database holds, or None if it holds no schema."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def reject_newer(found: str | None) -> None:
    """Reject a schema of a later release.

    Raises:
        FailedPrecondition: The schema is newer than this release.
    """
    if found is not None and found > HEAD:
        raise FailedPrecondition(
            f"the database has schema {found}, but this release knows {HEAD}: use a newer release of Endcap"
        )


def require_current(found: str | None) -> None:
    """Reject every schema except that of this release.

    Raises:
        FailedPrecondition: The schema is missing, older or newer.
    """
    reject_newer(found)
    if found is None:
        raise FailedPrecondition("the database holds no schema: create it with 'endcap migrate'")
    if found < HEAD:
        raise FailedPrecondition(
            f"the database has schema {found}, but this release needs {HEAD}: update it with 'endcap migrate'"
        )
