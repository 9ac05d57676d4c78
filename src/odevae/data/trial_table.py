"""Tables of trials: a CSV file with start and stop of each trial, and its conditions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from odevae.data.names import is_plain
from odevae.errors import OdevaeError

START, STOP = "start", "stop"


@dataclass(frozen=True)
class TrialTable:
    """``K`` trials.

    Attributes:
        bounds: ``(K, 2)`` float64, start and stop.
        covariates: the other columns of numbers by name, each ``(K,)`` float64; NaN where a cell is empty.
        left_out: why a column is no covariate, by name.
    """

    bounds: np.ndarray
    covariates: Mapping[str, np.ndarray]
    left_out: Mapping[str, str]


def read_trial_table(path: str) -> TrialTable:
    """Read a CSV file with the columns ``start`` and ``stop``, and any others, which are conditions.

    Raises:
        OdevaeError: if it cannot be read, lacks one of the two, or has a trial that does not end after its start.
    """
    import pandas as pd  # a second, for data sets with such a table only

    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except Exception as error:
        # The parser raises many kinds on what is no table.
        raise OdevaeError(
            f"{path}: is no table of trials ({type(error).__name__} while reading); give a CSV file in UTF-8 with the "
            f"columns {START} and {STOP}."
        ) from error
    names = [str(name).strip() for name in table.columns]
    table.columns = names
    if missing := [name for name in (START, STOP) if name not in names]:
        shown = ", ".join(name if name.isprintable() else ascii(name) for name in names) or "none"
        raise OdevaeError(
            f"{path}: lacks the column {missing[0]} (it has {shown[:200]}); separate columns by commas, and name "
            f"{START} and {STOP} in the first line."
        )
    kinds = {name: table[name].dtype for name in names}
    if unreadable := [name for name in (START, STOP) if not pd.api.types.is_numeric_dtype(kinds[name])]:
        raise OdevaeError(
            f"{path}: the column {unreadable[0]} holds text; give numbers with a point, in seconds or frames."
        )
    bounds = table[[START, STOP]].to_numpy(np.float64)
    if not len(bounds):
        raise OdevaeError(f"{path}: has no trials; give a line for each.")
    wrong = np.flatnonzero(~(np.isfinite(bounds).all(axis=1) & (bounds[:, 1] > bounds[:, 0])))
    if len(wrong):
        start, stop = bounds[wrong[0]]
        raise OdevaeError(
            f"{path}: {len(wrong)} of {len(bounds)} trials do not end after their start, first in row {wrong[0] + 1} "
            f"({START} {start:g}, {STOP} {stop:g}); correct them or leave them out."
        )
    conditions = [name for name in names if name not in (START, STOP)]
    if unprintable := [name for name in conditions if not is_plain(name)]:
        raise OdevaeError(
            f"{path}: a column has the name {unprintable[0][:100]!a}; give it one of printable characters."
        )
    numeric = [name for name in conditions if pd.api.types.is_numeric_dtype(kinds[name])]
    return TrialTable(
        bounds=bounds,
        covariates={name: table[name].to_numpy(np.float64) for name in numeric},
        left_out={name: "it is text; store a number for each word" for name in conditions if name not in numeric},
    )
