"""The tables of a snapshot: their columns, and the items as columns of a view."""

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import ItemColumns
from endcap.sdk.positives import RATING
from endcap.sdk.snapshot.attributes import (
    attributes_type,
    pack_attributes,
    to_milliseconds,
    unpack_attributes,
)


if TYPE_CHECKING:
    import polars as pl


def item_schema() -> "pl.Schema":
    """Return the columns of the table ``items``.

    Prices and ``cost`` are in the manifest's currency, and times are in Unix milliseconds.
    ``language_code`` is the BCP 47 tag of title and description, empty for the shop's language;
    ``localized_texts`` has them in other languages. ``image_uris`` are addresses of pictures, the main one
    first. ``available`` says whether the item could be bought at the moment of the snapshot, which is made of
    ``availability``, such as ``preorder``, the times from ``available_time`` to before ``expire_time``, null
    for no bound, and ``deleted``. ``attributes`` is of ``attributes_type``.
    """
    import polars as pl

    return pl.Schema(
        {
            "item_id": pl.String(),
            "title": pl.String(),
            "description": pl.String(),
            "language_code": pl.String(),
            "localized_texts": localized_texts_type(),
            "categories": pl.List(pl.String()),
            "brand": pl.String(),
            "tags": pl.List(pl.String()),
            "image_uris": pl.List(pl.String()),
            "price": pl.Float64(),
            "original_price": pl.Float64(),
            "cost": pl.Float64(),
            "group_id": pl.String(),
            "available": pl.Boolean(),
            "availability": pl.String(),
            "available_time": pl.Int64(),
            "expire_time": pl.Int64(),
            "deleted": pl.Boolean(),
            "created_time": pl.Int64(),
            "attributes": attributes_type(),
        }
    )


def localized_texts_type() -> "pl.DataType":
    """Return the type of a column of texts in other languages, one entry a language."""
    import polars as pl

    return pl.List(
        pl.Struct({"language_code": pl.String(), "title": pl.String(), "description": pl.String()})
    )


def conform(table: "pl.DataFrame", schema: "pl.Schema") -> "pl.DataFrame":
    """Return the columns of a schema, in its order and of its types; null where the table lacks one."""
    import polars as pl

    return table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def item_columns(items: "pl.DataFrame") -> ItemColumns:
    """Return the items of a snapshot as the columns of a view.

    Nulls are blanks, and moments among attributes are numbers, in Unix milliseconds, as they are in the views
    that a server makes.
    """
    return ItemColumns(
        ids=items["item_id"].to_list(),
        titles=items["title"].fill_null("").to_list(),
        categories=[names or () for names in items["categories"].to_list()],
        prices=items["price"].fill_null(np.nan).to_numpy(),
        available=items["available"].to_numpy(),
        created=items["created_time"].to_numpy(),
        descriptions=items["description"].fill_null("").to_list(),
        brands=items["brand"].fill_null("").to_list(),
        availabilities=items["availability"].fill_null("").to_list(),
        tags=[names or () for names in items["tags"].to_list()],
        group_ids=items["group_id"].fill_null("").to_list(),
        original_prices=items["original_price"].fill_null(np.nan).to_numpy(),
        costs=items["cost"].fill_null(np.nan).to_numpy(),
        attributes=[
            {
                name: to_milliseconds(value) if isinstance(value, datetime) else value
                for name, value in attributes.items()
            }
            for attributes in unpack_attributes(items["attributes"])
        ],
    )


def item_table(items: ItemColumns) -> "pl.DataFrame":
    """Return items as a snapshot holds them: what ``item_columns`` undoes.

    What the columns of a view do not hold, such as pictures and languages, is null.
    """
    import polars as pl

    count = len(items.ids)
    table = pl.DataFrame(
        {
            "item_id": items.ids,
            "title": items.titles,
            "description": items.descriptions or [""] * count,
            "categories": [list(names) for names in items.categories],
            "brand": items.brands or [""] * count,
            "tags": [list(names) for names in items.tags or [()] * count],
            "price": _amounts(items.prices, count),
            "original_price": _amounts(items.original_prices, count),
            "cost": _amounts(items.costs, count),
            "group_id": items.group_ids or [""] * count,
            "available": items.available,
            "availability": items.availabilities or [""] * count,
            "created_time": items.created,
            "attributes": pack_attributes(items.attributes or [{}] * count),
        }
    )
    return conform(table, item_schema())


def _amounts(amounts: NDArray[np.float64], count: int) -> list[float | None]:
    return [None if np.isnan(amount) else amount for amount in amounts.tolist()] or [None] * count


def user_schema() -> "pl.Schema":
    """Return the columns of the table ``users``.

    ``user`` is a pseudonym, ``created_time`` is in Unix milliseconds, and ``attributes`` is of
    ``attributes_type``. Tags, attributes and language, a BCP 47 tag, are what the shop says of the user;
    empty where it says nothing, as of every visitor.
    """
    import polars as pl

    return pl.Schema(
        {
            "user": pl.String(),
            "tags": pl.List(pl.String()),
            "language_code": pl.String(),
            "created_time": pl.Int64(),
            "attributes": attributes_type(),
        }
    )


def event_schema() -> "pl.Schema":
    """Return the columns of the table ``events``.

    The table has no event without an item, none that takes back another, and none that was taken back wholly.
    ``time`` is in Unix milliseconds; ``quantity`` in pieces; ``price`` a piece; ``unit_cost`` the shop's cost
    of a piece, null where the event has none; ``value`` is a rating.
    ``order`` is a pseudonym that the events of one order of a user share, empty where there is none;
    ``properties`` is of ``attributes_type``. ``attribution`` says what the attribution token of the event is
    worth: ``none``, ``valid``, ``foreign_item``, ``foreign_unit``, ``invalid`` or ``unchecked``.
    """
    import polars as pl

    return pl.Schema(
        {
            "user": pl.String(),
            "item_id": pl.String(),
            "type": pl.String(),
            "time": pl.Int64(),
            "quantity": pl.Float64(),
            "price": pl.Float64(),
            "unit_cost": pl.Float64(),
            "value": pl.Float64(),
            "order": pl.String(),
            "properties": attributes_type(),
            "attribution": pl.String(),
        }
    )


def event_value() -> "pl.Expr":
    """Return the column ``value`` as ``EventColumns.values`` has it: the rating, or the quantity."""
    import polars as pl

    value = pl.when(pl.col("type") == RATING).then("value").otherwise("quantity")
    return value.cast(pl.Float32()).alias("value")


def exposure_schema() -> "pl.Schema":
    """Return the columns of the table ``exposures``, which has a row for each item of each list shown.

    ``user`` is null for somebody who did nothing yet. ``time`` is in Unix milliseconds. ``assignments`` has
    the variant of each experiment that the answer was part of, and the probability of being assigned to it.
    ``position`` counts from 1 over all pages of an answer. ``bundle``, which is ``model@version``, is empty
    where there is none. ``log_propensity`` is the natural logarithm of the probability that the item stood
    there, given those above it; null where chance played no part.
    """
    import polars as pl

    return pl.Schema(
        {
            "user": pl.String(),
            "time": pl.Int64(),
            "request_id": pl.String(),
            "placement": pl.String(),
            "assignments": pl.List(
                pl.Struct({"experiment": pl.String(), "variant": pl.String(), "propensity": pl.Float64()})
            ),
            "position": pl.Int32(),
            "item_id": pl.String(),
            "strategy": pl.String(),
            "bundle": pl.String(),
            "log_propensity": pl.Float64(),
        }
    )
