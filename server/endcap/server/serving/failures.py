"""Failures: of a rung, without which the answer is made and marked as degraded, and of work beside calls."""

from enum import StrEnum
from typing import Any

from endcap.sdk.errors import EndcapError


class Failure(StrEnum):
    """Why an answer is degraded; the values are the names of the contract's ``DegradationCause``."""

    STRATEGY_FAILED = "STRATEGY_FAILED"
    TIMED_OUT = "TIMED_OUT"
    INVALID_RANKING = "INVALID_RANKING"
    MODEL_MISSING = "MODEL_MISSING"
    STRATEGY_MISSING = "STRATEGY_MISSING"
    SUSPENDED = "SUSPENDED"
    OVERLOADED = "OVERLOADED"
    STALE = "STALE"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"


class RungFailed(Exception):
    """A rung of a ladder cannot answer; the call goes on without it."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def log_failure(log: Any, event: str, error: Exception, **context: str) -> None:
    """Log a failure: an expected one by its sentence, any other with where it came from.

    Args:
        log: The logger of the caller.
        event: The name of the entry.
        error: The error; those of ``endcap.sdk.errors`` are expected.
        context: Further values of the entry.
    """
    is_expected = isinstance(error, EndcapError)
    level = log.warning if is_expected else log.error
    level(event, reason=str(error), exc_info=not is_expected, **context)
