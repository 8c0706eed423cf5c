"""Reading a snapshot, from a folder or from an object store."""

import hashlib
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from endcap.sdk.errors import DataLoss, InvalidInput, NotFound
from endcap.sdk.object_store import ObjectStore
from endcap.sdk.snapshot.manifest import MANIFEST, SnapshotManifest
from endcap.sdk.snapshot.places import Place, checksum_of, is_url


if TYPE_CHECKING:
    import polars as pl


# The slot for weak references lets a downloaded copy go together with the snapshot.
@dataclass(frozen=True, slots=True, weakref_slot=True)
class Snapshot:
    """A snapshot, opened."""

    folder: Path
    """The folder of the files; for an object store, a private copy that is deleted with this object."""

    manifest: SnapshotManifest

    @classmethod
    def open(cls, place: Place) -> Self:
        """Open a snapshot and check that its files are whole.

        A folder is read where it is. From an object store the files are copied first, which takes as much
        room in the system's folder for temporary files.

        Args:
            place: A folder, or ``s3://BUCKET/PREFIX``.

        Raises:
            InvalidInput: The place holds no finished snapshot.
            FailedPrecondition: The snapshot has another format version, or the bucket or the credentials
                are missing.
            DataLoss: A file is missing or was altered.
            Unavailable: The object store does not answer.
        """
        if is_url(place):
            return cls._download(ObjectStore(str(place)))
        folder = Path(place)
        if not (folder / MANIFEST).is_file():
            raise InvalidInput(f"{folder} holds no snapshot: write one with 'endcap snapshot'")
        manifest = SnapshotManifest.parse((folder / MANIFEST).read_bytes())
        for name, checksum in manifest.files.items():
            file = folder / name
            if not file.is_file() or checksum_of(file) != checksum:
                raise _damaged(name)
        return cls(folder, manifest)

    def items(self) -> "pl.DataFrame":
        """Read the items: columns as in ``item_schema``."""
        return self.scan("items").collect()

    def users(self) -> "pl.DataFrame":
        """Read the users: columns as in ``user_schema``."""
        return self.scan("users").collect()

    def events(self) -> "pl.DataFrame":
        """Read the events in time order: columns as in ``event_schema``."""
        return self.scan("events").collect()

    def exposures(self) -> "pl.DataFrame":
        """Read the exposures, in time order: columns as in ``exposure_schema``."""
        return self.scan("exposures").collect()

    def scan(self, table: str) -> "pl.LazyFrame":
        """Return one of ``TABLES`` to be read as far as it is needed: some columns, some rows, in batches."""
        import polars as pl

        return pl.scan_parquet([self.folder / name for name in self.manifest.parts(table)], glob=False)

    @classmethod
    def _download(cls, store: ObjectStore) -> Self:
        try:
            content = b"".join(store.read(MANIFEST))
        except NotFound:
            raise InvalidInput(
                f"{store.url} holds no finished snapshot: write one with 'endcap snapshot {store.url}'"
            ) from None
        manifest = SnapshotManifest.parse(content)
        folder = Path(tempfile.mkdtemp(prefix="endcap-snapshot-"))
        snapshot = cls(folder, manifest)
        # Also when what follows fails, for then nobody holds the snapshot any longer.
        weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
        for name, checksum in manifest.files.items():
            if _copy(store, name, folder / name) != checksum:
                raise _damaged(name)
        (folder / MANIFEST).write_bytes(content)
        return snapshot


def _copy(store: ObjectStore, name: str, file: Path) -> str:
    """Copy an object into a file, and return its SHA-256; empty where there is no such object."""
    digest = hashlib.sha256()
    try:
        with file.open("wb") as stream:
            for chunk in store.read(name):
                digest.update(chunk)
                stream.write(chunk)
    except NotFound:
        return ""
    return digest.hexdigest()


def _damaged(name: str) -> DataLoss:
    return DataLoss(f"{name} of the snapshot is missing or altered: write it again")
