from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from endcap.runtime.instances import Generation, Instances
from endcap.runtime.loading import load_bundle
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Eligibility, EventColumns, ItemColumns, Query, Task, build_view
from endcap.sdk.content_features import BUCKETS, TermIndex
from endcap.sdk.features import DAY
from endcap.sdk.snapshot import (
    Snapshot,
    conform,
    event_schema,
    item_columns,
    item_table,
    user_schema,
    write_snapshot,
)
from endcap.trainers import content
from endcap.trainers.collaborative_mapping import CollaborativeMapping
from endcap.trainers.content import ContentNetwork, ContentParameters
from endcap.trainers.interactions import Interactions
from endcap.trainers.trainer import TrainedModel
from endcap.trainers.training import train_bundle


NOW = 1000 * DAY
COLOURS = ("red", "blue", "green", "white")
TITLES = [f"{colour} {thing}" for thing in ("mug", "tea", "lamp") for colour in COLOURS]
"""Red mug, blue mug, …; red tea, …; red lamp, …"""


def quiet(_share: float, _what: str) -> None:
    """Tell nobody of the progress."""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Return a shop where who buys a mug buys tea next, of any colour, and one new item in Chinese."""
    titles = [*TITLES, "绿茶 mug"]
    items = ItemColumns(
        ids=[f"item{row}" for row in range(len(titles))],
        titles=titles,
        categories=[()] * len(titles),
        prices=np.arange(1.0, len(titles) + 1),
        available=np.ones(len(titles), np.bool_),
        created=np.zeros(len(titles), np.int64),
    )
    generator = np.random.default_rng(5)
    events = [
        (f"user{user}", f"item{row}", "purchase", NOW - (2 - day) * DAY)
        for user in range(60)
        for day, row in enumerate(
            [user % 12] * 2 if user % 3 == 2 else [generator.integers(4), 4 + generator.integers(4)]
        )
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
def interactions(snapshot: Snapshot) -> Interactions:
    return Interactions.of_snapshot(snapshot)


@pytest.fixture(scope="module")
def trained(interactions: Interactions) -> TrainedModel:
    """Return a model small enough to learn in a second."""
    return content.trainer.train(interactions, ContentParameters(embedding_size=8, steps=30), quiet)


def cosine(trained: TrainedModel, part: slice, first: str, second: str) -> float:
    index = TermIndex(trained.state["terms"])
    terms, counts = index.count([text.split() for text in (first, second)]).table(0, 2)
    vectors = trained.module(
        terms=torch.from_numpy(terms), counts=torch.from_numpy(counts), prices=torch.ones(2)
    )[:, part]
    return float(vectors[0] @ vectors[1])


def test_terms_are_those_of_two_items_and_the_most_frequent_stay() -> None:
    documents = [["mug", "mug", "red"], ["mug", "red", "tag=new"], ["mug", "tag=new", "tea"]]

    assert content.known_terms(documents, 9) == ["mug", "red", "tag=new"]
    assert content.known_terms(documents, 2) == ["mug", "red"]


def test_a_rare_term_weighs_more_and_an_unseen_one_as_much_as_that_of_one_item() -> None:
    """Three items: ``mug`` is in all, ``red`` in one."""
    counts = TermIndex(["mug", "red"]).count([["mug"], ["mug", "red"], ["mug"]])

    idf = content.inverse_frequencies(counts, 3)

    np.testing.assert_allclose(idf, [1 + log(4 / 4), 1 + log(4 / 2), 1 + log(4 / 2)], rtol=1e-6)


def test_words_and_labels_are_scaled_each_by_themselves() -> None:
    """Words weigh (1 + ln 2) · 1 and 1 · 2; labels together weigh √.2 of them."""
    module = ContentNetwork(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0.0, 0.0, 1.0]), torch.zeros(1))

    weights = module.weigh(torch.arange(3), torch.tensor([[2.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))

    words = np.array([1 + log(2), 2])
    expected = [[*(words / np.linalg.norm(words)), 0.2**0.5], [0, 0, 0]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_prices_are_near_by_their_ratio() -> None:
    """2 and 4 are as near as 10 and 20; what has no price, or a price of nothing, has no bumps."""
    prices = torch.tensor([2.0, 4, 10, 20, 0, float("nan")])
    module = ContentNetwork(
        torch.ones(1), torch.zeros(1), content.price_centres(np.array([0.1, 500, np.nan]))
    )

    bumps = module(terms=torch.zeros(1, dtype=torch.int64), counts=torch.zeros(6, 1), prices=prices)[:, 2:]

    expected = exp(-(log(2) ** 2) / 0.49)
    np.testing.assert_allclose([bumps[0] @ bumps[1], bumps[2] @ bumps[3]], expected, atol=2e-3)
    np.testing.assert_allclose(bumps.norm(dim=1), [1, 1, 1, 1, 0, 0], rtol=1e-6)


def test_a_price_beyond_all_others_counts_as_the_last_of_them() -> None:
    module = ContentNetwork(torch.ones(1), torch.zeros(1), content.price_centres(np.array([1.0, 8.0])))
    nothing = {"terms": torch.zeros(1, dtype=torch.int64), "counts": torch.zeros(2, 1)}

    bumps = module(**nothing, prices=torch.tensor([9.0, 900.0]))[:, 2:]

    assert bumps[0] @ bumps[1] > 0.9


def test_the_projection_halves_the_exponent_of_the_singular_values() -> None:
    """With ``Z = U √S``, the products of the vectors are the square root of those of the weights."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand((7, 5), generator=generator)
    padded = torch.cat([weights, torch.zeros(7, BUCKETS)], dim=1).to_sparse()

    vectors = padded @ content.text_projection(padded, 5, seed=0)

    products = vectors @ vectors.T
    np.testing.assert_allclose(products @ products, weights @ weights.T, rtol=1e-3, atol=1e-4)


