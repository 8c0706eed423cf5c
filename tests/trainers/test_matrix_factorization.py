from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils._python_dispatch import TorchDispatchMode

from endcap.sdk.features import DAY
from endcap.trainers.interactions import Interactions
from endcap.trainers.matrix_factorization import (
    MatrixFactorizationNetwork,
    MatrixFactorizationParameters,
    conjugate_gradients,
    hide,
    initial_embeddings,
    least_squares,
    recencies,
    trainer,
)


SMALL = MatrixFactorizationParameters(embedding_size=2, regularization=0.1, half_life_days=0)


def two_tastes() -> Interactions:
    """Six customers of tea and six of tools; each lacks one of the four items of the taste."""
    events = [
        (f"{taste} {user}", f"{taste} {item}")
        for taste in ("tea", "tool")
        for user in range(6)
        for item in range(4)
        if user % 4 != item
    ]
    users, items = zip(*events, strict=True)
    return Interactions.of_columns(users, items, ["purchase"] * len(events), range(len(events)), as_of=1000)


def quiet(_share: float, _what: str) -> None:
    """Tell nobody."""


def test_one_factor_by_hand() -> None:
    """With items 1 and 2 in one dimension, λ = 1, α = 3, a user who chose the first just now.

    The normal equation is (1² + 2² + 1 + 3·1²) x = (1 + 3)·1, so x = 4/9.
    """
    recency = sparse.csr_array(np.array([[1, 0]], np.float32))

    users = least_squares(recency, torch.tensor([[1.0], [2.0]]), regularization=1, confidence=3)

    np.testing.assert_allclose(users, [[4 / 9]], rtol=1e-6)


def test_an_older_choice_has_less_confidence() -> None:
    """The same user a half-life later: (6 + 3/2) x = 1 + 3/2, so x = 1/3."""
    recency = sparse.csr_array(np.array([[0.5, 0]], np.float32))

    users = least_squares(recency, torch.tensor([[1.0], [2.0]]), regularization=1, confidence=3)

    np.testing.assert_allclose(users, [[1 / 3]], rtol=1e-6)


def test_least_squares_is_the_minimum_of_what_the_paper_minimises() -> None:
    """At the solution, the gradient of Σ c (p − xᵀy)² + λ |x|² is zero for every user."""
    generator = np.random.default_rng(3)
    dense = np.where(generator.random((30, 12)) < 0.3, generator.random((30, 12)), 0).astype(np.float32)
    items = torch.from_numpy(generator.normal(size=(12, 4)).astype(np.float32))

    users = least_squares(sparse.csr_array(dense), items, regularization=2, confidence=5).requires_grad_()

    recency = torch.from_numpy(dense)
    errors = (1 + 5 * recency) * ((recency > 0).float() - users @ items.T) ** 2
    (errors.sum() + 2 * (users**2).sum()).backward()  # type: ignore[no-untyped-call]
    assert users.grad is not None
    np.testing.assert_allclose(users.grad, np.zeros((30, 4)), atol=1e-3)


def test_a_user_without_choices_has_no_factors() -> None:
    recency = sparse.csr_array(np.array([[0, 0], [1, 0]], np.float32))

    users = least_squares(recency, torch.tensor([[1.0], [2.0]]), regularization=1, confidence=3)

    assert users.tolist()[0] == [0]


def test_conjugate_gradients_need_a_step_a_dimension() -> None:
    """[[4, 1], [1, 3]] x = [1, 2] has the solution [1/11, 7/11], after two steps."""
    matrix = torch.tensor([[4.0, 1.0], [1.0, 3.0]])

    solution = conjugate_gradients(lambda rows: rows @ matrix, torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 2)

    np.testing.assert_allclose(solution, [[1 / 11, 7 / 11], [0.0, 0.0]], rtol=1e-5)


