"""Writing a snapshot, in as little memory as one file of it takes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from endcap.sdk.catalog_view import EVENT_WEIGHTS
from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot.manifest import FORMAT_VERSION, MANIFEST, TABLES, SnapshotManifest, part_name
from endcap.sdk.snapshot.places import Place, Staging, checksum_of, staging
from endcap.sdk.snapshot.reading import Snapshot
from endcap.sdk.snapshot.tables import event_schema, exposure_schema, item_schema, user_schema


if TYPE_CHECKING:
    import polars as pl

PART_ROWS = 250_000
"""Rows of one file: some ten megabytes of events."""


class SnapshotWriter:
    """Takes the rows of each table, some at a time; ``snapshot_writer`` makes one."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._tables = {
            name: _TableWriter(name, schema, staging)
            for name, schema in zip(
                TABLES, (item_schema(), user_schema(), event_schema(), exposure_schema()), strict=True
            )
        }

    def append(self, table: str, rows: "pl.DataFrame") -> None:
        """Add rows to a table.

        Args:
            table: One of ``TABLES``.
            rows: Columns as in its schema; events and exposures come in time order.

        Raises:
            InvalidInput: The columns differ from the schema of the table.
            AlreadyExists: Another process writes to the same prefix of an object store.
            FailedPrecondition: The object store refuses to store the rows.
            Unavailable: The object store does not answer.
        """
        self._tables[table].append(rows)

    def finish(
        self,
        *,
        shop: str,
        as_of: int,
        currency: str = "",
        event_weights: Mapping[str, float] = EVENT_WEIGHTS,
    ) -> SnapshotManifest:
        """Write the remaining rows and the manifest. Nothing may be added afterwards.

        Args:
            shop: The shop's id.
            as_of: Unix milliseconds of the moment.
            currency: ISO 4217 code of every price.
            event_weights: The weight of each event type.

        Raises:
            AlreadyExists: Another process writes to the same prefix of an object store.
            FailedPrecondition: The object store refuses to store the rows.
            Unavailable: The object store does not answer.
        """
        for table in self._tables.values():
            table.finish()
        manifest = SnapshotManifest(
            format_version=FORMAT_VERSION,
            shop=shop,
            as_of=as_of,
            currency=currency,
            counts={name: table.count for name, table in self._tables.items()},
            files={
                name: checksum for table in self._tables.values() for name, checksum in table.files.items()
            },
            event_weights=dict(event_weights),
        )
        (self._staging.folder / MANIFEST).write_bytes(manifest.to_bytes())
        self._staging.keep(MANIFEST)
        return manifest


class _TableWriter:
    """Writes a table in files of ``PART_ROWS``, however the rows come."""

    def __init__(self, name: str, schema: "pl.Schema", staging: Staging) -> None:
        self._name = name
        self._schema = schema
        self._staging = staging
        self._waiting = schema.to_frame()
        self.count = 0
        self.files: dict[str, str] = {}
        """Checksums by name."""

    def append(self, rows: "pl.DataFrame") -> None:
        if rows.schema != self._schema:
            raise InvalidInput(f"the snapshot's {self._name} must have the columns {dict(self._schema)}")
        self.count += rows.height
        self._waiting = self._waiting.vstack(rows)
        while self._waiting.height >= PART_ROWS:
            self._write(self._waiting[:PART_ROWS])
            self._waiting = self._waiting[PART_ROWS:]

    def finish(self) -> None:
        if not self._waiting.is_empty() or not self.files:
            self._write(self._waiting)

    def _write(self, rows: "pl.DataFrame") -> None:
        name = part_name(self._name, len(self.files))
        file = self._staging.folder / name
        rows.rechunk().write_parquet(file)
        self.files[name] = checksum_of(file)
        self._staging.keep(name)


@contextmanager
def snapshot_writer(place: Place) -> Iterator[SnapshotWriter]:
    """Give a writer for the rows of a snapshot; finish it before the block ends.

    The snapshot appears then. A block that raises leaves nothing behind.

    Args:
        place: A folder that does not exist yet, or ``s3://BUCKET/PREFIX`` where there is nothing yet.

    Raises:
        InvalidInput: The place already holds something.
        AlreadyExists: Another process writes to the same prefix.
        FailedPrecondition: The bucket or the credentials are missing.
        Unavailable: The object store does not answer.
    """
    with staging(place) as filled:
        yield SnapshotWriter(filled)


def write_snapshot(
    folder: Path,
    *,
    items: "pl.DataFrame",
    users: "pl.DataFrame",
    events: "pl.DataFrame",
    exposures: "pl.DataFrame | None" = None,
    shop: str,
    as_of: int,
    currency: str = "",
    event_weights: Mapping[str, float] = EVENT_WEIGHTS,
) -> Snapshot:
    """Write a snapshot of tables that are in memory; it appears whole or not at all.

    Args:
        folder: Where; it must not exist yet.
        items: Columns as in ``item_schema``.
        users: Columns as in ``user_schema``.
        events: Columns as in ``event_schema``; they are written in time order.
        exposures: Columns as in ``exposure_schema``, in time order; None for none.
        shop: The shop's id.
        as_of: Unix milliseconds of the moment.
        currency: ISO 4217 code of every price.
        event_weights: The weight of each event type.

    Raises:
        InvalidInput: The folder exists, or a table has other columns.
    """
    with snapshot_writer(folder) as writer:
        writer.append("items", items)
        writer.append("users", users)
        writer.append("events", events.sort("time", maintain_order=True))
        if exposures is not None:
            writer.append("exposures", exposures)
        manifest = writer.finish(shop=shop, as_of=as_of, currency=currency, event_weights=event_weights)
    return Snapshot(folder, manifest)
