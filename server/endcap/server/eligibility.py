"""Which rows a query may show, decided before any strategy is asked."""

from dataclasses import dataclass

import numpy as np

from endcap.sdk import NO_ROWS, CatalogView, Eligibility, Rows, Task


SHOWS_SEEN = frozenset({Task.RECENTLY_VIEWED, Task.SEARCH, Task.RANK})
"""The tasks that show what the user has bought, whatever the placement says."""


@dataclass(frozen=True, slots=True, eq=False)
class Exclusions:
    """The rows that one query leaves out, by why, in the order that the trace counts them."""

    requested: Rows
    """Named by the caller."""

    page: Rows
    """On the page already: the item of a product page, or the cart."""

    seen: Rows
    """Purchased by the user."""


def eligibility(view: CatalogView, exclusions: Exclusions) -> tuple[Eligibility, dict[str, int]]:
    """Return what may be shown: available items, less the exclusions.

    The mask is the view's own, shared by all its queries.

    Returns:
        What may be shown, and how many rows each filter removed that none before it had removed.
    """
    removed = {"available": int(np.count_nonzero(~view.available))}
    excluded = NO_ROWS
    for name, rows in (
        ("excluded", np.concatenate([exclusions.requested, exclusions.page])),
        ("seen", exclusions.seen),
    ):
        widened = np.union1d(excluded, rows[view.available[rows]]).astype(np.int32, copy=False)
        removed[name] = len(widened) - len(excluded)
        excluded = widened
    return Eligibility(view.available, excluded), removed