def test_the_graph_folds_users_in_as_training_solved_for_them() -> None:
    generator = np.random.default_rng(5)
    recency = np.where(generator.random((20, 50)) < 0.4, generator.random((20, 50)), 0).astype(np.float32)
    items = torch.from_numpy(generator.normal(size=(50, 8)).astype(np.float32))

    module = MatrixFactorizationNetwork(items, regularization=3, confidence=5)
    scores = module(
        rows=torch.arange(50), weights=torch.from_numpy(recency), similar=torch.zeros(20, dtype=torch.bool)
    )

    users = least_squares(sparse.csr_array(recency), items, regularization=3, confidence=5)
    np.testing.assert_allclose(scores.numpy(), (users @ items.T).numpy(), atol=1e-4)


def test_similar_is_the_cosine() -> None:
    module = MatrixFactorizationNetwork(torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.0, -1.0]]), 1, 1)

    scores = module(
        rows=torch.tensor([0]), weights=torch.tensor([[1.0]]), similar=torch.ones(1, dtype=torch.bool)
    )

    np.testing.assert_allclose(scores, [[1, 0.6, 0]], atol=1e-6)


def test_similar_to_several_items_is_the_weighted_sum_of_their_cosines() -> None:
    generator = np.random.default_rng(7)
    items = generator.normal(size=(50, 8)).astype(np.float32)
    weights = generator.random((3, 20)).astype(np.float32)
    rows = generator.choice(50, 20, replace=False)

    module = MatrixFactorizationNetwork(torch.from_numpy(items), 1, 1)
    scores = module(
        rows=torch.from_numpy(rows),
        weights=torch.from_numpy(weights),
        similar=torch.ones(3, dtype=torch.bool),
    )

    lengths = np.linalg.norm(items, axis=1)
    cosines = items @ items.T / np.outer(lengths, lengths)
    np.testing.assert_allclose(scores, weights @ cosines[rows], atol=1e-5)


def test_the_graph_multiplies_nothing_as_large_as_all_items_of_profiles_by_all_items() -> None:
    """For two profiles with 40 items among 500: two rows of 500 scores, and never 40."""
    module = MatrixFactorizationNetwork(torch.randn(500, 8, generator=torch.Generator().manual_seed(0)), 1, 1)
    shapes: list[torch.Size] = []

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                shapes.append(result.shape)
            return result

    with Watch():  # type: ignore[no-untyped-call]
        module(rows=torch.arange(40), weights=torch.ones(2, 40), similar=torch.tensor([True, False]))

    assert torch.Size([2, 500]) in shapes
    assert torch.Size([40, 500]) not in shapes


def test_recency_is_that_of_the_last_choice_and_halves_with_the_half_life() -> None:
    interactions = Interactions.of_columns(
        ["ann", "ann", "bob", "ann"],
        ["a", "b", "b", "a"],
        ["purchase"] * 4,
        [0, 10 * DAY, 20 * DAY, 30 * DAY],
        as_of=30 * DAY,
    )

    recency = recencies(interactions, half_life_days=10)

    np.testing.assert_allclose(recency.toarray(), [[1, 0.25], [0, 0.5]])


def test_hidden_and_shown_choices_make_up_all() -> None:
    recency = sparse.csr_array(np.eye(50, dtype=np.float32))

    shown, hidden = hide(recency, np.random.default_rng(0))

    np.testing.assert_array_equal((shown + hidden).toarray(), np.eye(50))
    assert 0 < hidden.nnz < shown.nnz


def test_ranking_loss_moves_the_factors() -> None:
    squared, ranked = (
        trainer.train(two_tastes(), replace(SMALL, loss=loss), quiet).module.state_dict()["unit"]
        for loss in ("squared", "bpr")
    )

    assert not torch.equal(squared, ranked)


def test_another_seed_gives_other_factors() -> None:
    first, other = (
        trainer.train(two_tastes(), replace(SMALL, seed=seed), quiet).module.state_dict()["unit"]
        for seed in (0, 1)
    )

    assert not torch.equal(first, other)


def test_the_first_embeddings_belong_to_ids_and_not_to_places() -> None:
    embeddings = initial_embeddings(["mug", "tea", "lamp"], 64, seed=3)

    np.testing.assert_array_equal(initial_embeddings(["lamp", "mug"], 64, seed=3), embeddings[[2, 0]])
    assert embeddings.std() == pytest.approx(0.1 / 8, rel=0.2)
    assert len(np.unique(embeddings)) == 3 * 64
