"""Scores that rest on few trials are called what they are, below tables and on pages."""

from collections.abc import Sequence

import pandas as pd

from odevae.protocols.few_trials import ENOUGH_TRIALS, note_on_trials


def notes_of(table: pd.DataFrame, names: Sequence[str] = ("dataset", "protocol")) -> list[str]:
    """A sentence for each part of a table whose scores rest on fewer than `ENOUGH_TRIALS` trials.

    Args:
        table: ``test_trials`` is the number of trials that a row was scored on, None where a row has no score.
        names: columns whose values name a part.
    """
    few = table[pd.to_numeric(table["test_trials"]) < ENOUGH_TRIALS]
    fewest = few.groupby(list(names), sort=False)["test_trials"].min().reset_index().to_dict("records")
    return [note_on_trials(", ".join(part[name] for name in names), int(part["test_trials"])) for part in fewest]
