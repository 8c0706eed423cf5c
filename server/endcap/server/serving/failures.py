"""Failures of a rung: the answer is made without the rung and marked as degraded."""

from enum import StrEnum


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
