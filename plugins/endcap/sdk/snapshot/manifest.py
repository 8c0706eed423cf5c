"""The manifest of a snapshot, which says what belongs to it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from endcap.sdk.errors import DataLoss, FailedPrecondition


FORMAT_VERSION = 5

TABLES = ("items", "users", "events", "exposures")
"""The tables of a snapshot."""

MANIFEST = "manifest.json"
"""The name of the manifest's file."""

_PART = re.compile(rf"({'|'.join(TABLES)})-\d{{5}}\.parquet")


@dataclass(frozen=True, slots=True)
class SnapshotManifest:
    """The content of ``manifest.json``."""

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

    event_weights: Mapping[str, float]
    """The weight of each event type as evidence of preference, below 0 against the item."""

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the bytes of ``to_bytes``.

        Raises:
            DataLoss: The bytes are not a manifest.
            FailedPrecondition: The manifest has another format version.
        """
        try:
            document = json.loads(content)
            version = int(document["format_version"])
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable() from error
        # First, for another version's manifest may have other fields.
        if version != FORMAT_VERSION:
            advice = (
                "read it with a newer release"
                if version > FORMAT_VERSION
                else "write it again with 'endcap snapshot'"
            )
            raise FailedPrecondition(
                f"the snapshot has format {version}, this release reads {FORMAT_VERSION}: {advice}"
            )
        try:
            manifest = cls(**document)
        except TypeError as error:
            raise _unreadable() from error
        # A name becomes a path, so none but our own is taken.
        if not isinstance(manifest.files, dict) or not all(map(_PART.fullmatch, manifest.files)):
            raise _unreadable()
        if not all(manifest.parts(table) for table in TABLES):
            raise _unreadable()
        return manifest

    def to_bytes(self) -> bytes:
        """Return the content of ``manifest.json``."""
        return json.dumps(asdict(self), indent=2).encode()

    def parts(self, table: str) -> list[str]:
        """Return the files of a table, in the order of its rows."""
        return sorted(name for name in self.files if name.startswith(f"{table}-"))

    @property
    def fingerprint(self) -> str:
        """A name for the content: equal for equal tables."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()[:16]


def part_name(table: str, number: int) -> str:
    """Return the name of one file of a table; the first has the number 0."""
    return f"{table}-{number:05}.parquet"


def _unreadable() -> DataLoss:
    return DataLoss("the snapshot's manifest cannot be read: write the snapshot again")
