"""An event says whether its attribution token is of an answer that showed its item to its person."""

import sqlalchemy as sa
from alembic import op


revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the mark; tokens that are there already name neither items nor people."""
    op.add_column("events", sa.Column("attribution", sa.String(), nullable=False, server_default="none"))
    op.execute("UPDATE events SET attribution = 'unchecked' WHERE attribution_token <> ''")


def downgrade() -> None:
    """Drop the mark."""
    op.drop_column("events", "attribution")
