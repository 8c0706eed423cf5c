"""How far the imports have come that are not done."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0005"
down_revision = "0004"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Create the table of imports."""
    op.create_table(
        "imports",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("rejected", _JSON, nullable=False),
        sa.Column("rejects_size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="imports_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "file"),
    )


def downgrade() -> None:
    """Forget them: an import that was interrupted begins again."""
    op.drop_table("imports")
