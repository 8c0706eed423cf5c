"""The snapshot: a shop's catalog at one moment, as Parquet files that trainers read.

::

    manifest.json             format version, shop, moment, currency, counts, SHA-256 of each file
    items-00000.parquet       one row an item
    users-00000.parquet       one row a user, under a pseudonym
    events-00000.parquet      one row an event, in time order
    exposures-00000.parquet   one row an item that somebody was shown, in time order

A table of many rows goes on in ``…-00001.parquet`` and so on. The manifest is written last: files without one
are no snapshot. They lie in a folder, or in an object store below a prefix.

Users and their orders appear under pseudonyms made with a key of the user's own; once a user and the key are
deleted, nothing links a pseudonym to anybody. Tags, attributes and properties are as the shop wrote them, and
no place for what names a person.
"""

from endcap.sdk.snapshot.attributes import (
    TypedValue,
    attributes_type,
    pack_attributes,
    to_moment,
    unpack_attributes,
)
from endcap.sdk.snapshot.manifest import FORMAT_VERSION, TABLES, SnapshotManifest
from endcap.sdk.snapshot.places import Place
from endcap.sdk.snapshot.reading import Snapshot
from endcap.sdk.snapshot.tables import (
    conform,
    event_schema,
    event_value,
    exposure_schema,
    item_columns,
    item_schema,
    item_table,
    localized_texts_type,
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
    "TypedValue",
    "attributes_type",
    "conform",
    "event_schema",
    "event_value",
    "exposure_schema",
    "item_columns",
    "item_schema",
    "item_table",
    "localized_texts_type",
    "pack_attributes",
    "snapshot_writer",
    "to_moment",
    "unpack_attributes",
    "user_schema",
    "write_snapshot",
]
