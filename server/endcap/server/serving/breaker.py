"""A circuit breaker (Nygard, "Release It!"): a strategy that keeps failing is not called for a while.

It is *closed* while all is well. After five failures in a row it is *open*, and nothing is let through.
Five seconds after the last failure it is *half-open*: one try, the probe, is let through; its success closes
the breaker, its failure opens it again.
"""

from collections.abc import Callable
from enum import IntEnum


FAILURES_TO_OPEN = 5
OPEN_SECONDS = 5.0


class BreakerState(IntEnum):
    """The state of a circuit breaker; the values are those of its metric, the worst the highest."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class CircuitBreaker:
    """Counts failures in a row, and decides whether the next try may be made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.state = BreakerState.CLOSED
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0

    def admits(self) -> bool:
        """Return whether a try may be made now; in half-open state, True for the probe alone.

        A caller that gets True must make the try and report how it ended.
        """
        if self.state is BreakerState.OPEN and self._clock() >= self._opened_at + OPEN_SECONDS:
            self.state = BreakerState.HALF_OPEN
            return True
        return self.state is BreakerState.CLOSED

    def succeeded(self) -> None:
        """Count a try that went well."""
        self.state = BreakerState.CLOSED
        self._failures = 0

    def failed(self) -> None:
        """Count a try that failed."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or self._failures >= FAILURES_TO_OPEN:
            self.state = BreakerState.OPEN
            self._opened_at = self._clock()
