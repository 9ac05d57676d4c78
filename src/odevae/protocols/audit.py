"""Everything in one fold that can make a score misleading, counted."""

import numpy as np

from odevae.data.recording import Recording, silent_neurons, timing
from odevae.data.trials import Trials, cut
from odevae.protocols.fold import Fold
from odevae.protocols.groups import time_to_nearest, trial_groups
from odevae.protocols.kernel import kernel_width
from odevae.protocols.observations import BASELINE_BINS, Observations
from odevae.protocols.unusual import unusual


def audit(fold: Fold, recording: Recording, group_by: str | None = None, test_fraction: float = 0.1) -> dict:
    """Count, in the part of `fold` that is scored, everything that inflates or distorts a score.

    Args:
        fold: of any protocol.
        recording: that it was made of.
        group_by, test_fraction: which trials belong together, see `odevae.protocols.groups.trial_groups`.

    Returns:
        ``shared_trials``: share of the scored sequences whose trial is also in training.
        ``shared_trial_ids``, ``scored_trial_ids``: which ones.
        ``group_by``: what was given; ``shared_groups``: share of the scored sequences whose group is also in training,
        ``validation_shared_groups``: the same of the validation sequences (both None without groups); ``groups``: those
        of each part.
        ``nearest_training``: the shortest time between a scored trial and a training trial on one clock, None if
        there are no two; ``in_no_part``: how many usable trials are in no part.
        ``distinct_trials``: how many trials the sequences of all parts come from, of ``usable_trials``.
        ``padded_fraction``: share of the scored bins that are after the end of their trial;
        ``padded_fraction_all_trials``: the same over every usable trial.
        ``padded_variation_fraction``: share of the sum of squares about the scalar mean (the denominator of the
        paper's eq. 13) that falls in those bins.
        ``frames_used_fraction``: share of the recorded frames of the usable trials that the grid covers.
        ``fitted_before_split``: what was fitted on held-out frames too.
        ``frames_seen_at_onset``: frames of a scored trial that enter its prediction through the first frame and the
        baseline.
        ``silent_neurons``: constant in the whole recording; ``silent_in_training``: constant in the training trials,
        but not in the scored ones.
        ``events``: what counts as one, see `odevae.protocols.fold.Fold.events`; ``zero_fraction``: share of the values
        of the usable trials that are exactly zero; ``kernel_frames``: see `odevae.protocols.kernel.kernel_width`. A
        forecast less than a kernel ahead predicts, in part, frames that it has seen.
        The clock of the recording and what reading its file did to its frames: see
        `odevae.data.recording.timing` and `odevae.data.recording.NOT_READ`.
        ``unusual``: see `odevae.protocols.unusual.unusual`.
    """
    part = fold.scored_part
    train, scored = fold.parts["train"], fold.parts[part]
    shared = np.isin(scored, train)
    mask = fold.raw.mask[scored]
    padded = mask & ~fold.raw.recorded[scored]
    all_padded = fold.raw.mask & ~fold.raw.recorded
    squares = _squares(fold.observed, scored, mask)
    frames_recorded = sum(len(recording.frames_of(i)) for i in fold.raw.trial_ids)
    frames_used = sum(
        int((recording.time[f] - recording.time[f][0] <= fold.grid_s[-1] + 1e-6).sum())
        for f in map(recording.frames_of, fold.raw.trial_ids)
    )
    silent_in_training = ~_active(fold.raw, train)
    active_when_scored = _active(fold.raw, scored)
    nearest = float(time_to_nearest(recording, fold.raw.trial_ids, scored, train).min())
    used = np.unique(np.concatenate(list(fold.parts.values())))
    # On native frames also where the fold was resampled.
    native = cut(recording, recording.activity, fold.raw.trial_ids)
    return {
        "scored_part": part,
        "scored_sequences": len(scored),
        "training_sequences": len(train),
        "usable_trials": len(fold.raw),
        "distinct_trials": len(used),
        "shared_trials": float(shared.mean()),
        "scored_trial_ids": fold.raw.trial_ids[scored].tolist(),
        "shared_trial_ids": np.unique(fold.raw.trial_ids[scored[shared]]).tolist(),
        **_groups(fold, recording, group_by, test_fraction),
        "nearest_training": nearest if np.isfinite(nearest) else None,
        "in_no_part": len(fold.raw) - len(used),
        "padded_fraction": float(padded.sum() / mask.sum()),
        "padded_fraction_all_trials": float(all_padded.sum() / fold.raw.mask.sum()),
        "padded_variation_fraction": float(squares[padded].sum() / squares[mask].sum()),
        "frames_used_fraction": frames_used / frames_recorded,
        "fitted_on": fold.about["fitted_on"],
        "fitted_before_split": fold.about["fitted_before_split"],
        "frames_seen_at_onset": BASELINE_BINS if Observations.parse(fold.about["observations"]).baseline else 1,
        "silent_neurons": int(silent_neurons(recording).sum()),
        "silent_in_training": int((silent_in_training & active_when_scored).sum()),
        "events": fold.events,
        "zero_fraction": _zero_fraction(native),
        "kernel_frames": kernel_width(native),
        **recording.reading,
        **timing(recording),
        "unusual": unusual(recording),
    }


def _groups(fold: Fold, recording: Recording, group_by: str | None, test_fraction: float) -> dict:
    """The groups of each part, and how many scored sequences share theirs with training."""
    if group_by is None:
        return {"group_by": None, "shared_groups": None, "validation_shared_groups": None, "groups": {}}
    groups = trial_groups(recording, fold.raw.trial_ids, group_by, test_fraction)
    of_part = {name: groups[rows] for name, rows in fold.parts.items()}

    def shared(part: str) -> float:
        return float(np.isin(of_part[part], of_part["train"]).mean())

    return {
        "group_by": group_by,
        "shared_groups": shared(fold.scored_part),
        "validation_shared_groups": shared("validation"),
        "groups": {name: np.unique(values).tolist() for name, values in of_part.items()},
    }


def _squares(observed: np.ndarray, rows: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Squared distance of each counted bin of the trials `rows` from the scalar mean of them all, ``(B, L)``."""
    total = sum(float(observed[row][m].sum(dtype=np.float64)) for row, m in zip(rows, mask, strict=True))
    mean = total / (mask.sum() * observed.shape[2])
    return np.array([np.square(observed[row] - mean).sum(axis=1, dtype=np.float64) for row in rows])


def _active(raw: Trials, rows: np.ndarray) -> np.ndarray:
    """Which neurons are not constant in the counted bins of the trials `rows`, ``(N,)``."""
    highest, lowest = np.full((2, raw.values.shape[2]), [[-np.inf], [np.inf]])
    for row in np.unique(rows):
        values = raw.values[row][raw.mask[row]]
        highest, lowest = np.maximum(highest, values.max(axis=0)), np.minimum(lowest, values.min(axis=0))
    return highest > lowest


def _zero_fraction(trials: Trials) -> float:
    """Share of the values inside the trials that are exactly zero; one trial at a time, without a copy of them all."""
    zeros = sum(int((values[inside] == 0).sum()) for values, inside in zip(trials.values, trials.recorded, strict=True))
    return zeros / (int(trials.recorded.sum()) * trials.values.shape[2])
