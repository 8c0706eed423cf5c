"""What the commands share: a coroutine is run, and an error becomes one sentence."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from endcap.sdk.errors import EndcapError


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's work to its end; an error of ours is printed as a sentence, with exit code 1."""
    try:
        asyncio.run(work)
    except EndcapError as error:
        sys.exit(f"Error: {error}")