def test_buckets_point_anywhere_and_are_as_long_as_words() -> None:
    weights = torch.cat([torch.eye(6), torch.zeros(6, BUCKETS)], dim=1).to_sparse()

    projection = content.text_projection(weights, 6, seed=0)

    lengths = projection.norm(dim=1)
    np.testing.assert_allclose(lengths[6:], lengths[:6].mean(), rtol=1e-5)
    assert abs(float(projection[6] @ projection[7])) < float(lengths[6] * lengths[7])


def test_words_bought_together_come_near_in_the_collaborative_part_alone(
    trained: TrainedModel,
) -> None:
    text, collaborative = slice(0, 8), slice(8, 16)

    assert abs(cosine(trained, text, "mug", "tea")) < 0.5
    assert cosine(trained, collaborative, "mug", "tea") > cosine(trained, text, "mug", "tea") + 0.2
    assert cosine(trained, collaborative, "mug", "tea") > cosine(trained, collaborative, "mug", "lamp")


def test_without_steps_collaborative_is_text(interactions: Interactions) -> None:
    untaught = content.trainer.train(interactions, ContentParameters(embedding_size=8, steps=0), quiet)

    projection = untaught.module.state_dict()["projection"]

    np.testing.assert_array_equal(projection[:, :8], projection[:, 8:])


def test_nothing_is_learned_from_users_of_one_item() -> None:
    interactions = Interactions.of_columns(
        ["ann", "ann", "ben"], ["a", "a", "b"], ["view"] * 3, [1, 2, 3], as_of=3
    )
    weights, start = torch.eye(2, 2 + BUCKETS).to_sparse(), torch.ones(2 + BUCKETS, 4)

    learned = CollaborativeMapping(weights, start, interactions.positives).learn(
        steps=5, seed=0, progress=quiet
    )

    np.testing.assert_array_equal(learned, start)


def test_the_same_seed_gives_the_same_model_and_the_global_state_is_left_alone(
    interactions: Interactions, trained: TrainedModel
) -> None:
    before = torch.random.get_rng_state()

    again = content.trainer.train(interactions, ContentParameters(embedding_size=8, steps=30), quiet)

    first, second = (each.module.state_dict()["projection"] for each in (trained, again))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_items_without_words_can_still_be_trained_on(interactions: Interactions) -> None:
    blank = replace(interactions, items=replace(interactions.items, titles=[""] * len(interactions.item_ids)))

    trained = content.trainer.train(blank, ContentParameters(embedding_size=4), quiet)

    assert trained.state["terms"] == []


def test_what_serves_recommends_an_item_that_nobody_bought(snapshot: Snapshot, tmp_path: Path) -> None:
    """From the snapshot through parity gate and golden queries to an answer about the new Chinese mug."""
    host = PluginHost.discover()
    training = train_bundle(
        "content",
        snapshot,
        tmp_path,
        host=host,
        created_time=NOW,
        progress=quiet,
        values={"embedding_size": 8, "steps": 5},
    )
    model = load_bundle(training.bundle, host)
    strategy = Instances(host, Generation.of([model])).get("content")
    view = build_view(item_columns(snapshot.items()), EventColumns.none(), version="1", as_of=NOW)
    new = len(TITLES)
    similar = Query(Task.SIMILAR, limit=12, time=NOW, eligible=Eligibility(view.available))
    search = replace(similar, task=Task.SEARCH, text="绿茶", candidates=np.arange(13, dtype=np.int32))

    answers = strategy.recommend([replace(similar, items=np.array([0], np.int32)), search], view)

    assert view.vocabulary.ids[new] not in model.vocabulary
    assert new in answers[0].rows[:6], "a mug is more like a red mug than most"
    assert answers[1].rows[0] == new
