"""An exposure is named by its page, says more of how it came about, and takes a third of the room."""

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0010"
down_revision = "0009"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_BATCH = 1_000  # rows in memory at a time


def _added() -> tuple[sa.Column[Any], ...]:
    """Return the columns that this revision adds."""
    return (
        sa.Column("unit", sa.LargeBinary(), nullable=False, server_default=""),
        sa.Column("page", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("query", sa.String(), nullable=False, server_default=""),
        sa.Column("language", sa.String(), nullable=False, server_default=""),
        sa.Column("device", sa.String(), nullable=False, server_default=""),
        sa.Column("configuration", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("assignments", _JSON, nullable=False, server_default="[]"),
        sa.Column("candidates", sa.LargeBinary(), nullable=False, server_default=""),
        sa.Column("item_ids", _JSON, nullable=False, server_default="[]"),
        sa.Column("sources", _JSON, nullable=False, server_default="[]"),
        sa.Column("log_propensities", _JSON, nullable=False, server_default="[]"),
    )


def _dropped() -> tuple[sa.Column[Any], ...]:
    """Return the columns that it drops."""
    return (
        sa.Column("experiment", sa.String(), nullable=False, server_default=""),
        sa.Column("variant", sa.String(), nullable=False, server_default=""),
        sa.Column("items", _JSON, nullable=False, server_default="[]"),
    )


_SHOPS = sa.table("shops", sa.column("id"), sa.column("token_key"))
_EXPOSURES = sa.table(
    "exposures",
    *map(sa.column, ("sequence", "shop", "request_id", "placement", "user_id", "visitor_id")),
    *(sa.column(column.name, column.type) for column in (*_added(), *_dropped())),
)


def upgrade() -> None:
    """Add what is recorded from now on, and pack what was."""
    for column in _added():
        op.add_column("exposures", column)
    keys = {shop.id: shop.token_key for shop in op.get_bind().execute(sa.select(_SHOPS))}
    names = ("user_id", "visitor_id", "experiment", "variant", "items")
    request: tuple[str, str] | None = None
    shown: dict[tuple[str, bytes], list[list[str]]] = {}  # lists of one request, by placement and unit
    for row in _rows(*names):
        if request != (row.shop, row.request_id):
            request, shown = (row.shop, row.request_id), {}
        unit = _unit(keys[row.shop], row.user_id, row.visitor_id)
        items = [item["item_id"] for item in row.items]
        pages = shown.setdefault((row.placement, unit), [])
        repeated = items in pages
        chances = [item["log_propensity"] for item in row.items]
        sources = groupby((item["strategy"], item["bundle"]) for item in row.items)
        values = {
            "unit": unit,
            # Lists of one request were its pages, in this order.
            "page": sum(map(len, pages[: pages.index(items)] if repeated else pages)),
            "superseded": repeated,
            "candidates": b"",
            "assignments": [[row.experiment, row.variant, 1.0]] if row.experiment else [],
            "item_ids": items,
            "sources": [[*source, len(list(each))] for source, each in sources],
            "log_propensities": chances if any(chance is not None for chance in chances) else [],
        }
        if not repeated:
            pages.append(items)
        _change(row.sequence, values)
    op.drop_index("exposures_request", "exposures")
    op.create_index(
        "exposures_current_key",
        "exposures",
        ["shop", "request_id", "placement", "unit", "page"],
        unique=True,
        sqlite_where=sa.text("superseded = 0"),
        postgresql_where=sa.text("NOT superseded"),
    )
    for column in _dropped():
        op.drop_column("exposures", column.name)


def downgrade() -> None:
    """Unpack the lists; what else was recorded is lost."""
    for column in _dropped():
        op.add_column("exposures", column)
    for row in _rows("assignments", "item_ids", "sources", "log_propensities"):
        sources = [source for *source, count in row.sources for _ in range(count)]
        chances = row.log_propensities or [None] * len(row.item_ids)
        experiment, variant, _ = row.assignments[0] if row.assignments else ("", "", 1.0)
        items = [
            {"item_id": item_id, "strategy": strategy, "bundle": bundle, "log_propensity": chance}
            for item_id, (strategy, bundle), chance in zip(row.item_ids, sources, chances, strict=True)
        ]
        _change(row.sequence, {"experiment": experiment, "variant": variant, "items": items})
    op.drop_index("exposures_current_key", "exposures")
    op.create_index("exposures_request", "exposures", ["shop", "request_id"])
    for column in _added():
        op.drop_column("exposures", column.name)


def _rows(*names: str) -> Iterator[Any]:
    """Yield the exposures, those of one request together, in the order in which they were stored."""
    column = _EXPOSURES.c
    order = (column.shop, column.request_id, column.sequence)
    query = sa.select(*order, column.placement, *(column[name] for name in names)).order_by(*order)
    after: tuple[Any, ...] | None = None
    while True:
        further = query if after is None else query.where(sa.tuple_(*order) > sa.tuple_(*after))
        batch = op.get_bind().execute(further.limit(_BATCH)).all()
        if not batch:
            return
        yield from batch
        after = tuple(batch[-1][:3])


def _change(sequence: int, values: dict[str, Any]) -> None:
    op.get_bind().execute(sa.update(_EXPOSURES).where(_EXPOSURES.c.sequence == sequence).values(values))


def _unit(key: bytes, user_id: str | None, visitor_id: str | None) -> bytes:
    if user_id:
        return hashlib.blake2b(user_id.encode(), key=key, person=b"unit user", digest_size=8).digest()
    if visitor_id:
        return hashlib.blake2b(visitor_id.encode(), key=key, person=b"unit visitor", digest_size=8).digest()
    return bytes(8)
