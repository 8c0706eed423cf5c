"""Exposures: the records of the items that were shown to a person.

One exposure is one page of one answer for one person, identified by shop, request, placement, unit and page.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.tables import EXPOSURES


MAX_EXPOSURES = 1_000
"""The number of newest exposures of one person that ``exposed_items`` reads."""

NOBODY = bytes(8)
"""The unit of an answer that names neither a user nor a visitor."""


@dataclass(frozen=True, slots=True)
class ExposedItem:
    """One item of a list that was shown."""

    item_id: str
    strategy: str

    bundle: str = ""
    """The bundle that the score comes from, as ``model@version``; empty for a strategy without a bundle."""

    log_propensity: float | None = None
    """Log-probability of the item in its position, given those above it; None if the order was not random."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The variant of an experiment that an answer was made for."""

    experiment: str
    variant: str

    propensity: float
    """Probability that the unit was assigned to the variant."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """A strategy that failed while the list was made."""

    strategy: str
    cause: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """The record that a list was shown."""

    shop: str
    request_id: str

    time: int
    """Unix milliseconds."""

    placement: str
    view: str
    """The view's version."""

    bundles: Mapping[str, str]
    """The generation: the version of the bundle, by model."""

    items: tuple[ExposedItem, ...]
    """The items in the order shown."""

    user_id: str | None = None
    visitor_id: str | None = None

    page: int = 0
    """Items on the earlier pages of the same answer: 0 on the first page."""

    query: str = ""
    """The search text of the request."""

    language: str = ""
    """BCP 47 tag of the request."""

    device: str = ""
    """The value of ``device`` in the context of the request."""

    candidates: bytes = b""
    """Hash of the set of candidates of the page."""

    assignments: tuple[Assignment, ...] = ()

    configuration: int = 0
    """Revision of the shop that last changed the placement."""

    degraded: tuple[Degradation, ...] = ()


def unit_digest(key: bytes, user_id: str | None, visitor_id: str | None) -> bytes:
    """Return the unit that experiments assign, the user or else the visitor, as a hash of 8 bytes.

    Args:
        key: The shop's token key.
        user_id: The user; None if the answer names no user.
        visitor_id: The visitor, used only without a user; None if the answer names no visitor.
    """
    if user_id:
        return hashlib.blake2b(user_id.encode(), key=key, person=b"unit user", digest_size=8).digest()
    if visitor_id:
        return hashlib.blake2b(visitor_id.encode(), key=key, person=b"unit visitor", digest_size=8).digest()
    return NOBODY


async def exposed_items(
    *, connection: AsyncConnection, shop: str, user_id: str | None, visitor_id: str | None, since: int
) -> list[tuple[int, str]]:
    """Return the items that a user or a visitor was shown: time and item id, the newest first.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        user_id: The user; None for no user.
        visitor_id: The visitor; None for no visitor.
        since: Unix milliseconds of the earliest exposure.
    """
    query = (
        select(EXPOSURES.c.time, EXPOSURES.c.item_ids)
        .where(
            EXPOSURES.c.shop == shop,
            ~EXPOSURES.c.superseded,
            EXPOSURES.c.time >= since,
            or_(
                *(EXPOSURES.c.user_id == each for each in (user_id,) if each),
                *(EXPOSURES.c.visitor_id == each for each in (visitor_id,) if each),
                false(),
            ),
        )
        .order_by(EXPOSURES.c.time.desc())
        .limit(MAX_EXPOSURES)
    )
    return [(time, item_id) for time, item_ids in await connection.execute(query) for item_id in item_ids]


def read_items(
    item_ids: Sequence[str], sources: Sequence[tuple[str, str, int]], log_propensities: Sequence[float | None]
) -> list[ExposedItem]:
    """Return the items of an exposure, in the order shown, from the columns of its row."""
    origins = chain.from_iterable([(strategy, bundle)] * count for strategy, bundle, count in sources)
    chances = log_propensities or [None] * len(item_ids)
    return [
        ExposedItem(item_id, strategy, bundle, chance)
        for item_id, (strategy, bundle), chance in zip(item_ids, origins, chances, strict=True)
    ]
