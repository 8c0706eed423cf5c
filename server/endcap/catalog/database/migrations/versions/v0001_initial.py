"""The first schema: shops, items, users, visitors, events, placements, bundles, exposures."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0001"
down_revision = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "shops",
        sa.Column("id", _ID, nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("token_key", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "bundles",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("model", _ID, nullable=False),
        sa.Column("version", _ID, nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("manifest", _JSON, nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("activated_time", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="bundles_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "model", "version"),
    )
    op.create_index(
        "bundles_active_key",
        "bundles",
        ["shop", "model"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "events",
        sa.Column("sequence", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("visitor_id", sa.String(), nullable=True),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Float(), nullable=False),
        sa.Column("price_nanos", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("attribution_token", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("properties", _JSON, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="events_shop_fkey"),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("shop", "event_id", name="events_event_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_revision", "events", ["shop", "revision"], unique=False)
    op.create_table(
        "exposures",
        sa.Column("sequence", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("placement", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("visitor_id", sa.String(), nullable=True),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("variant", sa.String(), nullable=False),
        sa.Column("view", sa.String(), nullable=False),
        sa.Column("bundles", _JSON, nullable=False),
        sa.Column("items", _JSON, nullable=False),
        sa.Column("degraded", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="exposures_shop_fkey"),
        sa.PrimaryKeyConstraint("sequence"),
        sqlite_autoincrement=True,
    )
    op.create_index("exposures_request", "exposures", ["shop", "request_id"], unique=False)
    op.create_table(
        "items",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("language_code", sa.String(), nullable=False),
        sa.Column("localized_texts", _JSON, nullable=False),
        sa.Column("categories", _JSON, nullable=False),
        sa.Column("brand", sa.String(), nullable=False),
        sa.Column("tags", _JSON, nullable=False),
        sa.Column("attributes", _JSON, nullable=False),
        sa.Column("price_nanos", sa.BigInteger(), nullable=True),
        sa.Column("original_price_nanos", sa.BigInteger(), nullable=True),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("image_uris", _JSON, nullable=False),
        sa.Column("availability", sa.String(), nullable=False),
        sa.Column("available_time", sa.BigInteger(), nullable=True),
        sa.Column("expire_time", sa.BigInteger(), nullable=True),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("updated_time", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="items_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "id"),
    )
    op.create_index("items_position_key", "items", ["shop", "position"], unique=True)
    op.create_index("items_revision", "items", ["shop", "revision"], unique=False)
    op.create_table(
        "placements",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("ladder", _JSON, nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("updated_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="placements_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "id"),
    )
    op.create_table(
        "users",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("pseudonym_key", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="users_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "id"),
    )
    op.create_table(
        "visitors",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("pseudonym_key", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="visitors_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "id"),
    )
    op.create_index("visitors_user", "visitors", ["shop", "user_id"], unique=False)


def downgrade() -> None:
    """Drop every table, with what it holds."""
    for table in ("visitors", "users", "placements", "items", "exposures", "events", "bundles", "shops"):
        op.drop_table(table)
