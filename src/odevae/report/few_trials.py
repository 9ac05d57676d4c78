"""Scores that rest on few trials are called what they are, below tables and on pages."""

from collections.abc import Sequence

import pandas as pd

# Scores on fewer trials depend on which trials they are.
FEW_TRIALS = 5


def notes_of(table: pd.DataFrame, names: Sequence[str] = ("dataset", "protocol")) -> list[str]:
    """A sentence for each part of a table whose scores rest on fewer than `FEW_TRIALS` trials.

    Args:
        table: ``test_trials`` is the number of trials that a row was scored on, None where a row has no score.
        names: columns whose values name a part.
    """
    few = table[pd.to_numeric(table["test_trials"]) < FEW_TRIALS]
    fewest = few.groupby(list(names), sort=False)["test_trials"].min().reset_index().to_dict("records")
    return [
        f"{', '.join(part[name] for name in names)}: scored on {part['test_trials']:.0f} "
        f"{'trial' if part['test_trials'] == 1 else 'trials'}; that is an anecdote, not a result."
        for part in fewest
    ]
