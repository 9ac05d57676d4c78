"""Averages over the runs of a table.

Cells are Python objects: None where a run has no score, as after it diverged, NaN where its score is not defined. None
is left out of an average, NaN is not: a mean that hides it would look better than the runs are.
"""

import pandas as pd


def mean_of(column: pd.Series) -> float | None:
    """Mean of the scores that are there; None if there are none."""
    values = _known(column)
    return float(values.mean(skipna=False)) if len(values) else None


def sd_of(column: pd.Series) -> float | None:
    """Standard deviation (n - 1) of the scores that are there; None for fewer than two."""
    values = _known(column)
    return float(values.std(skipna=False)) if len(values) > 1 else None


def _known(column: pd.Series) -> pd.Series:
    return column[[value is not None for value in column]].astype(float)
