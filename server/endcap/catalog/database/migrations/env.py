"""Runs the revisions on the connection from ``endcap.catalog.database.migration``."""

from alembic import context

from endcap.catalog.database.tables import METADATA


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite needs to rebuild a table for most changes.
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
