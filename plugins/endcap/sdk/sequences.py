"""Histories as sequences of a model's items: one encoding for training and serving, and its recommender."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.catalog_view import CatalogView
from endcap.sdk.errors import BundleRefused
from endcap.sdk.model import Model, Role, TensorSpec
from endcap.sdk.parameters import NoParameters
from endcap.sdk.positives import Positives
from endcap.sdk.profiles import chosen_rows
from endcap.sdk.query import Query, Ranking, Task
from endcap.sdk.ranking import recommend_by_score
from endcap.sdk.strategy import Resources
from endcap.sdk.vocabulary import UNKNOWN, Rows, Scores, align


SEQUENCE_INPUTS: Mapping[str, TensorSpec] = MappingProxyType(
    {"items": TensorSpec(("queries", "length"), "int64", Role.ITEMS, padding=True)}
)
"""The inputs of a graph that reads sequences, as ``encode_sequences`` makes them."""

SEQUENCE_OUTPUTS: Mapping[str, TensorSpec] = MappingProxyType(
    {"scores": TensorSpec(("queries", "items"), "float32", Role.VALUES)}
)
"""The outputs of such a graph."""

ENCODING_VERSION = 1
"""Raised whenever ``encode_sequences`` gives other results; a bundle of another version is refused."""


@dataclass(frozen=True, slots=True)
class SequenceEncoding:
    """The rules by which a history becomes a sequence. A bundle records them in its state."""

    length: int
    """At most this many items of a history are used, the last ones."""

    version: int = ENCODING_VERSION

    def to_json(self) -> Mapping[str, Any]:
        """Return the encoding as a bundle's state holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read an encoding from a bundle's state.

        Raises:
            BundleRefused: The bundle was trained with another version of the encoding.
        """
        encoding = cls(**values)
        if encoding.version != ENCODING_VERSION:
            raise BundleRefused(
                f"the model reads sequences of encoding {encoding.version}, this release writes encoding"
                f" {ENCODING_VERSION}: train it again"
            )
        return encoding


def encode_sequences(
    histories: Sequence[Rows], item_count: int, encoding: SequenceEncoding
) -> NDArray[np.int64]:
    """Lay histories side by side, each ending in the last column.

    Args:
        histories: The items of each history as rows of the model, oldest first; ``UNKNOWN`` ones are dropped.
        item_count: The number of items of the model. It fills the columns before a short history.
        encoding: The rules.

    Returns:
        ``(histories, longest)``, where the longest has at least one column.
    """
    known = [rows[rows != UNKNOWN][-encoding.length :] for rows in histories]
    longest = max((len(rows) for rows in known), default=0)
    encoded = np.full((len(known), max(longest, 1)), item_count, np.int64)
    for line, rows in zip(encoded, known, strict=True):
        line[len(line) - len(rows) :] = rows
    return encoded


class SequenceScorer:
    """Scores items by a model that reads sequences."""

    def __init__(self, model: Model) -> None:
        """Read the model's encoding.

        Args:
            model: Its graph takes ``SEQUENCE_INPUTS`` and gives ``SEQUENCE_OUTPUTS``.

        Raises:
            BundleRefused: The model was trained with another version of the encoding.
        """
        self._model = model
        self._encoding = SequenceEncoding.from_json(model.state["encoding"])

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items for the history of each query.

        Returns:
            ``(queries, rows)``; NaN for items that the model does not know, and throughout for a history in
            which it knows nothing.
        """
        alignment = align(self._model.vocabulary, catalog.vocabulary)
        item_count = len(self._model.vocabulary)
        positives = Positives.of_state(self._model.state, catalog.event_weights)
        histories = [alignment.to_source[chosen_rows(query, positives)] for query in queries]
        encoded = encode_sequences(histories, item_count, self._encoding)
        answered = encoded[:, -1] != item_count
        scores = np.full((len(queries), item_count), np.nan, np.float32)
        if answered.any():
            scores[answered] = self._model.run({"items": encoded[answered]})["scores"]
        spread = alignment.spread(scores)
        return spread if rows is None else spread[:, rows]


class SequenceRecommender:
    """Recommends what a sequence model expects next. A strategy inherits it and names its model."""

    model_name: ClassVar[str]
    """The name of the model, which is the strategy's."""

    tasks = frozenset({Task.FOR_YOU, Task.RANK})

    def __init__(self, resources: Resources, _parameters: NoParameters) -> None:
        self._scorer = SequenceScorer(resources.model(self.model_name))

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        """Answer each query with the items of the highest scores; a new user gets none."""
        return recommend_by_score(self, queries, catalog)

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items as what follows the user's history."""
        return self._scorer.score(queries, rows, catalog)
