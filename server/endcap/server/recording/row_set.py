"""The items that earlier pages of an answer showed, as the cursor of a page token holds them.

Rows never move, so the token needs no store behind it: rows ascending, each as its distance to the one
before in base 128 with the high bit set on all digits but the last (LEB128), in base64. A thousand items
of a catalog of a million take about 2 KB.
"""

import base64
from collections.abc import Iterable


def encode_rows(rows: Iterable[int]) -> str:
    """Write distinct rows."""
    content = bytearray()
    before = -1
    for row in sorted(rows):
        distance = row - before - 1
        before = row
        while distance > 0x7F:
            content.append(distance & 0x7F | 0x80)
            distance >>= 7
        content.append(distance)
    return base64.b64encode(content).decode("ascii")


def decode_rows(text: str) -> tuple[int, ...]:
    """Read the rows that ``encode_rows`` wrote; ascending."""
    rows: list[int] = []
    row, distance, shift = -1, 0, 0
    for byte in base64.b64decode(text):
        distance |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            row += distance + 1
            rows.append(row)
            distance, shift = 0, 0
    return tuple(rows)
