"""Who changed a placement and when; what somebody was shown lately, by user and by visitor."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0003"
down_revision = "0002"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Create the table of changes and two indexes of exposures."""
    op.create_table(
        "placement_changes",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("placement", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("before", _JSON, nullable=True),
        sa.Column("after", _JSON, nullable=True),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="placement_changes_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "revision"),
    )
    op.create_index("placement_changes_placement", "placement_changes", ["shop", "placement", "revision"])
    op.create_index("exposures_user", "exposures", ["shop", "user_id", "time"])
    op.create_index("exposures_visitor", "exposures", ["shop", "visitor_id", "time"])


def downgrade() -> None:
    """Drop the two indexes, and the table with what it holds."""
    op.drop_index("exposures_visitor", "exposures")
    op.drop_index("exposures_user", "exposures")
    op.drop_table("placement_changes")
