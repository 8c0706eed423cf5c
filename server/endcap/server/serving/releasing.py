"""Letting go of a shop's state without stopping all threads while its memory is given back."""

import gc
from threading import Thread
from typing import Any
from weakref import finalize

from endcap.server.serving.state import ShopState


_AT_ONCE = 5_000  # texts that are given back in one go: less than a millisecond


def release(state: ShopState) -> None:
    """Have the memory of a state given back in a thread and piece by piece, once nobody answers from it.

    Python gives back a tuple of texts in one go, in which no other thread runs: of a large shop, for tens of
    milliseconds, wherever the last reference is dropped.
    """
    view, histories = state.view, state.histories
    parts = [
        part
        for part in gc.get_referents(view, view.vocabulary, histories, vars(histories))
        if isinstance(part, (tuple, dict))
    ]
    finalize(view, Thread(target=_give_back, args=(parts,), daemon=True).start).atexit = False


def _give_back(parts: list[Any]) -> None:
    while parts:
        whole = list(parts.pop())
        while whole:
            del whole[-_AT_ONCE:]
