"""A trained bundle serves only if it measures no worse, and the shop is told why not."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from endcap.catalog.database import Database, open_database
from endcap.catalog.items import Item, upsert_items
from endcap.catalog.migration import migrate
from endcap.catalog.shops import create_shop
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import FailedPrecondition, InvalidInput
from endcap.server.commands.retrain import read_duration
from endcap.server.loaded_models import LoadedModels
from endcap.server.model_registry import ModelRegistry
from endcap.server.promotion import Gate, promote
from endcap.server.retraining import Retraining


ITEM_IDS = [f"item-{number}" for number in range(20)]
GATE = Gate("recall@20", 0.1)
MakeBundle = Callable[..., Path]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
        items = [Item(item_id) for item_id in ITEM_IDS]
        await upsert_items(connection=connection, shop="default", items=items, now=1)
    yield database
    await database.close()


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> ModelRegistry:
    host = PluginHost.discover()
    folder = tmp_path / "bundles"
    return ModelRegistry(database, host, LoadedModels(host), store=tmp_path / "store", folder=folder, kept=2)


async def _active(registry: ModelRegistry) -> str | None:
    bundle = await registry.active("default", "ease")
    return bundle.version if bundle else None


@pytest.mark.parametrize(
    ("candidate", "active", "promoted", "reason"),
    [
        ({}, None, True, "no bundle of this model serves yet"),
        ({"recall@20": 0.2}, {"recall@20": 0.1}, True, "recall@20 0.2000, the active one's 0.1000"),
        ({"recall@20": 0.091}, {"recall@20": 0.1}, True, "at least 0.0900 wanted"),
        ({"recall@20": 0.08}, {"recall@20": 0.1}, False, "at least 0.0900 wanted"),
        ({"ndcg@20": 0.2}, {"recall@20": 0.1}, False, "its recall@20 was not measured"),
        ({"recall@20": float("nan")}, {"recall@20": 0.1}, False, "its recall@20 was not measured"),
        ({"recall@20": 0.01}, {}, True, "that of the active one was not measured"),
    ],
)
def test_a_candidate_may_lose_a_tenth(
    candidate: Mapping[str, float], active: Mapping[str, float] | None, promoted: bool, reason: str
) -> None:
    verdict = GATE.judge(candidate, active)

    assert verdict.promoted is promoted
    assert reason in verdict.reason


async def test_a_worse_bundle_is_not_even_registered(
    registry: ModelRegistry, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    good = make_bundle(tmp_path, ITEM_IDS, seed=1, recall=0.1)
    worse = make_bundle(tmp_path, ITEM_IDS, seed=2, recall=0.05)

    first = await promote(registry, "default", good, GATE)
    second = await promote(registry, "default", worse, GATE)

    assert (first.promoted, second.promoted) == (True, False)
    assert await _active(registry) == good.name
    await registry.register("default", worse)


async def test_a_broken_bundle_is_not_promoted_and_the_reason_is_said(
    registry: ModelRegistry, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    broken = make_bundle(tmp_path, ITEM_IDS)
    (broken / "vocabulary.json").write_bytes(b"[]")

    verdict = await promote(registry, "default", broken, GATE)

    assert not verdict.promoted
    assert "vocabulary.json of the bundle was altered" in verdict.reason


class Trainer:
    """Stands in for the training: each time the next bundle appears in the store."""

    def __init__(self, make_bundle: MakeBundle, store: Path, recalls: list[float]) -> None:
        self._make_bundle = make_bundle
        self._store = store
        self._recalls = recalls
        self.trainings = 0

    async def __call__(self, snapshot: Path) -> None:
        assert (snapshot / "manifest.json").exists()
        self.trainings += 1
        recall = self._recalls[self.trainings - 1]
        self._make_bundle(self._store, ITEM_IDS, seed=self.trainings, recall=recall)


@pytest.fixture
def retraining(database: Database, registry: ModelRegistry, tmp_path: Path) -> Callable[..., Retraining]:
    def make(train: Callable[[Path], Awaitable[None]]) -> Retraining:
        return Retraining(
            database,
            registry,
            train,
            shop="default",
            models=["ease"],
            store=tmp_path / "store",
            gate=GATE,
            kept=2,
        )

    return make


async def _sell(database: Database, item_id: str) -> None:
    async with database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item(item_id)], now=2)


async def test_each_round_trains_on_what_is_new_and_serves_with_what_is_no_worse(
    database: Database,
    registry: ModelRegistry,
    retraining: Callable[..., Retraining],
    make_bundle: MakeBundle,
    tmp_path: Path,
) -> None:
    trainer = Trainer(make_bundle, tmp_path / "store", [0.1, 0.05, 0.2])
    rounds = retraining(trainer)
    served = []
    for item_id in ("new-1", "new-2", "new-3"):
        await _sell(database, item_id)
        [(bundle, verdict)] = [outcome async for outcome in rounds.round()]
        served.append((verdict.promoted, await _active(registry) == bundle.name))

    nothing_new = [outcome async for outcome in rounds.round()]

    assert served == [(True, True), (False, False), (True, True)]
    assert nothing_new == []
    assert trainer.trainings == 3
    assert len(list((tmp_path / "store" / "ease").iterdir())) == 2


async def test_a_training_that_fails_leaves_what_serves_and_is_tried_again(
    registry: ModelRegistry,
    retraining: Callable[..., Retraining],
    make_bundle: MakeBundle,
    tmp_path: Path,
) -> None:
    trainer = Trainer(make_bundle, tmp_path / "store", [0.1])

    async def train(snapshot: Path) -> None:
        if not trainer.trainings:
            trainer.trainings += 1
            raise FailedPrecondition("the training failed")
        trainer.trainings -= 1
        await trainer(snapshot)

    rounds = retraining(train)

    with pytest.raises(FailedPrecondition):
        [outcome async for outcome in rounds.round()]
    assert await _active(registry) is None
    [(_, verdict)] = [outcome async for outcome in rounds.round()]
    assert verdict.promoted


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21_600), ("1d", 86_400)])
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "0h", "-1h", "1.5h", "6 h", "1h30m", "6h\n", "٦h"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no duration"):
        read_duration(text)
