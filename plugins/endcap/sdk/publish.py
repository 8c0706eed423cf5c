"""Folders that appear whole or not at all."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Give a staging folder to fill, and put it at ``folder`` when the block ends well.

    A block that raises leaves nothing behind.

    Args:
        folder: Where the result goes; it must not exist yet.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not mkdtemp, whose folders only their owner may read: what is published, others serve from.
    staging = folder.parent / f".staging-{secrets.token_hex(8)}"
    staging.mkdir()
    try:
        yield staging
        staging.replace(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
