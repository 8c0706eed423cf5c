"""What a bundle is, beside its manifest, and why one was refused."""

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add four columns; what is registered already keeps them empty."""
    with op.batch_alter_table("bundles") as bundles:
        bundles.add_column(sa.Column("refusal", sa.String(), nullable=False, server_default=""))
        bundles.add_column(sa.Column("checksum", sa.String(), nullable=False, server_default=""))
        bundles.add_column(sa.Column("size_bytes", sa.BigInteger(), nullable=False, server_default="0"))
        bundles.add_column(sa.Column("item_count", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the four columns."""
    for column in ("item_count", "size_bytes", "checksum", "refusal"):
        op.drop_column("bundles", column)
