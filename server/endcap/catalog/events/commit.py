"""One commit of the events of many calls: they are stored shop by shop, then taken into memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import structlog

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Event, Outcome, Row
from endcap.catalog.events.storing import KnownPeople, Stored, store_events
from endcap.sdk.errors import EndcapError, NotFound


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventsOfCall:
    """The events of one call, which are to be stored."""

    shop: str
    events: Sequence[Event]

    rows: Sequence[Row]
    """Those of ``event_row``, made while an earlier commit was being written."""

    known: KnownPeople | None
    """People who need not be stored, unless somebody else has written to the shop since."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of the events of one call, which are on disk."""

    outcomes: tuple[Outcome, ...]
    """One an event, in their order."""

    revision: int
    """A revision of the shop that holds all that were accepted, now or before."""


async def commit_events(
    database: Database, on_commit: Callable[[str, Sequence[Event], int], None], calls: Sequence[EventsOfCall]
) -> list[Recorded | EndcapError]:
    """Store the events of calls in one transaction, and tell of them.

    Args:
        database: Where.
        on_commit: Called with each shop that has new events, with these, the events that these took back, and
            its revision.
        calls: In the order that their events are to have.

    Returns:
        One result a call; the error of a call alone is that there is no such shop.
    """
    by_shop: dict[str, list[EventsOfCall]] = {}
    for call in calls:
        by_shop.setdefault(call.shop, []).append(call)
    stored: dict[str, Stored | NotFound] = {}
    async with database.write() as connection:
        for shop, of_shop in sorted(by_shop.items()):
            try:
                stored[shop] = await store_events(
                    connection=connection,
                    shop=shop,
                    events=list(chain.from_iterable(call.events for call in of_shop)),
                    rows=list(chain.from_iterable(call.rows for call in of_shop)),
                    known=of_shop[-1].known,
                )
            except NotFound as error:
                stored[shop] = error
    outcomes: dict[str, Iterator[Outcome]] = {}
    for shop, result in stored.items():
        if isinstance(result, Stored):
            outcomes[shop] = iter(result.outcomes)
            if result.accepted:
                try:
                    on_commit(shop, result.accepted + result.taken_back, result.revision)
                except Exception:  # noqa: BLE001 - the events are on disk: they are acknowledged all the same
                    _log.exception("listener failed", shop=shop, revision=result.revision)
    return [
        result
        if isinstance(result := stored[call.shop], NotFound)
        else Recorded(tuple(islice(outcomes[call.shop], len(call.events))), result.revision)
        for call in calls
    ]
