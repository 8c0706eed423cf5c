"""What a plugin may do to a server: spoil its own answers, and nothing else."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Availability, Item, upsert_items
from endcap.client import AsyncClient
from endcap.runtime.plugin_host import Plugin, PluginHost
from endcap.sdk import (
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    Reason,
    RegisterStrategy,
    Resources,
    Task,
    hookimpl,
)
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.recommendation_service_pb2 import RecommendResponse


KETTLE, MUG, TEAPOT = 0, 1, 2
BEST = (np.array([MUG, KETTLE], np.int32), np.array([2.0, 1.0], np.float32))


class Hostile:
    """A plugin with the strategy ``hostile``, which does what a test tells it to."""

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self) -> None:
        self.answer: Callable[[Query, CatalogView], Any] = lambda query, catalog: Ranking(*BEST)
        self.made: Any = self

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Any:
        return [self.answer(query, catalog) for query in queries]

    @hookimpl
    def register_strategies(self, register: RegisterStrategy) -> None:
        def build(resources: Resources, parameters: NoParameters) -> Any:
            return self.made

        register("hostile", build)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Hostile:
    """The plugin, installed beside ``popular``."""
    plugin = Hostile()
    installed = [
        Plugin("popular", "endcap", "0", lambda: import_module("endcap.strategies.popular")),
        Plugin("hostile", "tests", "0", lambda: plugin),
    ]
    monkeypatch.setattr(PluginHost, "discover", lambda: PluginHost(installed))
    return plugin


@pytest.fixture
async def client(tmp_path: Path, hostile: Hostile) -> AsyncIterator[AsyncClient]:
    """A client of a shop where ``home`` asks ``hostile`` before ``popular``, and the teapot is sold out."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=0)
        items = [
            Item("kettle", title="Kettle"),
            Item("mug", title="Mug"),
            Item("teapot", availability=Availability.OUT_OF_STOCK),
        ]
        await upsert_items(connection=connection, shop="default", items=items, now=0)
        home = Placement("home", Task.FOR_YOU, (RungSpec("hostile"), RungSpec("popular")))
        await put_placement(connection=connection, shop="default", placement=home, now=0)
    await database.close()
    settings = Settings(
        address="127.0.0.1:0", database_url=url, drain_seconds=0.1, strategy_timeout_seconds=5.0
    )
    application = Application(settings)
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def ask(client: AsyncClient, **fields: Any) -> RecommendResponse:
    return await client.recommend(
        "home", visitor_id="eve", include_reasons=True, include_trace=True, deadline=10.0, **fields
    )


class Explosive:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __len__(self) -> int:
        raise RuntimeError


def answering(answer: Any) -> Callable[[Query, CatalogView], Any]:
    return lambda query, catalog: answer


def ranking(rows: Any, scores: Any) -> Ranking:
    return Ranking(rows, scores)


def reason(kind: Any = "popular", evidence: Any = (), text: Any = "") -> tuple[tuple[Reason, ...], ...]:
    return ((Reason(kind, evidence, text),), ())


BAD_REASONS: dict[str, Any] = {
    "none": None,
    "a number": 3,
    "a text": "ab",
    "none of each item": (None, None),
    "a text of each item": ("popular", "popular"),
    "a text among the reasons": ([None, "popular"], ()),
    "what raises": ((Explosive(),), ()),
    "no kind": reason(kind=None),
    "an empty kind": reason(kind=""),
    "a kind that is no text": reason(kind=b"popular"),
    "a kind that has no encoding": reason(kind="\ud800"),
    "a kind of two words": reason(kind="two words"),
    "a kind of a megabyte": reason(kind="x" * 1_000_000),
    "a text that has no encoding": reason(text="\ud800"),
    "a text that raises": reason(text=Explosive()),
    "a text of 201 characters": reason(text="x" * 201),
    "no evidence": reason(evidence=None),
    "a text as evidence": reason(evidence="mug"),
    "evidence that raises": reason(evidence=Explosive()),
    "half a row": reason(evidence=[0.5]),
    "a row that is no number": reason(evidence=[float("nan")]),
    "a row before the first": reason(evidence=[-1]),
    "a row beyond the last": reason(evidence=[99]),
    "a row beyond all integers": reason(evidence=[10**30]),
    "a truth as evidence": reason(evidence=[True]),
    "a table as evidence": reason(evidence=[[MUG]]),
    "texts as evidence": reason(evidence=np.array(["mug"])),
}


