import numpy as np
import pytest
import torch

from endcap.trainers import item_knn
from endcap.trainers.interactions import Interactions
from endcap.trainers.item_knn import (
    ItemKnnNetwork,
    ItemKnnParameters,
    basket_similarities,
    default_neighbors,
    likely_mode,
    sequence_similarities,
    trainer,
)
from endcap.trainers.similarity import strongest


def purchases(*events: tuple[str, str, int]) -> Interactions:
    """Build from (user, item, time)."""
    users, items, times = zip(*events, strict=True)
    return Interactions.of_columns(users, items, ["purchase"] * len(events), times, as_of=max(times))


SEQUENCES = purchases(("ann", "a", 1), ("bob", "a", 2), ("ann", "b", 3), ("ann", "c", 4))
"""Ann: a, b, c. Bob: a."""

BASKETS = purchases(
    ("ann", "a", 1), ("ann", "b", 1), ("ann", "c", 2), ("bob", "a", 3), ("bob", "b", 3), ("cid", "a", 4)
)
"""Ann: {a, b}, {c}. Bob: {a, b}. Cid: {a}."""


def test_a_sequence_counts_by_distance_and_less_backwards() -> None:
    near, _ = sequence_similarities(SEQUENCES.positives, 3, 3)

    # Popularity: a 2, b 1, c 1; source to the power of .5, candidate to the power of .2.
    expected: list[list[float]] = [
        [0, 1 / 2**0.5, 0.5 / 2**0.5],
        [0.7 / 2**0.2, 0, 1],
        [0.35 / 2**0.2, 0.7, 0],
    ]
    np.testing.assert_allclose(near.toarray(), expected, rtol=1e-6)


def test_after_counts_only_what_follows() -> None:
    _, after = sequence_similarities(SEQUENCES.positives, 3, 3)

    expected: list[list[float]] = [[0, 1 / 2**0.5, 0.5 / 2**0.5], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(after.toarray(), expected, rtol=1e-6)


def test_no_pair_is_further_apart_than_eleven() -> None:
    events = [("ann", chr(ord("a") + step), step) for step in range(13)]

    near, _ = sequence_similarities(purchases(*events).positives, 13, 13)

    assert near.toarray()[0, 11] == pytest.approx(1 / 11)
    assert near.toarray()[0, 12] == 0


def test_a_basket_counts_customers_with_both_by_how_much_they_buy() -> None:
    near, _ = basket_similarities(BASKETS.positives, 3, 3)

    # Ann has 3 products and counts 1/4, Bob has 2 and counts 1/3. Customers: a 3, b 2, c 1.
    expected: list[list[float]] = [
        [0, (1 / 4 + 1 / 3) / (3**0.5 * 2**0.7), 1 / 4 / 3**0.5],
        [(1 / 4 + 1 / 3) / (2**0.5 * 3**0.7), 0, 1 / 4 / 2**0.5],
        [1 / 4 / 3**0.7, 1 / 4 / 2**0.7, 0],
    ]
    np.testing.assert_allclose(near.toarray(), expected, rtol=1e-6)


def test_related_is_the_share_of_baskets_and_has_a_direction() -> None:
    _, after = basket_similarities(BASKETS.positives, 3, 3)

    # Two baskets hold a and b, each of two products: 2 · 1/3. Baskets: a 3, b 2.
    expected: list[list[float]] = [[0, 2 / 3 / (3 * 2**0.2), 0], [2 / 3 / (2 * 3**0.2), 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(after.toarray(), expected, rtol=1e-6)
    assert after[1, 0] > after[0, 1]


def test_the_mode_follows_from_whether_events_share_their_moment() -> None:
    assert likely_mode(SEQUENCES.positives) == "sequence"
    assert likely_mode(BASKETS.positives) == "basket"


def test_training_records_the_mode_for_the_strategy() -> None:
    automatic = trainer.train(BASKETS, ItemKnnParameters(), lambda _share, _what: None)
    chosen = trainer.train(BASKETS, ItemKnnParameters(mode="sequence"), lambda _share, _what: None)

    assert automatic.state["mode"] == "basket"
    assert chosen.state["mode"] == "sequence"


def test_counting_in_blocks_changes_no_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = basket_similarities(BASKETS.positives, 3, 2)
    monkeypatch.setattr(item_knn, "CELLS_AT_ONCE", 1)

    in_blocks = basket_similarities(BASKETS.positives, 3, 2)

    for one, other in zip(whole, in_blocks, strict=True):
        np.testing.assert_array_equal(one.toarray(), other.toarray())


@pytest.mark.parametrize(
    ("mode", "item_count", "kept"),
    [
        ("sequence", 10_000, 400),
        ("sequence", 50_000, 100),
        ("basket", 20_000, 20_000),
        ("basket", 20_001, 1_000),
    ],
)
def test_the_neighbors_kept_follow_from_mode_and_size(mode: str, item_count: int, kept: int) -> None:
    assert default_neighbors(mode, item_count) == kept


def test_only_the_strongest_neighbours_stay() -> None:
    near, _ = sequence_similarities(SEQUENCES.positives, 3, 3)

    kept = strongest(near, 1).toarray()

    assert (kept > 0).tolist() == [[False, True, False], [False, False, True], [False, True, False]]
    assert kept[0, 1] == near.toarray()[0, 1]


def test_the_graph_adds_up_the_similarities_of_each_profile() -> None:
    near, after = sequence_similarities(SEQUENCES.positives, 3, 3)
    module = ItemKnnNetwork(near, after)

    scores = module(
        rows=torch.tensor([0, 2]),
        weights=torch.tensor([[1.0, 0.5], [1.0, 0.0]]),
        directional=torch.tensor([False, True]),
    )

    expected = np.stack([near.toarray()[0] + 0.5 * near.toarray()[2], after.toarray()[0]])
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-6)
