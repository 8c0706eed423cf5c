"""Reading fields of messages, so that an error names the path of the field; writing moments and durations."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from endcap.catalog.fields.attributes import EARLIEST, LATEST
from endcap.catalog.fields.limits import check_id, check_limit, check_text
from endcap.sdk.errors import InvalidInput


_Kind = TypeVar("_Kind", bound=Enum)

_Each = TypeVar("_Each")

_NANOS = 1_000_000_000
_LONGEST = 315_576_000_000  # seconds; 10,000 years


@dataclass(frozen=True, slots=True)
class Fields:
    """A message, and where it is in the request. Every method raises ``InvalidInput`` for a wrong value."""

    message: Message
    path: str

    def path_of(self, name: str) -> str:
        """Name a field by its path, such as ``placement.rules[2].boost.strength``."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str, *, limit: str = "") -> str:
        """Read a text that is required and holds no control characters.

        Args:
            name: The field.
            limit: Its name in the table of limits, where that is another one.
        """
        value = getattr(self.message, name)
        check_id(limit or name, value, path=self.path_of(name))
        return str(value)

    def optional_text(self, name: str, *, limit: str = "") -> str:
        """Read a text that may be empty."""
        return self.text(name, limit=limit) if getattr(self.message, name) else ""

    def free_text(self, name: str) -> str:
        """Read a text that may be empty and have many lines."""
        value = getattr(self.message, name)
        check_text(name, value, path=self.path_of(name))
        return str(value)

    def filter(self, name: str = "filter") -> str:
        """Read a filter that is required; what it says is not looked at."""
        value = getattr(self.message, name)
        if not value.strip():
            raise self.rejection(name, "is required: write a condition")
        check_limit("filter", value, path=self.path_of(name))
        return str(value)

    def number(self, name: str, minimum: float, maximum: float, *, zero: float | None = None) -> Any:
        """Read a number within a range, both ends included.

        Args:
            name: The field.
            minimum: The smallest value.
            maximum: The largest value.
            zero: What 0 stands for, where it does not stand for itself.
        """
        value = getattr(self.message, name)
        if zero is not None and value == 0:
            return zero
        if not minimum <= value <= maximum:  # as is no comparison with NaN
            raise self.rejection(name, f"must be from {minimum:g} to {maximum:g}")
        return value

    def choice(self, name: str, kind: type[_Kind], *, default: _Kind | None = None) -> _Kind:
        """Read an enumeration.

        Args:
            name: The field.
            kind: Has a member for every value of the contract, of the same name less the prefix.
            default: What a field that is not set stands for; None where it is required.
        """
        number = getattr(self.message, name)
        if number == 0 and default is not None:
            return default
        enum: Any = self.message.DESCRIPTOR.fields_by_name[name].enum_type
        values, prefix = enum.values_by_number, enum_prefix(enum)
        if number == 0 or number not in values:
            known = ", ".join(f"{prefix}{member.name}" for member in kind)
            raise self.rejection(name, f"must be one of {known}")
        return kind[values[number].name.removeprefix(prefix)]

    def time(self, name: str) -> int | None:
        """Read a moment as Unix milliseconds; None where it is not set."""
        if not self.message.HasField(name):
            return None
        value = getattr(self.message, name)
        if not (EARLIEST // 1000 <= value.seconds <= LATEST // 1000 and 0 <= value.nanos < _NANOS):
            raise self.rejection(name, "must lie between the years 1 and 9999")
        return int(value.seconds * 1000 + value.nanos // 1_000_000)

    def duration(self, name: str, *, maximum: int | None = None) -> int | None:
        """Read a duration of at least a millisecond, in milliseconds; None where it is not set.

        Args:
            name: The field.
            maximum: The longest, in milliseconds.
        """
        if not self.message.HasField(name):
            return None
        value = getattr(self.message, name)
        milliseconds = int(value.seconds * 1000 + value.nanos // 1_000_000)
        longest = _LONGEST * 1000 if maximum is None else maximum
        if not (0 <= value.nanos < _NANOS and 1 <= milliseconds <= longest):
            raise self.rejection(name, f"must be from 0.001 to {longest // 1000} seconds")
        return milliseconds

    def rejection(self, name: str, complaint: str) -> InvalidInput:
        """Return the error that says what is wrong with a field."""
        path = self.path_of(name)
        return InvalidInput(f"{path} {complaint}", field=path)


def enum_prefix(enum: Any) -> str:
    """Return the prefix of all values of an enumeration, such as ``BIAS_TARGET_``.

    Args:
        enum: Its descriptor.
    """
    return str(enum.values_by_number[0].name.removesuffix("UNSPECIFIED"))


def required(field: str, entries: Sequence[_Each], *, limit: str = "") -> Sequence[_Each]:
    """Return the entries of a field, of which there is at least one.

    Args:
        field: Its name.
        entries: What it holds.
        limit: Its name in the table of limits, where that is another one.

    Raises:
        InvalidInput: The list is empty or too long.
    """
    if not entries:
        raise InvalidInput(f"{field} are required: send at least one", field=field)
    check_limit(limit or field, entries, path=field)
    return entries


def write_time(milliseconds: int | None) -> Timestamp | None:
    """Write a moment in Unix milliseconds; None stays unset."""
    return None if milliseconds is None else Timestamp(**_parts(milliseconds))


def write_duration(milliseconds: int | None) -> Duration | None:
    """Write a duration in milliseconds; None stays unset."""
    return None if milliseconds is None else Duration(**_parts(milliseconds))


def _parts(milliseconds: int) -> dict[str, int]:
    seconds, rest = divmod(milliseconds, 1000)
    return {"seconds": seconds, "nanos": rest * 1_000_000}
