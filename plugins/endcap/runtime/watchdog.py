"""Ends runs of models that take too long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from onnxruntime import RunOptions


_TICK_SECONDS = 0.05


class Watchdog:
    """One thread that watches every run of this process; a timer a run would cost more than most runs."""

    def __init__(self) -> None:
        self._deadlines: dict[RunOptions, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._idle = False

    @contextmanager
    def limit(self, options: RunOptions, seconds: float) -> Iterator[None]:
        """Set ``options.terminate`` when the block takes longer than ``seconds``, give or take a tick.

        The runtime looks at it between two nodes of the graph, and in every turn of a loop.
        """
        with self._changed:
            self._deadlines[options] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="model-watchdog", daemon=True)
                self._thread.start()
            elif self._idle:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._deadlines[options]

    def _watch(self) -> None:
        with self._changed:
            while True:
                self._idle = not self._deadlines
                self._changed.wait(None if self._idle else _TICK_SECONDS)
                now = time.monotonic()
                for options, deadline in self._deadlines.items():
                    if deadline <= now:
                        options.terminate = True
