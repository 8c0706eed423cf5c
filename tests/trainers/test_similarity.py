import numpy as np
import pytest
import torch
from scipy import sparse

from endcap.trainers.similarity import DenseRows, NeighbourRows, similarity_rows


MATRIX = np.array([[0, 0.5, 0, 0.25], [0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4], [0.7, 0, 0, 0]], np.float32)


@pytest.mark.parametrize("module", [DenseRows(MATRIX), NeighbourRows(sparse.csr_array(MATRIX))])
def test_both_forms_give_the_rows_of_the_matrix(module: DenseRows | NeighbourRows) -> None:
    rows = module(torch.tensor([3, 0, 1, 2, 0]))

    assert rows.numpy().tolist() == MATRIX[[3, 0, 1, 2, 0]].tolist()


def test_a_full_matrix_is_kept_dense() -> None:
    assert isinstance(similarity_rows(sparse.csr_array(MATRIX)), DenseRows)


def test_a_sparse_matrix_is_kept_as_lists() -> None:
    assert isinstance(similarity_rows(sparse.csr_array(np.eye(10, dtype=np.float32))), NeighbourRows)


def test_a_matrix_without_any_pair_gives_zeros() -> None:
    module = similarity_rows(sparse.csr_array((5, 5), dtype=np.float32))

    assert module(torch.tensor([0, 4])).tolist() == [[0.0] * 5] * 2
