"""Events have the text of a search, the cost of a piece, and an earlier event that they take back."""

import sqlalchemy as sa
from alembic import op


revision = "0013"
down_revision = "0012"

_ADDED = ("query", "reversed_event_id", "unit_cost_nanos", "reversed_quantity", "reversed_revision")


def upgrade() -> None:
    """Add the columns; no stored event takes back another."""
    columns = (
        sa.Column("query", sa.String(), nullable=False, server_default=""),
        sa.Column("reversed_event_id", sa.String(), nullable=False, server_default=""),
        sa.Column("unit_cost_nanos", sa.BigInteger(), nullable=True),
        sa.Column("reversed_quantity", sa.Float(), nullable=False, server_default="0"),
        sa.Column("reversed_revision", sa.BigInteger(), nullable=True),
    )
    for column in columns:
        op.add_column("events", column)


def downgrade() -> None:
    """Drop the columns; a refunded purchase counts again."""
    for name in _ADDED:
        op.drop_column("events", name)
