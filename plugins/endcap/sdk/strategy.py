"""The plugin unit: a strategy answers queries of some tasks with rankings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from endcap.sdk.catalog_view import CatalogView
from endcap.sdk.model import Model
from endcap.sdk.query import Query, Ranking, Task
from endcap.sdk.vocabulary import Rows, Scores


@runtime_checkable
class Strategy(Protocol):
    """Answers queries with rankings.

    One immutable instance serves many threads' worth of queries, one batch at a time. It is plain
    synchronous code: it never runs in the event loop, and a call that raises or takes too long costs
    only itself, for the next strategy of the placement's ladder answers instead.
    """

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks that it can answer."""

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Sequence[Ranking]:
        """Answer a batch of queries.

        Args:
            queries: Concurrent queries, possibly of several tasks.
            catalog: The view that the queries' rows belong to.

        Returns:
            One ranking a query, in order, each of at most ``query.limit`` eligible rows without
            duplicates. An empty ranking says that there is nothing to go on.
        """


@runtime_checkable
class ScoringStrategy(Strategy, Protocol):
    """A strategy that can also score any item, which ranking a given list and evaluation build on."""

    def score(self, queries: Sequence[Query], rows: Rows | None, catalog: CatalogView) -> Scores:
        """Score items for a batch of queries.

        Args:
            queries: As for ``recommend``; eligibility plays no part here.
            rows: The rows to score, or None for all rows of the catalog.
            catalog: The view that all rows belong to.

        Returns:
            ``(queries, rows)`` float32, NaN where the strategy cannot score.
        """


class Resources(Protocol):
    """The models and strategies that the host gives a factory while it builds an instance."""

    def model(self, name: str) -> Model:
        """Return the active model of that name.

        Raises:
            ModelMissing: The shop has no active bundle of this model.
        """

    def strategy(self, name: str, parameters: Mapping[str, Any] | None = None) -> Strategy:
        """Return another strategy to compose.

        Raises:
            NotFound: No plugin offers the strategy.
            FailedPrecondition: The strategies would compose each other in a circle.
        """


StrategyFactory: TypeAlias = Callable[[Resources, Any], Strategy]
"""Builds an instance from resources and an instance of the parameters dataclass it was registered with."""
