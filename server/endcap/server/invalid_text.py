"""Finds the text of a message that is not UTF-8, where protobuf only says that the message cannot be read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor


_DEEPEST = 100
"""Levels of nesting, as many as protobuf itself reads."""

_MOST_FIELDS = 10_000
"""Fields that are looked at, some ten milliseconds' worth, for anybody may send such a message."""

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10


class _Malformed(Exception):
    """The bytes are no message."""


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """A message that is being walked, and where it is in the one around it."""

    descriptor: Descriptor
    contents: Iterator[tuple[int, memoryview]]
    path: str = ""
    counts: Counter[int] = field(default_factory=Counter)

    def path_of(self, child: FieldDescriptor) -> str:
        """Name the last occurrence of a field: ``events[3].user_id``."""
        path = f"{self.path}.{child.name}" if self.path else child.name
        is_map = child.message_type is not None and child.message_type.GetOptions().map_entry
        if not child.is_repeated or is_map:
            return path
        return f"{path}[{self.counts[child.number] - 1}]"


def find_invalid_text(message: bytes, descriptor: Descriptor) -> str:
    """Return the path of the first text that is not UTF-8, as ``events[3].user_id``, or an empty string.

    What follows bytes that are no message, lies deeper than protobuf reads, or comes after 10,000 fields
    is not found.

    Args:
        message: A message that protobuf cannot read.
        descriptor: Its type.
    """
    levels = [_Level(descriptor, _contents(memoryview(message)))]
    try:
        for _ in range(_MOST_FIELDS):
            number, content = next(levels[-1].contents, (0, memoryview(b"")))
            if not number:
                levels.pop()
                if not levels:
                    break
                continue
            child = levels[-1].descriptor.fields_by_number.get(number)
            if child is None:
                continue
            levels[-1].counts[number] += 1
            if child.type == FieldDescriptor.TYPE_STRING:
                if not _is_utf8(content):
                    return levels[-1].path_of(child)
            elif child.message_type is not None and len(levels) < _DEEPEST:
                levels.append(_Level(child.message_type, _contents(content), levels[-1].path_of(child)))
    except _Malformed:
        pass
    return ""


def _contents(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the bytes of each field that has a length; the others are stepped over.

    Encoding: https://protobuf.dev/programming-guides/encoding/
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
            if not number or position + length > len(message):
                raise _Malformed
            yield number, message[position : position + length]
            position += length
        elif wire_type in _WIDTHS:
            position += _WIDTHS[wire_type]
        else:
            raise _Malformed


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position behind it."""
    value = 0
    for shift, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, position + shift + 1
    raise _Malformed


def _is_utf8(text: memoryview) -> bool:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
