"""The snapshot: a shop's catalog at one moment, as a folder of Parquet files that trainers read.

::

    manifest.json     format version, shop, moment, currency, counts, SHA-256 of each file
    items.parquet     one row an item
    users.parquet     one row a user, under a pseudonym
    events.parquet    one row an event, in time order

Users appear under a pseudonym made with a key of their own; once a user and the key are deleted,
nothing links the pseudonym to anybody.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import ItemColumns
from endcap.sdk.errors import DataLoss, FailedPrecondition, InvalidInput
from endcap.sdk.publish import publish


if TYPE_CHECKING:
    import polars as pl

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class SnapshotManifest:
    """What ``manifest.json`` says."""

    format_version: int
    shop: str

    as_of: int
    """Unix milliseconds; no event is later."""

    currency: str
    """ISO 4217 code of every price; empty when the shop has not said."""

    counts: Mapping[str, int]
    """Rows of each table."""

    files: Mapping[str, str]
    """SHA-256 of each file, in hexadecimal."""

    @property
    def fingerprint(self) -> str:
        """A name for the content: equal for equal tables."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot folder, opened."""

    folder: Path
    manifest: SnapshotManifest

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a snapshot and check that its files are whole.

        Raises:
            InvalidInput: The folder holds no snapshot.
            FailedPrecondition: It was written in another format version.
            DataLoss: A file is missing or was altered.
        """
        path = folder / "manifest.json"
        if not path.is_file():
            raise InvalidInput(f"{folder} holds no snapshot: write one with 'endcap snapshot'")
        try:
            manifest = SnapshotManifest(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise DataLoss("the snapshot's manifest cannot be read: write the snapshot again") from error
        if manifest.format_version != FORMAT_VERSION:
            raise FailedPrecondition(
                f"the snapshot has format {manifest.format_version}, this release reads {FORMAT_VERSION}:"
                " write it again with 'endcap snapshot'"
            )
        for name, checksum in manifest.files.items():
            file = folder / name
            if not file.is_file() or _checksum(file) != checksum:
                raise DataLoss(f"{name} of the snapshot is missing or altered: write it again")
        return cls(folder, manifest)

    def items(self) -> "pl.DataFrame":
        """Read the items: columns as in ``item_schema``."""
        return self._read("items")

    def users(self) -> "pl.DataFrame":
        """Read the users: columns as in ``user_schema``."""
        return self._read("users")

    def events(self) -> "pl.DataFrame":
        """Read the events in time order: columns as in ``event_schema``."""
        return self._read("events")

    def _read(self, table: str) -> "pl.DataFrame":
        import polars as pl

        return pl.read_parquet(self.folder / f"{table}.parquet")


def item_schema() -> "pl.Schema":
    """Return the columns of ``items.parquet``.

    Prices and ``cost`` are in the manifest's currency, ``created_time`` is in Unix milliseconds, and
    ``attributes`` is a JSON object of texts, booleans, numbers and lists of texts by name.
    """
    import polars as pl

    return pl.Schema(
        {
            "item_id": pl.String(),
            "title": pl.String(),
            "description": pl.String(),
            "categories": pl.List(pl.String()),
            "brand": pl.String(),
            "tags": pl.List(pl.String()),
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
            "categories": [list(names) for names in items.categories],
            "brand": items.brands or [""] * count,
            "tags": [list(names) for names in items.tags or [()] * count],
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
    """Return the columns of ``users.parquet``; ``user`` is a pseudonym."""
    import polars as pl

    return pl.Schema({"user": pl.String(), "created_time": pl.Int64()})


def event_schema() -> "pl.Schema":
    """Return the columns of ``events.parquet``.

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


def write_snapshot(
    folder: Path,
    *,
    items: "pl.DataFrame",
    users: "pl.DataFrame",
    events: "pl.DataFrame",
    shop: str,
    as_of: int,
    currency: str = "",
) -> Snapshot:
    """Write a snapshot; it appears whole or not at all.

    Args:
        folder: Where; it must not exist yet.
        items: Columns as in ``item_schema``.
        users: Columns as in ``user_schema``.
        events: Columns as in ``event_schema``; they are written in time order.
        shop: The shop's id.
        as_of: Unix milliseconds of the moment.
        currency: ISO 4217 code of every price.

    Raises:
        InvalidInput: The folder exists, or a table has other columns.
    """
    if folder.exists():
        raise InvalidInput(f"{folder} exists already: choose a new folder for the snapshot")
    tables = {"items": items, "users": users, "events": events.sort("time", maintain_order=True)}
    for name, schema in (("items", item_schema()), ("users", user_schema()), ("events", event_schema())):
        if tables[name].schema != schema:
            raise InvalidInput(f"the snapshot's {name} must have the columns {dict(schema)}")
    with publish(folder) as staging:
        for name, table in tables.items():
            table.write_parquet(staging / f"{name}.parquet")
        manifest = SnapshotManifest(
            format_version=FORMAT_VERSION,
            shop=shop,
            as_of=as_of,
            currency=currency,
            counts={name: table.height for name, table in tables.items()},
            files={f"{name}.parquet": _checksum(staging / f"{name}.parquet") for name in tables},
        )
        (staging / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2), encoding="utf-8")
    return Snapshot(folder, manifest)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
