"""The snapshot: a shop's catalog at one moment, as Parquet files that trainers read.

::

    manifest.json             format version, shop, moment, currency, counts, SHA-256 of each file
    items-00000.parquet       one row an item
    users-00000.parquet       one row a user, under a pseudonym
    events-00000.parquet      one row an event, in time order
    exposures-00000.parquet   one row an item that somebody was shown, in time order

A table of many rows goes on in ``…-00001.parquet`` and so on. The manifest is written last: files without one
are no snapshot. They lie in a folder, or in an object store below a prefix.

Users appear under a pseudonym made with a key of their own; once a user and the key are deleted,
nothing links the pseudonym to anybody.
"""

from endcap.sdk.snapshot.manifest import FORMAT_VERSION, TABLES, SnapshotManifest
from endcap.sdk.snapshot.places import Place
from endcap.sdk.snapshot.reading import Snapshot
from endcap.sdk.snapshot.tables import (
    event_schema,
    exposure_schema,
    item_columns,
    item_schema,
    item_table,
    user_schema,
)
from endcap.sdk.snapshot.writing import SnapshotWriter, snapshot_writer, write_snapshot


__all__ = [
    "FORMAT_VERSION",
    "TABLES",
    "Place",
    "Snapshot",
    "SnapshotManifest",
    "SnapshotWriter",
    "event_schema",
    "exposure_schema",
    "item_columns",
    "item_schema",
    "item_table",
    "snapshot_writer",
    "user_schema",
    "write_snapshot",
]
