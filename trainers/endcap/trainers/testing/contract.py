"""The promises of every trainer, as tests to inherit."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from endcap.runtime.golden import choose_titles
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import (
    CatalogView,
    Eligibility,
    History,
    ItemColumns,
    Model,
    Query,
    Scores,
    ScoringStrategy,
    Task,
    Vocabulary,
    build_view,
)
from endcap.sdk.features import DAY
from endcap.sdk.parameters import read_parameters
from endcap.trainers.export import export_bundle
from endcap.trainers.testing.learnable import NOW, LearnableData, checkerboard
from endcap.trainers.trainer import TrainedModel, Trainer
from endcap.trainers.training import find_trainer
from endcap.trainers.unexported import UnexportedModel


UNKNOWN_ITEM = "unknown"
"""An item of the catalog that came in after the training, without a word about it."""

TOLERANCE = 1e-3
"""The largest difference between scores that must agree, in units of the largest score, or of 1."""


class TrainerContract:
    """The promises of every trainer. Inherit it and set what follows.

    The graph is exported and passes the parity gate, which tries all combinations of sizes, and the golden
    queries, as a bundle of ``endcap train`` does.
    """

    trainer: ClassVar[Trainer]
    """The trainer under test."""

    strategy: ClassVar[str]
    """The name of the strategy that runs the model; it scores, and its plugin is installed."""

    parameters: ClassVar[Any]
    """Parameters of the trainer that are large enough for the data and small enough for a test."""

    expected_hit: ClassVar[float]
    """The least share of users whose target comes first among the items that they have not chosen."""

    data: ClassVar[Callable[[], LearnableData]] = staticmethod(checkerboard)
    """What is learned: ``checkerboard``, or ``sequences`` where the order matters."""

    beside: ClassVar[Sequence[str]] = ()
    """The strategies that the one under test composes, each trained with default parameters."""

    draws_by_order = False
    """Whether training draws users or items by their place, so that another order gives another model."""

    def test_equal_seeds_give_equal_bundles(self) -> None:
        """Two trainings on the same data write the same bytes."""
        first, second = self._exported(), _export(type(self), self._data())
        _require(first.files.keys() == second.files.keys(), "two trainings must write the same files")
        for name, content in first.files.items():
            _require(
                content == second.files[name], f"two trainings must write the same {name}: seed all draws"
            )

    def test_what_serves_scores_as_pytorch_does(self) -> None:
        """From the data to the score by way of the bundle, against the module itself."""
        exported = self._exported()
        data = self._data()
        module = UnexportedModel(self.strategy, Vocabulary(exported.trained.item_ids), exported.trained)
        _require_close(
            self._scores(exported.model, _histories(data)),
            self._scores(module, _histories(data)),
            "the bundle must score as PyTorch does",
        )

    def test_a_batch_is_scored_like_its_queries_one_by_one(self) -> None:
        """Neither the others of a batch nor the padding to the longest history changes a score."""
        model = self._exported().model
        lengths = (1, 3, None, 0, 2)
        histories = [
            history[:length] for history, length in zip(_histories(self._data()), lengths, strict=False)
        ]
        alone = [self._scores(model, [history]) for history in histories]
        _require_close(
            self._scores(model, histories), np.concatenate(alone), "a batch must not change a score"
        )

    def test_a_history_of_unknown_items_is_an_empty_one(self) -> None:
        """Neither is an error: both get no scores, or the same general ones."""
        model = self._exported().model
        unknown = [(UNKNOWN_ITEM, NOW - DAY)]
        _require_close(
            self._scores(model, [unknown]),
            self._scores(model, [[]]),
            "a history of unknown items must be scored as an empty one",
        )

    def test_the_order_of_items_and_users_does_not_matter(self) -> None:
        """A snapshot may hold them in any order. A trainer that draws by order keeps to the bar instead."""
        data = self._data()
        exported, other = self._exported(), _export(type(self), data.permuted(1))
        if self.draws_by_order:
            self._require_hits(other.model)
            return
        _require_close(
            self._scores(other.model, _histories(data)),
            self._scores(exported.model, _histories(data)),
            "another order of items and users must not change a score: draw by a hash of the id",
        )

    def test_the_pattern_is_learned(self) -> None:
        """The bar: the share of targets that come first."""
        self._require_hits(self._exported().model)

    def _require_hits(self, model: Model) -> None:
        data = self._data()
        scores = np.nan_to_num(self._scores(model, _histories(data)), nan=-np.inf)
        scores = scores[:, : len(data.interactions.item_ids)]
        scores[data.interactions.events.users, data.interactions.events.rows] = -np.inf
        hit = float(np.mean(scores.argmax(axis=1) == data.targets))
        _require(hit >= self.expected_hit, f"the hit rate is {hit:.3f}, below {self.expected_hit}")

    def _data(self) -> LearnableData:
        return type(self).data()

    def _exported(self) -> "_Exported":
        return _exported(type(self))

    def _scores(self, model: Model, histories: Sequence["_Choices"]) -> Scores:
        """Score every item of the catalog for each history, ``(histories, items)``."""
        view = _view(self._data())
        others = [_trained_beside(type(self), name) for name in self.beside]
        strategy = Instances(_host(), Generation.of([model, *others])).get(self.strategy)
        if not isinstance(strategy, ScoringStrategy):
            raise AssertionError(f"strategy {self.strategy} must have a method score")  # noqa: TRY004
        scores: Scores = strategy.score([_query(history, view) for history in histories], None, view)
        return scores


_Choices = Sequence[tuple[str, int]]
"""The items that a user chose and when, oldest first."""


@dataclass(frozen=True, slots=True, eq=False)
class _Exported:
    trained: TrainedModel
    model: Model

    files: Mapping[str, bytes]
    """The files of the bundle."""


@cache
def _host() -> PluginHost:
    return PluginHost.discover()


_models: dict[tuple[type[TrainerContract], str], _Exported] = {}
"""What was trained for the tests of a contract, by the strategy: training takes most of their time."""


def _exported(contract: type[TrainerContract]) -> _Exported:
    key = (contract, contract.strategy)
    if key not in _models:
        _models[key] = _export(contract, contract.data())
    return _models[key]


def _export(contract: type[TrainerContract], data: LearnableData) -> _Exported:
    return _train(contract.trainer, contract.strategy, contract.parameters, data)


def _trained_beside(contract: type[TrainerContract], name: str) -> Model:
    if (contract, name) not in _models:
        trainer = find_trainer(name)
        parameters = read_parameters(trainer.parameters, {})
        _models[contract, name] = _train(trainer, name, parameters, contract.data())
    return _models[contract, name].model


def _train(trainer: Trainer, strategy: str, parameters: Any, data: LearnableData) -> _Exported:
    trained = trainer.train(data.interactions, parameters, lambda _share, _what: None)
    with tempfile.TemporaryDirectory() as parent:
        folder = export_bundle(
            trained,
            Path(parent),
            name=strategy,
            parameters=parameters,
            snapshot="contract",
            created_time=NOW,
            titles=choose_titles(data.interactions.items),
            metrics={},
            compared={},
            host=_host(),
        )
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return _Exported(trained, load_bundle(folder, _host()), files)


def _histories(data: LearnableData) -> Sequence[_Choices]:
    """Return what each user chose."""
    events, ids = data.interactions.events, data.interactions.item_ids
    histories: list[list[tuple[str, int]]] = [[] for _ in data.targets]
    for user, row, time in zip(events.users, events.rows, events.times.tolist(), strict=True):
        histories[user].append((ids[row], time))
    return histories


def _view(data: LearnableData) -> CatalogView:
    """Return the catalog: the items of the data, and the unknown one behind them."""
    items = data.interactions.items
    known = ItemColumns(
        ids=[*items.ids, UNKNOWN_ITEM],
        titles=[*items.titles, ""],
        categories=[()] * (len(items.ids) + 1),
        prices=np.full(len(items.ids) + 1, np.nan),
        available=np.ones(len(items.ids) + 1, np.bool_),
        created=np.zeros(len(items.ids) + 1, np.int64),
    )
    return build_view(known, data.interactions.events, version="contract", as_of=NOW)


def _query(history: _Choices, view: CatalogView) -> Query:
    rows = view.vocabulary.known([item_id for item_id, _ in history])
    return Query(
        task=Task.FOR_YOU,
        limit=10,
        time=NOW,
        eligible=Eligibility(view.available, rows),
        history=History(
            rows, np.full(len(rows), "purchase"), np.array([time for _, time in history], np.int64)
        ),
    )


def _require_close(actual: Scores, expected: Scores, message: str) -> None:
    """Compare scores relative to the largest one, for training in another order rounds otherwise."""
    scale = np.nanmax(np.abs(expected), initial=1)
    close = np.allclose(actual / scale, expected / scale, rtol=0, atol=TOLERANCE, equal_nan=True)
    _require(close, f"{message}; they differ by up to {np.nanmax(np.abs(actual - expected), initial=0):.2g}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
