"""Moments and durations of the contract, from milliseconds."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def write_time(milliseconds: int | None) -> Timestamp | None:
    """Write a moment in Unix milliseconds; None stays unset."""
    return None if milliseconds is None else Timestamp(**_parts(milliseconds))


def write_duration(milliseconds: int | None) -> Duration | None:
    """Write a duration in milliseconds; None stays unset."""
    return None if milliseconds is None else Duration(**_parts(milliseconds))


def _parts(milliseconds: int) -> dict[str, int]:
    seconds, rest = divmod(milliseconds, 1000)
    return {"seconds": seconds, "nanos": rest * 1_000_000}
