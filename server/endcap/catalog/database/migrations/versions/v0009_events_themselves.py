"""A repeated event is told from another one by what is stored, not by a hash of it."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0009"
down_revision = "0008"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_BATCH = 1_000  # rows in memory at a time


def upgrade() -> None:
    """Drop the hashes."""
    op.drop_column("events", "body_hash")


def downgrade() -> None:
    """Make the hashes again, of every event as one that was sent with its time."""
    op.add_column("events", sa.Column("body_hash", sa.LargeBinary(), nullable=False, server_default=""))
    events = sa.table(
        "events",
        *map(sa.column, ("sequence", "body_hash", "type", "item_id", "user_id", "visitor_id", "quantity")),
        *map(sa.column, ("price_nanos", "currency", "value", "attribution_token", "order_id")),
        sa.column("properties", _JSON),
        sa.column("time"),
    )
    query = sa.select(events).order_by(events.c.sequence).limit(_BATCH)
    update = sa.update(events).where(events.c.sequence == sa.bindparam("at"))
    last = 0
    while batch := op.get_bind().execute(query.where(events.c.sequence > last)).all():
        last = batch[-1].sequence
        hashes = [{"at": sequence, "body_hash": _hash(body)} for sequence, _, *body in batch]
        op.get_bind().execute(update, hashes)


def _hash(body: list[object]) -> bytes:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
