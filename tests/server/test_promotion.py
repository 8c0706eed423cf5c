"""A trained bundle serves only if it measures no worse, and the shop is told why not."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database, open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import ExposedItem, Exposure
from endcap.catalog.items.items import Item, upsert_items
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import FailedPrecondition, InvalidInput
from endcap.server.commands.retrain import read_duration
from endcap.server.models.loaded import LoadedModels
from endcap.server.models.promotion import Gate, promote
from endcap.server.models.registry import ModelRegistry
from endcap.server.models.retraining import Retraining, Train


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
    return ModelRegistry(database, host, LoadedModels(host, folder), store=tmp_path / "store", kept=2)


async def _active(registry: ModelRegistry) -> str | None:
    bundle = await registry.active("default", "ease")
    return bundle.version if bundle else None


@pytest.mark.parametrize(
    ("recall", "rivals", "active", "promoted", "reason"),
    [
        (0.2, {"ease@1": 0.1}, "1", True, "recall@20 0.2000, on the same days that of ease@1 is 0.1000"),
        (0.091, {"ease@1": 0.1}, "1", True, "at least 0.0900 wanted"),
        (0.08, {"ease@1": 0.1}, "1", False, "at least 0.0900 wanted"),
        # Popular is no measure for one that takes the place of another, nor is another bundle.
        (0.05, {"ease@1": 0.01, "popular": 0.1}, "1", True, "at least 0.0090 wanted"),
        (0.2, {"ease@1": 0.1, "popular": 0.1}, "2", False, "ease@2 was not measured on the same days"),
        (0.1, {"popular": 0.1}, None, True, "at least 0.1000 wanted"),
        (0.099, {"popular": 0.1}, None, False, "at least 0.1000 wanted"),
        (0.2, {}, None, False, "popular was not measured on the same days"),
        (0.0, {"popular": 0.0}, None, False, "more than nothing is wanted"),
        (0.0, {"ease@1": 0.0}, "1", False, "more than nothing is wanted"),
        (None, {}, None, False, "its recall@20 was not measured"),
        (None, {"ease@1": 0.1}, "1", False, "its recall@20 was not measured"),
        (float("nan"), {"ease@1": 0.1}, "1", False, "its recall@20 was not measured"),
        (0.2, {"ease@1": float("nan")}, "1", False, "ease@1 was not measured on the same days"),
    ],
)
def test_a_candidate_may_lose_a_tenth_of_what_serves_and_must_not_be_below_popular_where_nothing_does(
    make_bundle: MakeBundle,
    tmp_path: Path,
    *,
    recall: float | None,
    rivals: Mapping[str, float],
    active: str | None,
    promoted: bool,
    reason: str,
) -> None:
    candidate = Bundle.open(make_bundle(tmp_path, ITEM_IDS, recall=recall, rivals=rivals)).manifest

    verdict = GATE.judge(candidate, active)

    assert verdict.promoted is promoted
    assert reason in verdict.reason


async def test_a_worse_bundle_is_not_even_registered(
    registry: ModelRegistry, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    good = make_bundle(tmp_path, ITEM_IDS, seed=1, recall=0.1, rivals={"popular": 0.05})
    worse = make_bundle(tmp_path, ITEM_IDS, seed=2, recall=0.05, rivals={f"ease@{good.name}": 0.1})

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
    """Stands in for the training: each time a bundle of the next recall, where all others reach a tenth."""

    def __init__(self, make_bundle: MakeBundle, recalls: Sequence[float]) -> None:
        self._make_bundle = make_bundle
        self._recalls = recalls
        self.against: list[list[str]] = []

    async def __call__(self, snapshot: Path, output: Path, against: Sequence[Path]) -> None:
        assert (snapshot / "manifest.json").exists()
        self.against.append([bundle.name for bundle in against])
        rivals = ["popular", *(f"{bundle.parent.name}@{bundle.name}" for bundle in against)]
        training = len(self.against)
        self._make_bundle(
            output,
            ITEM_IDS,
            seed=training,
            recall=self._recalls[training - 1],
            rivals=dict.fromkeys(rivals, 0.1),
        )


@pytest.fixture
def retraining(database: Database, registry: ModelRegistry, tmp_path: Path) -> Callable[..., Retraining]:
    def make(train: Train, shop: str = "default") -> Retraining:
        store = tmp_path / "store"
        return Retraining(
            database, registry, train, shop=shop, models=["ease"], store=store, gate=GATE, kept=2
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
    trainer = Trainer(make_bundle, [0.1, 0.05, 0.2])
    rounds = retraining(trainer)
    served, names = [], []
    for item_id in ("new-1", "new-2", "new-3"):
        await _sell(database, item_id)
        [(bundle, verdict)] = [outcome async for outcome in rounds.round()]
        served.append((verdict.promoted, await _active(registry) == bundle.name))
        names.append(bundle.name)

    nothing_new = [outcome async for outcome in rounds.round()]

    assert served == [(True, True), (False, False), (True, True)]
    assert trainer.against == [[], names[:1], names[:1]]
    assert nothing_new == []
    assert sorted(path.name for path in (tmp_path / "store" / "default" / "ease").iterdir()) == names[1:]


async def test_what_was_merely_shown_is_nothing_new(
    database: Database, retraining: Callable[..., Retraining], make_bundle: MakeBundle
) -> None:
    trainer = Trainer(make_bundle, [0.1])
    rounds = retraining(trainer)
    [outcome async for outcome in rounds.round()]
    log = ExposureLog(database)
    shown = (ExposedItem(ITEM_IDS[0], "popular"),)
    log.record(
        Exposure(shop="default", request_id="r", time=5, placement="home", view="v", bundles={}, items=shown)
    )
    await log.close()

    assert [outcome async for outcome in rounds.round()] == []
    assert len(trainer.against) == 1


async def test_shops_that_share_a_store_keep_to_their_own_bundles(
    database: Database,
    registry: ModelRegistry,
    retraining: Callable[..., Retraining],
    make_bundle: MakeBundle,
    tmp_path: Path,
) -> None:
    """The second shop trains twice while the first one is at it, and its id leads out of the store."""
    async with database.write() as connection:
        await create_shop(connection=connection, shop="../second", now=1)
        items = [Item(item_id) for item_id in ITEM_IDS]
        await upsert_items(connection=connection, shop="../second", items=items, now=1)
    by_hand = make_bundle(tmp_path / "store", ITEM_IDS, seed=7)
    others = []
    trainer = Trainer(make_bundle, [0.9])

    async def train(snapshot: Path, output: Path, against: Sequence[Path]) -> None:
        for recalls in ([0.1], [0.2, 0.2]):
            rounds = retraining(Trainer(make_bundle, recalls), "../second")
            others.extend([outcome async for outcome in rounds.round()])
        await trainer(snapshot, output, against)

    [(mine, verdict)] = [outcome async for outcome in retraining(train).round()]

    assert verdict.promoted
    assert await _active(registry) == mine.name
    assert len({bundle.name for bundle, _ in others} | {mine.name}) == 3
    assert all(bundle.exists() for bundle in (by_hand, mine, *(bundle for bundle, _ in others)))
    assert {path.parent.parent.name for path, _ in others} == {"%2E%2E%2Fsecond"}


async def test_a_training_that_fails_leaves_what_serves_and_is_tried_again(
    registry: ModelRegistry, retraining: Callable[..., Retraining], make_bundle: MakeBundle
) -> None:
    trainer = Trainer(make_bundle, [0.1])
    failures = [FailedPrecondition("the training failed")]

    async def train(snapshot: Path, output: Path, against: Sequence[Path]) -> None:
        if failures:
            raise failures.pop()
        await trainer(snapshot, output, against)

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
