"""Item-to-item similarities inside a graph, dense or as lists of neighbours."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn


class DenseRows(nn.Module):
    """All similarities of an item, for matrices in which most pairs have one."""

    def __init__(self, matrix: NDArray[np.float32]) -> None:
        super().__init__()
        self.matrix: Tensor
        self.register_buffer("matrix", torch.from_numpy(matrix))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the similarities of each of ``rows`` to every item, ``(rows, items)``."""
        return self.matrix[rows]


class NeighbourRows(nn.Module):
    """The neighbours of an item and their similarities, in lists as long as the longest."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        super().__init__()
        lengths = np.diff(matrix.indptr)
        owners = np.repeat(np.arange(len(lengths)), lengths)
        places = np.arange(matrix.nnz) - matrix.indptr[owners]
        shape = (len(lengths), int(lengths.max(initial=1)))
        # A list is filled up with item 0 at similarity 0, which adds nothing.
        neighbours, similarities = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        neighbours[owners, places] = matrix.indices
        similarities[owners, places] = matrix.data
        self.neighbours: Tensor
        self.similarities: Tensor
        self.register_buffer("neighbours", torch.from_numpy(neighbours))
        self.register_buffer("similarities", torch.from_numpy(similarities))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the similarities of each of ``rows`` to every item, ``(rows, items)``."""
        neighbours = self.neighbours[rows].long()  # (rows, neighbours)
        zeros = self.similarities.new_zeros(rows.shape[0], self.neighbours.shape[0])  # (rows, items)
        return zeros.scatter_add(1, neighbours, self.similarities[rows])


def similarity_rows(matrix: sparse.csr_array) -> DenseRows | NeighbourRows:
    """Return the module of the two that takes less memory."""
    longest = int(np.diff(matrix.indptr).max(initial=0))
    if 2 * longest >= matrix.shape[1]:
        return DenseRows(matrix.toarray())
    return NeighbourRows(matrix)


def strongest(matrix: sparse.csr_array, count: int) -> sparse.csr_array:
    """Return the matrix with the ``count`` largest values of each row."""
    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= count:
        return matrix
    owners = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, owners))
    places = np.arange(matrix.nnz) - matrix.indptr[owners]
    kept = order[places < count]
    return sparse.csr_array((matrix.data[kept], (owners[kept], matrix.indices[kept])), shape=matrix.shape)
