"""An object store: a bucket of S3, Google Cloud or Azure, or the part of one below a prefix.

What is written is new, never something else's successor: a name that is taken is refused by the store itself,
so that two writers cannot both succeed.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from endcap.sdk.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, Unavailable


if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("s3", "gs", "az")
"""Schemes of the URLs of object stores: Amazon S3 and compatible stores, Google Cloud Storage, Azure."""

_CLIENT: "ClientConfig" = {
    # An endpoint without TLS is used only where the operator names one, as for a store in the same machine.
    "allow_http": True,
    "connect_timeout": "5s",
    "timeout": "300s",
}
_RETRIES: "RetryConfig" = {"max_retries": 3}
_CHUNK_BYTES = 8 << 20

# The library gives a class of its own to what happens to one object. A list's errors are told by their text.
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
_REFUSED = re.compile("status code: 40[13]")

_S3_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class ObjectStore:
    """The objects below one URL. Credentials, region and endpoint come from the environment (``AWS_…``)."""

    def __init__(self, url: str) -> None:
        """Name a place; nothing is asked of it yet.

        Args:
            url: ``s3://BUCKET/PREFIX``, or another scheme of ``SCHEMES``.

        Raises:
            InvalidInput: The URL has another scheme or no bucket.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise InvalidInput(f"{url!r} names no object store: write s3://BUCKET/PREFIX, gs://… or az://…")
        from obstore.store import from_url

        self.url = url.rstrip("/")
        with self._errors():
            self._store = from_url(self.url, client_options=_CLIENT, retry_config=_RETRIES)

    def is_empty(self) -> bool:
        """Return whether there is no object.

        Raises:
            FailedPrecondition: The bucket does not exist, or its credentials are missing or wrong.
            Unavailable: The store does not answer.
        """
        import obstore

        with self._errors():
            return not any(obstore.list(self._store, chunk_size=1))

    def create(self, name: str, file: Path) -> None:
        """Store a file under a new name; it appears whole or not at all.

        Raises:
            AlreadyExists: The name is taken.
            FailedPrecondition: The bucket does not exist, or its credentials are missing or wrong.
            Unavailable: The store does not answer.
        """
        import obstore

        with self._errors():
            obstore.put(self._store, name, file, mode="create")

    def read(self, name: str) -> Iterator[bytes]:
        """Read an object piece by piece.

        Raises:
            NotFound: No object has this name.
            FailedPrecondition: The bucket does not exist, or its credentials are missing or wrong.
            Unavailable: The store does not answer.
        """
        import obstore

        with self._errors():
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there count as deleted.

        Raises:
            FailedPrecondition: The bucket does not exist, or its credentials are missing or wrong.
            Unavailable: The store does not answer.
        """
        import obstore

        with self._errors():
            obstore.delete(self._store, list(names))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in our own terms what went wrong; the store's text may hold more than a caller may know."""
        from obstore import exceptions

        try:
            yield
        except exceptions.AlreadyExistsError as error:
            raise AlreadyExists(f"{self.url} is in use already: choose a new place") from error
        except (exceptions.BaseError, OSError) as error:
            if _NO_BUCKET.search(str(error)):
                bucket = urlsplit(self.url).netloc
                raise FailedPrecondition(
                    f"bucket {bucket!r} does not exist: create it, or name another"
                ) from error
            refusals = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
            if isinstance(error, refusals) or _REFUSED.search(str(error)):
                raise FailedPrecondition(
                    f"the object store refuses these credentials for {self.url}: correct them, or what"
                    " they allow"
                ) from error
            if isinstance(error, FileNotFoundError | exceptions.NotFoundError):
                raise NotFound(
                    f"{self.url} lacks what was asked for: check the URL, or write it again"
                ) from error
            if self.url.startswith("s3:") and not any(name in os.environ for name in _S3_CREDENTIALS):
                raise FailedPrecondition(
                    f"there are no credentials for {self.url}:"
                    " set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                ) from error
            raise Unavailable(
                f"the object store of {self.url} does not answer: try again, and check AWS_REGION and"
                " AWS_ENDPOINT_URL"
            ) from error
