import numpy as np
import pytest
import torch
from scipy import sparse

from endcap.sdk.errors import InvalidInput
from endcap.trainers import ease
from endcap.trainers.interactions import Interactions


def test_two_items_by_hand() -> None:
    """Three customers bought both, one bought only the first: XᵀX + 1 = [[5, 3], [3, 4]]."""
    matrix = sparse.csr_array(np.array([[1, 1], [1, 1], [1, 1], [1, 0]], np.float32))

    weights = ease.solve(matrix, 1.0)

    # The inverse is [[4, -3], [-3, 5]] / 11.
    np.testing.assert_allclose(weights, [[0, 3 / 5], [3 / 4, 0]], rtol=1e-6)


def test_every_column_is_the_ridge_regression_on_all_others() -> None:
    generator = np.random.default_rng(7)
    matrix = (generator.random((40, 9)) < 0.3).astype(np.float64)

    weights = ease.solve(sparse.csr_array(matrix.astype(np.float32)), 5.0)

    for column in range(9):
        others = np.delete(np.arange(9), column)
        features = matrix[:, others]
        ridge = np.linalg.solve(features.T @ features + 5.0 * np.eye(8), features.T @ matrix[:, column])
        np.testing.assert_allclose(weights[others, column], ridge, rtol=1e-5, atol=1e-7)
        assert weights[column, column] == 0


def test_a_profile_is_scored_by_the_sum_of_its_rows() -> None:
    weights = np.array([[0, 0.5, 0.25], [0.1, 0, 0.2], [0.3, 0.4, 0]], np.float32)

    scores = ease.EaseNetwork(weights)(rows=torch.tensor([0, 2]), weights=torch.tensor([[1.0, 1.0]]))

    np.testing.assert_allclose(scores, [[0.3, 0.9, 0.25]], rtol=1e-6)


def test_more_items_than_a_file_holds_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "MAXIMUM_ITEMS", 1)
    interactions = Interactions.of_columns(["ann", "ann"], ["a", "b"], ["view", "view"], [1, 2], as_of=2)

    with pytest.raises(InvalidInput, match="train item_knn with 'max_neighbors' instead"):
        ease.trainer.train(interactions, ease.EaseParameters(), lambda _share, _what: None)
