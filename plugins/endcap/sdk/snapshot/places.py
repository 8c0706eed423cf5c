"""Places of snapshots: in a folder, or in an object store below a prefix.

In both it appears whole or not at all. A folder is filled under another name and then renamed. In an object
store, which cannot rename, the manifest comes last, and until then there is no snapshot.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from endcap.sdk.errors import EndcapError, InvalidInput
from endcap.sdk.object_store import ObjectStore
from endcap.sdk.publish import publish


Place: TypeAlias = Path | str
"""A folder, or the URL of an object store as ``s3://BUCKET/PREFIX``."""


@dataclass(frozen=True, slots=True)
class Staging:
    """A folder that is filled file by file."""

    folder: Path

    keep: Callable[[str], None]
    """Called with the name of each file of the folder once it is complete, with the manifest's last."""


def is_url(place: Place) -> bool:
    """Return whether a place is in an object store."""
    return isinstance(place, str) and "://" in place


def checksum_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def staging(place: Place) -> Iterator[Staging]:
    """Give a folder to fill, and publish what was kept when the block ends well; otherwise nothing is left.

    Args:
        place: A folder or prefix that must hold nothing yet.

    Raises:
        InvalidInput: The place already holds something.
        AlreadyExists: Another process writes to the same prefix.
        FailedPrecondition: The bucket or the credentials are missing.
        Unavailable: The object store does not answer.
    """
    if is_url(place):
        with _uploading(ObjectStore(str(place))) as filled:
            yield filled
        return
    folder = Path(place)
    if folder.exists():
        raise InvalidInput(f"{folder} exists already: choose a new folder for the snapshot")
    with publish(folder) as path:
        yield Staging(path, keep=lambda _: None)


@contextmanager
def _uploading(store: ObjectStore) -> Iterator[Staging]:
    """Upload each file as soon as it is complete, so that the disk never holds more than one."""
    if not store.is_empty():
        raise InvalidInput(f"{store.url} holds something already: choose a new prefix for the snapshot")
    uploaded: list[str] = []
    with tempfile.TemporaryDirectory(prefix="endcap-snapshot-") as folder:

        def keep(name: str) -> None:
            file = Path(folder) / name
            store.create(name, file)
            uploaded.append(name)
            file.unlink()

        try:
            yield Staging(Path(folder), keep)
        except BaseException:
            with suppress(EndcapError):  # what went wrong first is what matters
                store.delete(uploaded)
            raise
