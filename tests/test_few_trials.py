import pandas as pd
import pytest

from odevae.report.few_trials import notes_of

ROWS = [
    {"dataset": "disc", "protocol": "heldout", "test_trials": 1},
    {"dataset": "disc", "protocol": "published", "test_trials": 4.5},
    {"dataset": "e65", "protocol": "heldout", "test_trials": 10},
    {"dataset": "sphere", "protocol": "heldout", "test_trials": 5},
    {"dataset": "e65", "protocol": "heldout", "test_trials": None},
]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["dataset"], ["disc: scored on 1 trial"]),
        (["dataset", "protocol"], ["disc, heldout: scored on 1 trial", "disc, published: scored on 4 trials"]),
    ],
)
def test_each_part_with_few_trials_has_a_note(names, parts):
    notes = notes_of(pd.DataFrame(ROWS, dtype=object), names)
    assert notes[:-1] == [f"{part}; that is an anecdote, not a result." for part in parts]
    assert notes[-1].endswith("scored on 5 trials, fewer than 10; another draw of trials can change the order.")


def test_enough_trials_need_no_note():
    assert notes_of(pd.DataFrame([ROWS[2], ROWS[4]], dtype=object)) == []
