"""Small data with a pattern to learn; one item of each user is held out and tells whether it was learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import Rows
from endcap.sdk.features import DAY
from endcap.trainers.interactions import Interactions


NOW = 1_700_000_000_000
"""The moment at which every user is asked for, Unix milliseconds."""

USERS = 48
ITEMS = 24


@dataclass(frozen=True, slots=True, eq=False)
class LearnableData:
    """Events to train on, and what each user chose next."""

    interactions: Interactions

    targets: Rows
    """The item held out, ``(users,)``."""

    def permuted(self, seed: int) -> Self:
        """Return the same data with items and users in another order."""
        generator = np.random.default_rng(seed)
        interactions = self.interactions
        items, users = generator.permutation(ITEMS), generator.permutation(USERS)
        new_rows = np.argsort(items).astype(np.int32)
        columns = interactions.items
        ids = tuple(interactions.item_ids[row] for row in items)
        return replace(
            self,
            interactions=replace(
                interactions,
                item_ids=ids,
                items=replace(columns, ids=ids, titles=[columns.titles[row] for row in items]),
                events=replace(
                    interactions.events,
                    users=np.argsort(users)[interactions.events.users],
                    rows=new_rows[interactions.events.rows],
                ),
            ),
            targets=new_rows[self.targets[users]],
        )


def checkerboard() -> LearnableData:
    """Return users who choose every item of their colour, black or white, in any order, but the target."""
    generator = np.random.default_rng(0)
    walks = []
    for user in range(USERS):
        own = np.arange(user % 2, ITEMS, 2)
        target = own[user // 2 % len(own)]
        walks.append([*generator.permutation(own[own != target]), target])
    return _data(walks)


def sequences() -> LearnableData:
    """Return users who go round a ring of items from different starts; the target is the next item."""
    return _data([(np.arange(10) + 5 * user) % ITEMS for user in range(USERS)])


def _data(walks: Sequence[Sequence[int] | NDArray[np.int64]]) -> LearnableData:
    """Make data of what each user chose, a week apart; the last choice is the target."""
    events = sorted(
        (NOW - (len(walk) - 1 - place) * 7 * DAY - user, f"user{user:02}", f"item{item:02}")
        for user, walk in enumerate(walks)
        for place, item in enumerate(walk[:-1])
    )
    times, users, items = zip(*events, strict=True)
    interactions = Interactions.of_columns(users, items, ["purchase"] * len(events), times, as_of=NOW)
    titles = [f"{('black', 'white')[row % 2]} square {row}" for row in range(ITEMS)]
    return LearnableData(
        replace(interactions, items=replace(interactions.items, titles=titles)),
        np.array([walk[-1] for walk in walks], np.int32),
    )