async def test_an_invalid_reason_is_left_out_and_the_items_stay(
    client: AsyncClient, hostile: Hostile
) -> None:
    found = {}
    for name, reasons in BAD_REASONS.items():
        hostile.answer = answering(Ranking(*BEST, reasons))
        answer = await ask(client)
        found[name] = [(each.item_id, each.rung, list(each.reasons)) for each in answer.results]

    assert found == {name: [("mug", 0, []), ("kettle", 0, [])] for name in BAD_REASONS}


async def test_a_valid_reason_beside_an_invalid_one_is_given(client: AsyncClient, hostile: Hostile) -> None:
    similar = Reason("similar_to", np.array([KETTLE], np.int32))
    hostile.answer = lambda query, catalog: Ranking(*BEST, ((similar, Reason("x" * 100)), ()))

    answer = await ask(client)

    assert [
        (each.kind, [item.item_id for item in each.evidence], each.text) for each in answer.results[0].reasons
    ] == [("similar_to", ["kettle"], "Similar to Kettle")]


async def test_a_reason_of_a_plugins_own_kind_is_told_in_its_own_words(
    client: AsyncClient, hostile: Hostile
) -> None:
    own, known = Reason("hand_picked", text="{Picked} by hand"), Reason("new", text="Just in")
    hostile.answer = answering(Ranking(*BEST, ((own, known), ())))

    answer = await ask(client)

    assert [each.text for each in answer.results[0].reasons] == ["{Picked} by hand", "New in the shop"]


BAD_RANKINGS: dict[str, Any] = {
    "nothing": ranking(None, None),
    "lists": ranking([MUG], [1.0]),
    "objects": Ranking(np.array([MUG], object), BEST[1][:1]),
    "ids": Ranking(np.array(["mug"]), BEST[1][:1]),
    "half rows": Ranking(np.array([0.5]), BEST[1][:1]),
    "truths": Ranking(np.array([True]), BEST[1][:1]),
    "a single row": Ranking(np.array(MUG), np.array(1.0)),
    "a table": Ranking(np.array([[MUG]]), np.array([[1.0]])),
    "the largest row": Ranking(np.array([2**64 - 1], np.uint64), BEST[1][:1]),
    "the smallest row": Ranking(np.array([-(2**63)]), BEST[1][:1]),
    "complex scores": Ranking(BEST[0], np.array([1 + 1j, 1])),
    "texts as scores": Ranking(BEST[0], np.array(["1", "2"])),
    "endless scores": Ranking(BEST[0], np.array([np.inf, np.nan])),
    "scores beyond what is sent": Ranking(BEST[0], np.array([1e300, 1e200])),
    "too few scores": Ranking(BEST[0], BEST[1][:1]),
    "what raises": Explosive(),
    "a text": "mug",
}


async def test_an_invalid_ranking_costs_the_rung_and_not_the_answer(
    client: AsyncClient, hostile: Hostile
) -> None:
    found = {}
    for name, bad in BAD_RANKINGS.items():
        hostile.answer = answering(bad)
        answer = await ask(client)
        found[name] = sorted(each.item_id for each in answer.results if np.isfinite(each.score))
        hostile.answer = lambda query, catalog: Ranking(*BEST)
        await ask(client)  # five failures in a row, and it would not be asked any more

    assert found == {name: ["kettle", "mug"] for name in BAD_RANKINGS}


