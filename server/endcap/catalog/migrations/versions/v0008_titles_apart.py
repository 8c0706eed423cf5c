"""Titles in several languages, a line each, so that each can be told from a text that is more than it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from endcap.catalog.search_index import searchable_texts


revision = "0008"
down_revision = "0007"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_BATCH = 1_000  # rows in memory at a time


def upgrade() -> None:
    """Write the words of items with texts in other languages anew."""
    items = sa.table(
        "items",
        sa.column("shop", sa.String()),
        sa.column("position", sa.BigInteger()),
        sa.column("title", sa.String()),
        sa.column("description", sa.String()),
        sa.column("localized_texts", _JSON),
        sa.column("categories", _JSON),
        sa.column("brand", sa.String()),
        sa.column("tags", _JSON),
        sa.column("deleted", sa.Boolean()),
    )
    item_texts = sa.table(
        "item_texts",
        sa.column("shop", sa.String()),
        sa.column("position", sa.BigInteger()),
        sa.column("title", sa.String()),
        sa.column("labels", sa.String()),
        sa.column("description", sa.String()),
    )
    outdated = sa.delete(item_texts).where(
        item_texts.c.shop == sa.bindparam("of_shop"), item_texts.c.position == sa.bindparam("at_position")
    )
    query = sa.select(items).where(items.c.deleted.is_(False)).order_by(items.c.shop, items.c.position)
    last: tuple[str, int] = ("", -1)
    while True:
        after = sa.tuple_(items.c.shop, items.c.position) > sa.tuple_(*map(sa.literal, last))
        batch = [dict(row) for row in op.get_bind().execute(query.where(after).limit(_BATCH)).mappings()]
        if not batch:
            return
        last = (batch[-1]["shop"], batch[-1]["position"])
        if translated := [item for item in batch if item["localized_texts"]]:
            places = [{"of_shop": item["shop"], "at_position": item["position"]} for item in translated]
            op.get_bind().execute(outdated, places)
            op.bulk_insert(
                item_texts,
                [
                    {"shop": item["shop"], "position": item["position"], **searchable_texts(item)}
                    for item in translated
                ],
            )


def downgrade() -> None:
    """Leave the words as they are: the release before reads lines as it reads spaces."""
