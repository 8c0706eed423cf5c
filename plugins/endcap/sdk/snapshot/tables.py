"""The tables of a snapshot: their columns, and the items as columns of a view."""

import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import ItemColumns


if TYPE_CHECKING:
    import polars as pl


def item_schema() -> "pl.Schema":
    """Return the columns of the table ``items``.

    Prices and ``cost`` are in the manifest's currency, ``created_time`` is in Unix milliseconds, and
    ``attributes`` is a JSON object of texts, booleans, numbers and lists of texts by name.
    ``language_code`` is the BCP 47 tag of title and description, empty for the shop's language, and
    ``image_uris`` are addresses of pictures, the main one first.
    """
    import polars as pl

    return pl.Schema(
        {
            "item_id": pl.String(),
            "title": pl.String(),
            "description": pl.String(),
            "language_code": pl.String(),
            "categories": pl.List(pl.String()),
            "brand": pl.String(),
            "tags": pl.List(pl.String()),
            "image_uris": pl.List(pl.String()),
            "price": pl.Float64(),
            "original_price": pl.Float64(),
            "cost": pl.Float64(),
            "group_id": pl.String(),
            "available": pl.Boolean(),
            "created_time": pl.Int64(),
            "attributes": pl.String(),
        }
    )


def item_columns(items: "pl.DataFrame") -> ItemColumns:
    """Return the items of a snapshot as the columns of a view; nulls are blanks."""
    return ItemColumns(
        ids=items["item_id"].to_list(),
        titles=items["title"].fill_null("").to_list(),
        categories=[names or () for names in items["categories"].to_list()],
        prices=items["price"].fill_null(np.nan).to_numpy(),
        available=items["available"].to_numpy(),
        created=items["created_time"].to_numpy(),
        descriptions=items["description"].fill_null("").to_list(),
        brands=items["brand"].fill_null("").to_list(),
        tags=[names or () for names in items["tags"].to_list()],
        group_ids=items["group_id"].fill_null("").to_list(),
        original_prices=items["original_price"].fill_null(np.nan).to_numpy(),
        costs=items["cost"].fill_null(np.nan).to_numpy(),
        attributes=[json.loads(attributes or "{}") for attributes in items["attributes"]],
    )


def item_table(items: ItemColumns) -> "pl.DataFrame":
    """Return items as a snapshot holds them: what ``item_columns`` undoes."""
    import polars as pl

    count = len(items.ids)
    return pl.DataFrame(
        {
            "item_id": items.ids,
            "title": items.titles,
            "description": items.descriptions or [""] * count,
            "language_code": [""] * count,
            "categories": [list(names) for names in items.categories],
            "brand": items.brands or [""] * count,
            "tags": [list(names) for names in items.tags or [()] * count],
            "image_uris": [[]] * count,
            "price": _amounts(items.prices, count),
            "original_price": _amounts(items.original_prices, count),
            "cost": _amounts(items.costs, count),
            "group_id": items.group_ids or [""] * count,
            "available": items.available,
            "created_time": items.created,
            "attributes": [json.dumps(dict(values)) for values in items.attributes or [{}] * count],
        },
        schema=item_schema(),
    )


def _amounts(amounts: NDArray[np.float64], count: int) -> list[float | None]:
    return [None if np.isnan(amount) else amount for amount in amounts.tolist()] or [None] * count


def user_schema() -> "pl.Schema":
    """Return the columns of the table ``users``; ``user`` is a pseudonym."""
    import polars as pl

    return pl.Schema({"user": pl.String(), "created_time": pl.Int64()})


def event_schema() -> "pl.Schema":
    """Return the columns of the table ``events``.

    ``time`` is in Unix milliseconds; ``quantity`` in pieces; ``price`` a piece; ``value`` is a rating.
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
            "value": pl.Float64(),
        }
    )


def exposure_schema() -> "pl.Schema":
    """Return the columns of the table ``exposures``, which has a row for each item of each list shown.

    ``user`` is null for somebody who did nothing yet. ``time`` is in Unix milliseconds. ``position`` counts
    from 1. ``experiment``, ``variant`` and ``bundle``, which is ``model@version``, are empty where there is
    none. ``log_propensity`` is the natural logarithm of the probability that the item stood there, given
    those above it; null where chance played no part.
    """
    import polars as pl

    return pl.Schema(
        {
            "user": pl.String(),
            "time": pl.Int64(),
            "request_id": pl.String(),
            "placement": pl.String(),
            "experiment": pl.String(),
            "variant": pl.String(),
            "position": pl.Int32(),
            "item_id": pl.String(),
            "strategy": pl.String(),
            "bundle": pl.String(),
            "log_propensity": pl.Float64(),
        }
    )
