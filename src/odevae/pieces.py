"""Large arrays in pieces, so that what is computed from them needs little memory of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# 32 MB in double precision: long enough for fast matrix products.
PIECE_VALUES = 2**22


def pieces(n_rows: int, row_size: int) -> Iterator[slice]:
    """Slices of all rows in order, each of `PIECE_VALUES` values or fewer, but at least one row.

    Args:
        n_rows: rows of the array.
        row_size: values of each row.
    """
    step = max(1, PIECE_VALUES // max(row_size, 1))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


@dataclass(frozen=True)
class Computed:
    """An array of which only those rows are computed that are asked for, each time that they are.

    Attributes:
        shape: of the whole array.
        compute: from a slice to these rows.
    """

    shape: tuple[int, ...]
    compute: Callable[[slice], np.ndarray]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.compute(rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        for row in range(len(self)):
            yield self.compute(slice(row, row + 1))[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.compute(slice(None)), dtype=dtype)
