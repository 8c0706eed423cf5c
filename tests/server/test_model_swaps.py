"""Models swap under load: every call is answered, and every answer is of one generation."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from endcap.client import AsyncClient, Options
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.model_service_pb2 import ActivateBundleRequest, RegisterBundleRequest
from endcap.v1.placement_pb2 import Placement, Rung
from endcap.v1.placement_service_pb2 import CreatePlacementRequest
from endcap.v1.recommendation_service_pb2 import RecommendResponse
from endcap.v1.task_pb2 import TASK_FOR_YOU


SWAPS = 50
CALLERS = 4
PATIENT = Options(deadline=60.0)
KNOWN = {
    "ease": [f"item-{number}" for number in range(10)],
    "item_knn": [f"item-{number}" for number in range(20)],
}
SHELF = Placement(
    id="shelf", task=TASK_FOR_YOU, ladder=[Rung(strategy=strategy) for strategy in (*KNOWN, "popular")]
)
"""An answer of 15 items takes 10 from the first rung and 5 from the second."""


@dataclass
class Load:
    """Calls without a pause, until told to stop."""

    client: AsyncClient
    answers: list[RecommendResponse] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        while not self.stopping:
            self.answers.append(await self.client.recommend("shelf", visitor_id="eve", page_size=15))


async def test_no_call_fails_and_no_answer_mixes_two_generations(
    model_server: tuple[Settings, int], make_bundle: Callable[..., Path]
) -> None:
    settings, port = model_server
    async with AsyncClient(f"127.0.0.1:{port}", PATIENT) as client:
        await client.placements.CreatePlacement(CreatePlacementRequest(placement=SHELF))
        await client.record_events([Event(type="view", visitor_id="eve", item_id="item-3")])
        versions: dict[str, list[str]] = defaultdict(list)
        for model, item_ids in KNOWN.items():
            for seed in range(2):
                folder = make_bundle(settings.bundle_store, item_ids, seed=seed, model=model)
                await client.models.RegisterBundle(RegisterBundleRequest(path=f"{model}/{folder.name}"))
                versions[model].append(folder.name)
        generations: dict[str, set[str]] = {}
        active: dict[str, str] = {}

        async def activate(model: str, version: str) -> None:
            answer = await client.models.ActivateBundle(ActivateBundleRequest(model=model, version=version))
            active[model] = version
            generations[answer.generation] = {f"{name}@{number}" for name, number in active.items()}

        for model in KNOWN:
            generations.clear()  # what serves without the second model is none of those under load
            await activate(model, versions[model][0])
        load = Load(client)
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(load.run())
            for swap in range(SWAPS):
                model = ("ease", "item_knn")[swap % 2]
                await activate(model, versions[model][(swap // 2 + 1) % 2])
            load.stopping = True

    assert len(load.answers) >= SWAPS
    assert {answer.generation for answer in load.answers} == generations.keys()
    lists: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for answer in load.answers:
        assert not answer.degraded
        assert {bundle for result in answer.results for bundle in result.bundles} == generations[
            answer.generation
        ]
        lists[answer.generation].add(tuple(result.item_id for result in answer.results))
    assert [len(lists_of_one) for lists_of_one in lists.values()] == [1, 1, 1, 1]
    assert len(set.union(*lists.values())) == 4
