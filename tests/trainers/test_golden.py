"""Golden queries of trained bundles: a fault in any part of a model changes an answer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest

from endcap.runtime.loading import load_bundle
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import ItemColumns, Task
from endcap.sdk.bundle import Bundle, write_bundle
from endcap.sdk.errors import BundleRefused
from endcap.sdk.features import DAY
from endcap.sdk.snapshot import Snapshot, conform, event_schema, item_table, user_schema, write_snapshot
from endcap.trainers.training import train_bundle


NOW = 1000 * DAY
HOST = PluginHost.discover()
TITLES = [f"{colour} {thing}" for thing in ("mug", "tea", "lamp") for colour in ("red", "blue", "green")]
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "content": {"embedding_size": 4, "steps": 5},
    "hybrid": {"base_models": "item_knn ease popular_week"},
    "popular": {},
}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Return a shop of nine items, which thirty users bought two each of, a month and a week ago."""
    items = ItemColumns(
        ids=[f"item{row}" for row in range(9)],
        titles=TITLES,
        categories=[()] * 9,
        prices=np.arange(1.0, 10),
        available=np.ones(9, np.bool_),
        created=np.zeros(9, np.int64),
    )
    events = [
        (f"user{user}", f"item{(user + step) % 9}", "purchase", NOW - age * DAY)
        for step, age in enumerate((60, 50, 40, 7))
        for user in range(30)
    ]
    return write_snapshot(
        tmp_path_factory.mktemp("shop") / "snapshot",
        items=item_table(items),
        users=user_schema().to_frame(),
        events=conform(
            pl.DataFrame(events, schema=["user", "item_id", "type", "time"], orient="row"), event_schema()
        ),
        shop="tiny",
        as_of=NOW,
    )


@pytest.fixture(scope="module")
def bundles(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Bundle]:
    """Return a bundle of each strategy."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        name: Bundle.open(
            train_bundle(
                name,
                snapshot,
                folder,
                host=HOST,
                created_time=NOW,
                progress=lambda _share, _what: None,
                values=values,
            ).bundle
        )
        for name, values in PARAMETERS.items()
    }


def rewrite(bundle: Bundle, folder: Path, change: Callable[[Any], Any], **state: Any) -> Path:
    """Write a bundle again with its largest tensor changed, under the same golden queries."""
    proto = onnx.load_from_string(bundle.model_bytes)
    if bundle.weights_folder:
        onnx.load_external_data_for_model(proto, str(bundle.weights_folder))
    weights = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    changed = np.ascontiguousarray(change(onnx.numpy_helper.to_array(weights)))
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
    manifest = bundle.manifest
    return write_bundle(
        folder,
        model=manifest.model,
        onnx=proto.SerializeToString(),
        item_ids=bundle.vocabulary.ids,
        created_time=manifest.created_time,
        snapshot=manifest.snapshot,
        parameters=manifest.parameters,
        state={**manifest.state, **state},
        metrics=manifest.metrics,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        golden_queries=manifest.golden_queries,
        golden_titles=manifest.golden_titles,
    )


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_a_bundle_that_was_not_changed_loads(
    name: str, bundles: Mapping[str, Bundle], tmp_path: Path
) -> None:
    load_bundle(rewrite(bundles[name], tmp_path, lambda weights: weights), HOST)


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("content", {Task.FOR_YOU, Task.SIMILAR, Task.RELATED, Task.RANK, Task.SEARCH}),
        ("hybrid", {Task.FOR_YOU, Task.RANK}),
        ("popular", set(Task)),
    ],
)
def test_every_task_of_a_strategy_is_asked_and_answered(
    name: str, tasks: set[Task], bundles: Mapping[str, Bundle]
) -> None:
    golden = bundles[name].manifest.golden_queries

    assert {query.task for query in golden} == set(map(str, tasks))
    assert {query.task for query in golden if query.expected} == set(map(str, tasks))


def test_the_golden_queries_of_texts_hold_the_titles_of_training(bundles: Mapping[str, Bundle]) -> None:
    manifest = bundles["content"].manifest

    assert set(manifest.golden_titles.values()) == set(TITLES)
    assert {query.text for query in manifest.golden_queries if query.task == "search"} <= set(TITLES)


def test_terms_that_were_mixed_up_are_found(bundles: Mapping[str, Bundle], tmp_path: Path) -> None:
    """The terms of the titles come first in the projection; two of them change places."""
    terms = len(bundles["content"].manifest.state["terms"])

    def swap(projection: Any) -> Any:
        order = np.arange(len(projection))
        order[:terms] = np.roll(order[:terms], 1)
        return projection[order]

    assert terms == 6
    with pytest.raises(BundleRefused, match="answers golden query"):
        load_bundle(rewrite(bundles["content"], tmp_path, swap), HOST)


@pytest.mark.parametrize("place", range(3))
def test_a_weight_of_any_base_model_is_checked_without_the_base_models(
    place: int, bundles: Mapping[str, Bundle], tmp_path: Path
) -> None:
    def raise_weight(weights: Any) -> Any:
        return weights + np.eye(3, dtype=np.float32)[place].reshape(weights.shape)

    names = list(bundles["hybrid"].manifest.state["weights"])
    state = {"weights": dict.fromkeys(names, 1.0)}
    with pytest.raises(BundleRefused, match="answers golden query"):
        load_bundle(rewrite(bundles["hybrid"], tmp_path, raise_weight, **state), HOST)


def test_base_models_that_changed_places_are_found(bundles: Mapping[str, Bundle], tmp_path: Path) -> None:
    weights = bundles["hybrid"].manifest.state["weights"]
    mixed = dict(zip(reversed(list(weights)), weights.values(), strict=True))

    with pytest.raises(BundleRefused, match="answers golden query"):
        load_bundle(rewrite(bundles["hybrid"], tmp_path, lambda graph: graph, weights=mixed), HOST)
