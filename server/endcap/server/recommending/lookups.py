"""The database lookups of an answer, each with a stand-in for when the database does not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from endcap.catalog.database.engine import Database
from endcap.catalog.events.exposures import exposed_items
from endcap.catalog.fields.money import NANOS
from endcap.catalog.items.items import Availability, Item, get_items
from endcap.catalog.items.search import search_items
from endcap.sdk import CatalogView, Rows, Scores
from endcap.sdk.errors import EndcapError
from endcap.sdk.vocabulary import Vocabulary
from endcap.server.recommending.title_search import match_titles
from endcap.server.serving.waiting import answer_within


MAX_MATCHES = 2_100
"""Items that one search ranks, the best that its filters let through: as many as all pages of an answer show,
as a request may exclude, and a page."""

_Found = TypeVar("_Found")

_SECONDS = 0.25  # the longest that an answer waits for the database

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Exposures:
    """The items that one person was shown lately."""

    shown: Sequence[tuple[int, int]] = ()
    """Unix milliseconds and row, once for each time."""

    failed: bool = False
    """Whether the database did not answer, so that nothing is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The items that match a text."""

    rows: Rows
    """The best match first."""

    relevance: Scores
    """The score of each match; higher is better."""

    failed: bool = False
    """Whether the database did not answer, so that only titles in memory were looked at."""


@dataclass(frozen=True, slots=True)
class Items:
    """The items behind the rows of an answer."""

    items: Sequence[Item]
    """One item for each row, in the order of the rows."""

    failed: bool = False
    """Whether the database did not answer, so that the items are only what the view holds of them."""


class Lookups:
    """Asks the database on behalf of answers. Nothing here raises or waits for long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exposures(
        self, shop: str, vocabulary: Vocabulary, *, user_id: str, visitor_id: str, since: int, deadline: float
    ) -> Exposures:
        """Return the items that a person was shown.

        Args:
            shop: The shop's id.
            vocabulary: The items' rows.
            user_id: Empty for nobody.
            visitor_id: Empty for nobody.
            since: Unix milliseconds of the earliest exposure.
            deadline: When the answer must be there, by ``time.monotonic``.
        """
        exposed = await self._answer(
            "exposures_unknown",
            shop,
            deadline,
            partial(exposed_items, user_id=user_id or None, visitor_id=visitor_id or None, since=since),
        )
        if exposed is None:
            return Exposures(failed=True)
        return Exposures(
            [(shown, vocabulary.row(item_id)) for shown, item_id in exposed if item_id in vocabulary]
        )

    async def matches(
        self, shop: str, view: CatalogView, text: str, *, allowed: NDArray[np.bool_], deadline: float
    ) -> Matches:
        """Return the best ``MAX_MATCHES`` of the items that match a text.

        Args:
            shop: The shop's id.
            view: The view that the rows belong to.
            text: What the user typed.
            allowed: The rows that may be returned; an item that was written a moment ago may have no row yet.
            deadline: When the answer must be there, by ``time.monotonic``.
        """
        query = partial(search_items, text=text, allowed=allowed, limit=MAX_MATCHES)
        found = await self._answer("search_failed", shop, deadline, query)
        if found is None:
            rows, relevance = await asyncio.to_thread(match_titles, view, text)
            best = np.flatnonzero(allowed[rows])[:MAX_MATCHES]
            return Matches(rows[best], relevance[best], failed=True)
        return Matches(
            np.array([match.position for match in found], np.int32),
            np.array([match.score for match in found], np.float32),
        )

    async def items(
        self,
        shop: str,
        view: CatalogView,
        rows: Sequence[int],
        *,
        columns: Collection[str],
        deadline: float,
    ) -> Items:
        """Return the items of rows as the catalog holds them.

        An item that was deleted a moment ago is returned as the view holds it.

        Args:
            shop: The shop's id.
            view: The view that the rows belong to.
            rows: The rows.
            columns: The only fields that matter; the others are as in an empty item.
            deadline: When the answer must be there, by ``time.monotonic``.
        """
        ids = [view.vocabulary.ids[row] for row in rows]
        query = partial(get_items, item_ids=ids, columns=columns)
        found = await self._answer("items_unknown", shop, deadline, query)
        known = found or {}
        return Items(
            [known.get(item_id) or _viewed_item(view, row) for item_id, row in zip(ids, rows, strict=True)],
            failed=found is None,
        )

    async def _answer(
        self, event: str, shop: str, deadline: float, query: Callable[..., Awaitable[_Found]]
    ) -> _Found | None:
        """Return what a query finds in a shop; None if the database does not answer, which is logged."""

        async def ask() -> _Found:
            async with self._database.read() as connection:
                return await query(connection=connection, shop=shop)

        try:
            return await answer_within(deadline, ask(), longest=_SECONDS)
        except (TimeoutError, EndcapError) as error:
            _log.warning(event, shop=shop, reason=str(error))
            return None


def _viewed_item(view: CatalogView, row: int) -> Item:
    """Return the readable fields that a view holds of an item: no images, attributes or other languages."""
    return Item(
        view.vocabulary.ids[row],
        title=view.titles[row],
        description=view.descriptions[row],
        categories=view.categories.of_row(row),
        brand="".join(view.brands.of_row(row)),
        tags=view.tags.of_row(row),
        price_nanos=_nanos(view.prices[row]),
        original_price_nanos=_nanos(view.original_prices[row]),
        currency=view.currency,
        availability=Availability("".join(view.availabilities.of_row(row)) or Availability.IN_STOCK),
        group_id=view.group_ids[row],
        created_time=int(view.created[row]),
    )


def _nanos(price: float) -> int | None:
    return None if isnan(price) else round(price * NANOS)
