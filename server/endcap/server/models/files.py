"""The files of registered bundles: copies that nobody else writes to."""

import errno
import secrets
import shutil
import tempfile
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from urllib.parse import quote

from endcap.sdk.bundle import Bundle, copy_bundle
from endcap.sdk.errors import Exhausted


_FULL = (errno.ENOSPC, errno.EDQUOT)
_ABANDONED_SECONDS = 3600.0
_STAGING = ".staging-"
_DELETED = ".deleted-"


class BundleFiles:
    """A folder of the server's own, ``SHOP/MODEL/VERSION`` in it.

    It belongs to one database. A process that keeps or discards folders locks the shop's row there, so
    that no two processes do so at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def stage(self, source: Path) -> Bundle:
        """Copy a bundle to a folder of its own, and open the copy; end with ``keep`` or ``drop``.

        Raises:
            BundleRefused: The bundle is damaged, altered, made for another release, or has extra files.
            Exhausted: The disk is full.
        """
        Bundle.open(source)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
        try:
            copy_bundle(source, staging)
            return Bundle.open(staging)
        except BaseException as error:
            shutil.rmtree(staging, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise Exhausted(
                    "the disk has no room for the bundle: free some, or delete bundles"
                ) from error
            raise

    def drop(self, staged: Bundle) -> None:
        """Delete a staged copy, unless it was kept."""
        shutil.rmtree(staged.folder, ignore_errors=True)

    def keep(self, staged: Bundle, name: str) -> None:
        """Move a staged copy to where it is kept, in place of what an interrupted registration left.

        Args:
            staged: The copy.
            name: The bundle's path, as ``bundle_path`` returns it.
        """
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            self._discard(path)
        staged.folder.replace(path)

    def discard_all_but(self, shop: str, registered: AbstractSet[tuple[str, str]]) -> None:
        """Put aside every folder of a shop whose model and version are not among those registered."""
        for path in self._shop(shop).glob("*/*"):
            if (path.parent.name, path.name) not in registered:
                self._discard(path)

    def sweep(self) -> None:
        """Delete the files that were put aside, and the copies that dead processes left."""
        for path in self._folder.glob(f"{_DELETED}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob(f"{_STAGING}*"):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def _discard(self, path: Path) -> None:
        """Rename, which is whole or not at all; deleting is not."""
        path.replace(self._folder / f"{_DELETED}{secrets.token_hex(8)}")

    def _shop(self, shop: str) -> Path:
        return self._folder / shop_folder(shop)


def bundle_path(shop: str, model: str, version: str) -> str:
    """Return the path of a bundle, relative to the folder of all bundles, which may be moved."""
    return f"{shop_folder(shop)}/{model}/{version}"


def shop_folder(shop: str) -> str:
    """Return the name of a shop's folder: its id may be any text, and must not lead anywhere else."""
    return quote(shop, safe="").replace(".", "%2E")
