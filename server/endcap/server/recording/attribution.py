"""The attribution token: names an answer, the person whom it was for and the items that it showed.

It holds no id of a person or an item, only hashes that are keyed by the shop's key: 8 bytes of the unit, and
3 of each item, so that one event in 16 million for an item that was not shown passes for each item that was.
The token of ten items has some 140 characters, that of a hundred some 500.

The content is the time, the unit, the number of items and their hashes; then texts, each after its length:
request, placement, and the experiment and variant of each arm.
"""

import asyncio
import hashlib
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from endcap.catalog.events.events import Attribution, Event
from endcap.catalog.events.exposures import NOBODY, unit_digest
from endcap.sdk.errors import InvalidInput
from endcap.server.recording import tokens


PURPOSE = "attribution_token"
"""A token of another purpose is rejected."""

_HEAD = struct.Struct(">Q8sB")
_LENGTH = struct.Struct(">H")
_ITEM_BYTES = 3
_TURN = 50  # events that are marked before other calls get a turn


@dataclass(frozen=True, slots=True)
class AttributedAnswer:
    """The content of an attribution token."""

    request_id: str
    placement: str

    time: int
    """Unix milliseconds."""

    unit: bytes
    """As ``unit_digest`` has it."""

    items: bytes
    """Hashes of the items shown, one after the other."""

    arms: tuple[tuple[str, str], ...] = ()
    """Experiments and their variants."""

    def shows(self, key: bytes, item_id: str) -> bool:
        """Return whether an item was shown, as far as its hash can tell."""
        digest = _item_digest(key, item_id)
        starts = range(0, len(self.items), _ITEM_BYTES)
        return any(self.items[start : start + _ITEM_BYTES] == digest for start in starts)


def attribution_token(
    key: bytes,
    *,
    request_id: str,
    placement: str,
    time: int,
    unit: bytes,
    item_ids: Sequence[str],
    arms: Sequence[tuple[str, str]] = (),
) -> str:
    """Make the token of an answer.

    Args:
        key: The shop's token key.
        request_id: The identifier of the request.
        placement: The placement's id.
        time: Unix milliseconds.
        unit: As ``unit_digest`` has it.
        item_ids: The items shown, at most 255.
        arms: Experiments and their variants.
    """
    texts = [text.encode() for text in (request_id, placement, *(text for arm in arms for text in arm))]
    content = _HEAD.pack(time, unit, len(item_ids))
    content += b"".join([_item_digest(key, item_id) for item_id in item_ids])
    content += b"".join([_LENGTH.pack(len(text)) + text for text in texts])
    return tokens.sign(key, PURPOSE, content)


def read_attribution(key: bytes, token: str) -> AttributedAnswer:
    """Read a token that ``attribution_token`` made.

    Raises:
        InvalidInput: The token was made by another shop or release, or was altered.
    """
    content = tokens.verify(key, PURPOSE, token)
    time, unit, count = _HEAD.unpack_from(content)
    start = _HEAD.size + count * _ITEM_BYTES
    items = content[_HEAD.size : start]
    texts = []
    while start < len(content):
        end = start + _LENGTH.size + _LENGTH.unpack_from(content, start)[0]
        texts.append(content[start + _LENGTH.size : end].decode())
        start = end
    request_id, placement, *arms = texts
    return AttributedAnswer(
        request_id, placement, time, unit, items, tuple(zip(arms[::2], arms[1::2], strict=True))
    )


async def attribute_events(events: Mapping[int, Event], key: bytes) -> dict[int, Event]:
    """Return the events of one call, by their place in it, each marked; see ``attribute``."""
    marked = dict(events)
    bearers = [place for place, event in events.items() if event.attribution_token]
    for count, place in enumerate(bearers, start=1):
        if count % _TURN == 0:
            await asyncio.sleep(0)
        marked[place] = attribute(events[place], key)
    return marked


def attribute(event: Event, key: bytes, *, linked: Collection[bytes] = ()) -> Event:
    """Return an event marked by the content of its token; an unreadable token is left out.

    Args:
        event: The event as sent.
        key: The shop's token key.
        linked: Units of the visitors and users linked to the event's own.
    """
    if not event.attribution_token:
        return event
    try:
        answer = read_attribution(key, event.attribution_token)
    except InvalidInput:
        return replace(event, attribution_token="", attribution=Attribution.INVALID)
    # An answer for nobody may be followed by an event of anybody.
    own = (NOBODY, unit_digest(key, event.user_id, None), unit_digest(key, None, event.visitor_id))
    if answer.unit not in own and answer.unit not in linked:
        return replace(event, attribution=Attribution.FOREIGN_UNIT)
    if event.item_id and not answer.shows(key, event.item_id):
        return replace(event, attribution=Attribution.FOREIGN_ITEM)
    return replace(event, attribution=Attribution.VALID)


def _item_digest(key: bytes, item_id: str) -> bytes:
    return hashlib.blake2b(item_id.encode(), key=key, person=b"shown item", digest_size=_ITEM_BYTES).digest()
