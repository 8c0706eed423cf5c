"""Attributes of items have one type in each shop, event types a role and a value rule, and changes a log.

The type of an attribute becomes the one that most of its stored values have; the others stay and do not
count.
"""

import math
import re
from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0012"
down_revision = "0011"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_NULLABLE_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_BATCH = 1_000  # rows in memory at a time
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MEANINGS = {
    "view": ("view", "none"),
    "click": ("view", "none"),
    "add_to_cart": ("cart", "none"),
    "purchase": ("purchase", "price_times_quantity"),
    "refund": ("refund", "price_times_quantity"),
    "search": ("search", "none"),
    "rating": ("rating", "value"),
}
"""Role and value rule of an event type by its name."""

_shops = sa.table("shops", sa.column("id", sa.String()), sa.column("settings", _JSON))
_items = sa.table(
    "items",
    sa.column("shop", sa.String()),
    sa.column("position", sa.BigInteger()),
    sa.column("attributes", _JSON),
    sa.column("deleted", sa.Boolean()),
)


def upgrade() -> None:
    """Create the tables, and derive from what is stored what they say."""
    definitions = op.create_table(
        "attribute_definitions",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("name", _ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="attribute_definitions_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "name"),
    )
    op.create_table(
        "shop_changes",
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("before", _NULLABLE_JSON, nullable=True),
        sa.Column("after", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="shop_changes_shop_fkey"),
        sa.PrimaryKeyConstraint("shop", "revision"),
    )
    counts = _count_types()
    rows = [
        {"shop": shop, "name": name, "type": types.most_common(1)[0][0]}
        for (shop, name), types in sorted(counts.items())
    ]
    if rows:
        op.bulk_insert(definitions, rows)
    _change_settings(_with_event_types)


def downgrade() -> None:
    """Drop the tables, and keep the weights of event types."""
    op.drop_table("shop_changes")
    op.drop_table("attribute_definitions")
    _change_settings(_with_event_weights)


def _count_types() -> dict[tuple[str, str], Counter[str]]:
    """Return how many items have a value of each type, by shop and attribute."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    query = sa.select(_items).where(_items.c.deleted.is_(False)).order_by(_items.c.shop, _items.c.position)
    last: tuple[str, int] = ("", -1)
    while True:
        after = sa.tuple_(_items.c.shop, _items.c.position) > sa.tuple_(*map(sa.literal, last))
        batch = op.get_bind().execute(query.where(after).limit(_BATCH)).all()
        if not batch:
            return counts
        last = (batch[-1].shop, batch[-1].position)
        for item in batch:
            for name, value in item.attributes.items():
                if _NAME.fullmatch(name) and (type_ := _type(value)):
                    counts.setdefault((item.shop, name), Counter())[type_] += 1


def _type(value: Any) -> str:
    match value:
        case str():
            return "text"
        case bool():
            return "boolean"
        case int() | float():
            return "number" if _is_finite(value) else ""
        case list() if all(isinstance(text, str) for text in value):
            return "texts"
        case {"time": int(time), **others} if not others and not isinstance(time, bool):
            return "time" if _EARLIEST <= time <= _LATEST else ""
        case _:
            return ""


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer of more than 308 digits
        return False


def _change_settings(change: Any) -> None:
    for shop, settings in op.get_bind().execute(sa.select(_shops.c.id, _shops.c.settings)).all():
        op.get_bind().execute(
            sa.update(_shops).where(_shops.c.id == shop).values(settings=change(dict(settings)))
        )


def _with_event_types(settings: dict[str, Any]) -> dict[str, Any]:
    event_types = {}
    for name, weight in settings.pop("event_weights", {}).items():
        role, value_rule = _MEANINGS.get(name, ("other", "none"))
        event_types[name] = {"weight": weight, "role": role, "value_rule": value_rule}
    return {**settings, "event_types": event_types}


def _with_event_weights(settings: dict[str, Any]) -> dict[str, Any]:
    settings.pop("languages", None)
    event_types = settings.pop("event_types", {})
    # The release before knows no weight below 0.
    weights = {name: max(0, each["weight"]) for name, each in event_types.items()}
    return {**settings, "event_weights": weights}