async def test_a_plugin_cannot_write_to_what_it_is_given(client: AsyncClient, hostile: Hostile) -> None:
    """Masks, histories and views are shared by queries: what one wrote, others would be answered by."""
    await client.record_events([Event(type="purchase", visitor_id="eve", item_id="kettle")])
    written: list[str] = []

    def arrays(owner: object) -> Iterator[tuple[str, Any]]:
        for name in dir(owner):
            value = getattr(owner, name)
            if isinstance(value, np.ndarray):
                yield name, value

    def deface(query: Query, catalog: CatalogView) -> Ranking:
        for owner in (query, query.eligible, query.history, catalog):
            for name, array in arrays(owner):
                try:
                    array[...] = array[:1]
                except ValueError:
                    continue
                written.append(f"{type(owner).__name__}.{name}")
        return Ranking(*BEST)

    hostile.answer = deface
    for condition in ("", 'title:"t"', 'title:"e"'):
        await ask(client, filter=condition, exclude_item_ids=["mug"])

    assert written == []


async def test_a_plugin_that_seeds_the_global_generator_changes_no_answer(
    client: AsyncClient, hostile: Hostile
) -> None:
    def seed(query: Query, catalog: CatalogView) -> Ranking:
        np.random.seed(0)  # noqa: NPY002 - the misdeed
        return Ranking(*BEST)

    before = await ask(client, request_id="r1")
    hostile.answer = seed
    after = await ask(client, request_id="r1")

    assert list(before.results) == list(after.results)


async def test_a_plugin_that_keeps_its_ranking_cannot_change_it_afterwards(
    client: AsyncClient, hostile: Hostile
) -> None:
    rows, scores = BEST[0].copy(), BEST[1].copy()
    kept = Ranking(rows, scores)
    hostile.answer = lambda query, catalog: kept

    first = await ask(client)
    rows[:], scores[:] = TEAPOT, np.nan
    second = await ask(client)

    assert [result.item_id for result in first.results] == ["mug", "kettle"]
    assert "teapot" not in [result.item_id for result in second.results]


async def test_a_million_rows_where_ten_were_wanted_stop_nobody(
    client: AsyncClient, hostile: Hostile
) -> None:
    rows = np.tile(np.arange(3, dtype=np.int32), 400_000)
    hostile.answer = lambda query, catalog: Ranking(rows, np.ones(len(rows), np.float32))

    answer = await ask(client)

    assert sorted(result.item_id for result in answer.results) == ["kettle", "mug"]
    assert answer.degraded
    assert len(answer.trace.dropped_items) <= 100


@pytest.fixture(params=[None, "for_you", 7, frozenset({None})])
def hostile_without_tasks(hostile: Hostile, request: pytest.FixtureRequest) -> None:
    hostile.tasks = request.param


@pytest.mark.usefixtures("hostile_without_tasks")
class TestWithoutTasks:
    """The plugin says wrongly which tasks it answers."""

    async def test_it_costs_its_rung_and_not_the_shop(
        self, hostile_without_tasks: None, client: AsyncClient
    ) -> None:
        answer = await ask(client)

        assert {result.strategy for result in answer.results} == {"popular"}
        assert [part.strategy for part in answer.degradations] == ["hostile"]


class TellsOnce:
    """A strategy that says once which tasks it answers, and raises when it is asked again."""

    def __init__(self) -> None:
        self._tasks = [frozenset({Task.FOR_YOU})]

    @property
    def tasks(self) -> frozenset[Task]:
        return self._tasks.pop()

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        return [Ranking(*BEST) for _ in queries]


@pytest.fixture
def hostile_that_tells_once(hostile: Hostile) -> None:
    hostile.made = TellsOnce()


@pytest.mark.usefixtures("hostile_that_tells_once")
class TestTellingOnce:
    """The plugin says once only which tasks it answers."""

    async def test_it_answers(self, hostile_that_tells_once: None, client: AsyncClient) -> None:
        answer = await ask(client)

        assert [result.strategy for result in answer.results] == ["hostile", "hostile"]
        assert not answer.degraded
