"""What the shop says of its users, when visitors were linked to them, and who was deleted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0007"
down_revision = "0006"

_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Create the tables of records and of tombstones, and the column of links."""
    op.create_table(
        "user_records",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("tags", _JSON, nullable=False),
        sa.Column("attributes", _JSON, nullable=False),
        sa.Column("language_code", sa.String(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("updated_time", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="user_records_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "id"),
    )
    op.create_table(
        "tombstones",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="tombstones_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "digest"),
    )
    op.add_column("visitors", sa.Column("linked_time", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Forget the records, and who was deleted: nothing keeps them from coming back."""
    op.drop_column("visitors", "linked_time")
    op.drop_table("tombstones")
    op.drop_table("user_records")
