"""Large arrays in pieces, so that what is computed from them needs little memory of its own."""

from collections.abc import Iterator

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
