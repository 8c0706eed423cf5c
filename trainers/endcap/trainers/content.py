"""Content: turns the terms and the price of an item into a vector, even if nobody has chosen the item yet.

An item's terms weigh ``(1 + ln count) · idf``, with ``idf = 1 + ln((1 + items) / (1 + items that hold the
term))``. Its words and its labels are scaled to length 1 and √.2 (Salton and Buckley, "Term-weighting
approaches in automatic text retrieval", 1988), and multiplied by two projections.

*text* is a truncated singular value decomposition ``X ≈ U S Vᵀ`` of these weights (Deerwester et al.,
"Indexing by latent semantic analysis", 1990). An item's vector is its row of ``U √S``: the plain ``U S``
gives the frequent words more room than they need.

*collaborative* starts from the text projection and learns which contents the same people choose: see
``collaborative_mapping``.

*price* is a row of bumps over the logarithm of the price: the cosine of two prices is
``exp(−ln(p / q)² / .49)``, a half at a factor of 1.8.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.sdk import Role, TensorSpec, build_view, parameter
from endcap.sdk.content_features import BUCKETS, TermCounts, TermIndex, is_label, item_terms
from endcap.trainers.collaborative_mapping import BATCH, CollaborativeMapping
from endcap.trainers.interactions import Interactions
from endcap.trainers.trainer import Progress, TrainedModel


LABELS = 0.2
"""Weight of labels, relative to words."""

PRICE_WIDTH = 0.35
"""The width of a bump and the distance to the next one, in logarithms."""

SMALLEST_SINGULAR_VALUE = 1e-3
"""Directions below this share of the first one are noise."""

ITEMS_AT_ONCE = 256


@dataclass(frozen=True)
class ContentParameters:
    """Hyperparameters of ``content``."""

    embedding_size: int = parameter(
        128,
        "Embedding size of the text vector and of the collaborative one; higher keeps finer differences and"
        " needs more data.",
        minimum=1,
        maximum=1024,
    )
    terms: int = parameter(
        50_000,
        "Vocabulary size: at most this many terms, those in most items first; higher adds rarer ones.",
        minimum=0,
    )
    steps: int = parameter(
        800,
        f"Training steps of the collaborative vector, {BATCH} positives each; higher fits positives closer,"
        " 0 keeps the text vector.",
        minimum=0,
    )
    seed: int = parameter(0, "Seed of all random numbers.", minimum=0)


class ContentNetwork(nn.Module):
    """Turns documents and prices into vectors."""

    def __init__(self, idf: Tensor, labels: Tensor, centres: Tensor) -> None:
        """Start without projections.

        Args:
            idf: One number a term.
            labels: 1 for terms that are labels, 0 for words.
            centres: The logarithms of the prices that the bumps stand at, ascending.
        """
        super().__init__()
        self.idf: Tensor
        self.labels: Tensor
        self.centres: Tensor
        self.projection: Tensor
        self.register_buffer("idf", idf)
        self.register_buffer("labels", labels)
        self.register_buffer("centres", centres)
        self.register_buffer("projection", torch.zeros(len(idf), 2))

    def forward(self, terms: Tensor, counts: Tensor, prices: Tensor) -> Tensor:
        """Return the text, collaborative and price parts of each document, side by side.

        Args:
            terms: The terms of all documents, ``(terms,)``.
            counts: How often each document holds each of them, ``(documents, terms)``.
            prices: ``(documents,)``; NaN where unknown.
        """
        projected = self.weigh(terms, counts) @ self.projection[terms]  # (documents, text + collaborative)
        text, collaborative = projected.chunk(2, dim=1)
        return torch.cat([_unit(text), _unit(collaborative), self._bumps(prices)], dim=1)

    def weigh(self, terms: Tensor, counts: Tensor) -> Tensor:
        """Return the weight of each term in each document, ``(documents, terms)``."""
        weights = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0) * self.idf[terms]
        labels = self.labels[terms]
        weighed: Tensor = _unit(weights * (1 - labels)) + LABELS**0.5 * _unit(weights * labels)
        return weighed

    def _bumps(self, prices: Tensor) -> Tensor:
        known = prices > 0
        logarithms = torch.where(known, prices, 1).log().clamp(self.centres[0], self.centres[-1])
        distances = (logarithms[:, None] - self.centres) / PRICE_WIDTH  # (documents, bumps)
        return torch.where(known[:, None], _unit(torch.exp(-(distances**2) / 2)), 0)


class ContentTrainer:
    """Counts terms, decomposes their weights, and learns the content-to-collaborative mapping."""

    name = "content"
    parameters: type[Any] = ContentParameters

    def train(
        self, interactions: Interactions, parameters: ContentParameters, progress: Progress
    ) -> TrainedModel:
        """Learn from the items that have events."""
        progress(0.0, "counting words")
        items, events = interactions.items, interactions.events
        view = build_view(items, events, version="training", as_of=interactions.as_of)
        documents = list(item_terms(view))
        terms = known_terms(documents, parameters.terms)
        index = TermIndex(terms)
        counts = index.count(documents)
        module = ContentNetwork(
            idf=inverse_frequencies(counts, len(index)),
            labels=torch.tensor([float(is_label(term)) for term in terms] + [0.0] * BUCKETS),
            centres=price_centres(view.prices),
        )
        weights = _weights(module, counts, len(index))
        progress(0.05, "decomposing")
        text = text_projection(weights, parameters.embedding_size, parameters.seed)
        collaborative = CollaborativeMapping(weights, text, interactions.positives).learn(
            steps=parameters.steps,
            seed=parameters.seed,
            progress=lambda share, what: progress(0.1 + 0.9 * share, what),
        )
        module.projection = torch.cat([text, collaborative], dim=1)
        progress(1.0, "done")
        widths = [parameters.embedding_size, parameters.embedding_size, len(module.centres)]
        return TrainedModel(
            module=module.eval(),
            inputs={
                "terms": TensorSpec(("terms",), "int64", Role.CODES, size=len(index)),
                "counts": TensorSpec(("documents", "terms"), "float32", Role.VALUES),
                "prices": TensorSpec(("documents",), "float32", Role.VALUES, padding=True),
            },
            outputs={"vectors": TensorSpec(("documents", sum(widths)), "float32", Role.VALUES)},
            item_ids=interactions.item_ids,
            state={"terms": terms, "widths": widths, "positives": interactions.definition.to_json()},
        )


def known_terms(documents: Sequence[Sequence[str]], most: int) -> list[str]:
    """Return the terms that at least two documents hold, sorted; those that most hold if there are more."""
    frequencies = Counter(term for document in documents for term in set(document))
    shared = [(-count, term) for term, count in frequencies.items() if count > 1]
    return sorted(term for _, term in sorted(shared)[:most])


def inverse_frequencies(documents: TermCounts, term_count: int) -> Tensor:
    """Return the ``idf`` of each term; what no document holds counts as held by one."""
    frequencies = np.maximum(np.bincount(documents.terms, minlength=term_count), 1)
    return torch.from_numpy(1 + np.log((1 + len(documents)) / (1 + frequencies))).float()


def price_centres(prices: NDArray[np.float64]) -> Tensor:
    """Return the centres of the bumps, spread over the logarithms of the prices."""
    logarithms = np.log(prices[prices > 0])
    low, high = (logarithms.min(), logarithms.max()) if len(logarithms) else (0.0, 0.0)
    return torch.arange(low, high + PRICE_WIDTH, PRICE_WIDTH, dtype=torch.float32)


def text_projection(weights: Tensor, dimensions: int, seed: int) -> Tensor:
    """Return ``V / √S`` of the weights' decomposition, ``(terms, embedding size)``.

    The buckets of unknown words, which say too little to be decomposed, get random directions as long as
    the others are on average.

    Args:
        weights: What each term weighs in each item, ``(items, terms)``, sparse.
        dimensions: How many; those that the weights do not have are zero.
        seed: Fixes what is drawn.
    """
    known = weights.shape[1] - BUCKETS
    projection = torch.zeros(weights.shape[1], dimensions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rank = min(dimensions, known, weights.shape[0])
        if rank:
            words = weights.index_select(1, torch.arange(known)).coalesce()
            spare = min(rank + 16, known, weights.shape[0])
            _, values, directions = torch.svd_lowrank(words, q=spare, niter=6)
            kept = int((values[:rank] > SMALLEST_SINGULAR_VALUE * values[0]).sum())
            projection[:known, :kept] = directions[:, :kept] / values[:kept].sqrt()
        length = projection[:known].norm(dim=1).mean() if rank else torch.tensor(1.0)
        projection[known:] = length * _unit(torch.randn(BUCKETS, dimensions))
    return projection


def _weights(module: ContentNetwork, documents: TermCounts, term_count: int) -> Tensor:
    """Return the weight of each term in each document, ``(documents, terms)``, sparse."""
    parts = []
    for start in range(0, len(documents), ITEMS_AT_ONCE):
        stop = min(start + ITEMS_AT_ONCE, len(documents))
        terms, counts = map(torch.from_numpy, documents.table(start, stop))
        weights = module.weigh(terms, counts).to_sparse()
        indices = torch.stack([weights.indices()[0], terms[weights.indices()[1]]])
        shape = (stop - start, term_count)
        parts.append(torch.sparse_coo_tensor(indices, weights.values(), shape, check_invariants=False))
    return torch.cat(parts).coalesce()


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors, dim=1)


trainer = ContentTrainer()
