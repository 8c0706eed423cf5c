"""Which revisions wrote items."""

import sqlalchemy as sa
from alembic import op


revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table of writes; a process that holds an earlier revision loads the shop once more."""
    op.create_table(
        "item_writes",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="item_writes_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "revision"),
    )


def downgrade() -> None:
    """Forget the writes; the items say when they were written last."""
    op.drop_table("item_writes")
