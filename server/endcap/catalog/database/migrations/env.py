"""Runs the revisions on the connection that ``endcap.catalog.database.migration`` hands over."""

from alembic import context

from endcap.catalog.database.tables import METADATA


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes most of a table only by building it anew.
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
