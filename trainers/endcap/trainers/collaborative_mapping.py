"""Content-to-collaborative mapping: learns from the items' contents which items the same people choose.

In the manner of the two towers of Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
recommendations" (RecSys 2019), with one tower for both sides. An item is the projection of its terms, and a
user the weighted mean of the items chosen before. A softmax over the cosines of the user to all items
predicts the item chosen next. Items have no parameters of their own, so the mapping holds for new items too.
"""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.sdk import Rows
from endcap.sdk.content_features import BUCKETS, moment_weights
from endcap.trainers.interactions import WeighedEvents
from endcap.trainers.trainer import Progress


BATCH = 512
"""Positives in the batch of one step."""

LONGEST = 50
"""At most this many events of a history are used, the last ones."""

MOST_CHOICES = 20
"""A user is drawn in proportion to the number of distinct items chosen, at most this many."""

LEARNING_RATE = 0.003
TEMPERATURE = 0.1
SMALLEST = 1e-12
"""Keeps a batch without any positive from dividing by zero."""

DROPOUT = 0.1
"""The share of an item's terms that one step leaves out."""


class CollaborativeMapping:
    """Learns a projection under which people's next choice lies near their former ones."""

    def __init__(self, weights: Tensor, start: Tensor, positives: WeighedEvents) -> None:
        """Keep the training data.

        Args:
            weights: The weight of each term in each item, ``(items, terms)``, sparse; the last ``BUCKETS``
                terms are the buckets of unknown words.
            start: The projection to begin with, ``(terms, embedding size)``.
            positives: The events of users choosing items.
        """
        known = weights.shape[1] - BUCKETS
        self._start = start
        self._known = weights.index_select(1, torch.arange(known)).coalesce()
        # Buckets of unknown words are not trained: another unknown word will fall into the same bucket.
        unknown = weights.index_select(1, torch.arange(known, weights.shape[1]))
        self._fixed = unknown @ start[known:]  # (items, embedding size)
        by_user = np.lexsort((positives.times, positives.users))
        self._rows, self._times = positives.rows[by_user], positives.times[by_user]
        self._weights = positives.weights[by_user]
        self._offsets = np.searchsorted(
            positives.users[by_user], np.arange(positives.users.max(initial=-1) + 2)
        )
        distinct = np.array([len(np.unique(self._rows[slice(*own)])) for own in pairwise(self._offsets)])
        self._share = np.where(distinct > 1, np.minimum(distinct, MOST_CHOICES), 0)

    def learn(self, *, steps: int, seed: int, progress: Progress) -> Tensor:
        """Return the projection, ``(terms, embedding size)``; the start if nobody chose two items."""
        known = self._known.shape[1]
        projection = self._start[:known].clone().requires_grad_()
        steps = steps if self._share.any() and known else 0
        generator = np.random.default_rng(seed)
        mask = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam([projection], lr=LEARNING_RATE)
        for step in range(steps):
            loss = self._loss(projection, generator, mask)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress(step / steps, f"learning the collaborative mapping, loss {loss.item():.2f}")
        return torch.cat([projection.detach(), self._start[known:]])

    def _loss(self, projection: Tensor, generator: np.random.Generator, mask: torch.Generator) -> Tensor:
        kept = torch.rand(self._known.values().shape, generator=mask) >= DROPOUT
        known = torch.sparse_coo_tensor(
            self._known.indices(),
            self._known.values() * kept,
            self._known.shape,
            is_coalesced=True,
            check_invariants=False,
        )
        items = nn.functional.normalize(known @ projection + self._fixed)  # (items, embedding size)
        owners, rows, shares, targets, weights = self._draw(generator)
        histories = torch.sparse_coo_tensor(
            torch.stack([owners, rows]), shares, (len(targets), len(items)), check_invariants=False
        )
        users = nn.functional.normalize(histories @ items)  # (targets, embedding size)
        cosines = users @ items.T  # (targets, items)
        # Items of the history are no negatives: the user may choose them again.
        cosines = cosines.index_put((owners, rows), torch.tensor(-1.0))
        losses = nn.functional.cross_entropy(cosines / TEMPERATURE, targets, reduction="none")
        return (weights * losses).sum() / weights.sum().clamp_min(SMALLEST)

    def _draw(self, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Draw positives, and what their users chose before or with them.

        Returns:
            For each event of a history: the positive that the history precedes, the event's item and its
            weight; and the item of each positive and its weight, 0 for evidence against the item.
        """
        owners: list[NDArray[np.int64]] = []
        rows: list[Rows] = []
        shares: list[NDArray[np.float32]] = []
        targets: list[int] = []
        weights: list[float] = []
        for user in generator.choice(len(self._share), BATCH, p=self._share / self._share.sum()):
            own = slice(self._offsets[user], self._offsets[user + 1])
            items, times = self._rows[own], self._times[own]
            chosen = generator.integers(len(items))
            before = np.flatnonzero((times <= times[chosen]) & (items != items[chosen]))[-LONGEST:]
            if len(before):
                owners.append(np.full(len(before), len(targets)))
                rows.append(items[before])
                shares.append(self._weights[own][before] * moment_weights(times[before]))
                targets.append(items[chosen])
                weights.append(max(self._weights[own][chosen], 0.0))
        return (
            torch.from_numpy(np.concatenate(owners)),
            torch.from_numpy(np.concatenate(rows).astype(np.int64)),
            torch.from_numpy(np.concatenate(shares)),
            torch.from_numpy(np.array(targets, np.int64)),
            torch.from_numpy(np.array(weights, np.float32)),
        )
