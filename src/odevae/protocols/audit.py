"""Everything in one fold that can make a score misleading, counted."""

import numpy as np

from odevae.data.recording import Recording, timing
from odevae.protocols.fold import Fold
from odevae.protocols.observations import BASELINE_BINS, Observations


def audit(fold: Fold, recording: Recording) -> dict:
    """Count, in the part of `fold` that is scored, everything that inflates or distorts a score.

    Returns:
        ``shared_trials``: share of the scored sequences whose trial is also in training.
        ``shared_trial_ids``, ``scored_trial_ids``: which ones.
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
        The clock of the recording and what reading its file did to its frames: see
        `odevae.data.recording.timing` and `odevae.data.recording.NOT_READ`.
    """
    part = fold.scored_part
    train, scored = fold.parts["train"], fold.parts[part]
    shared = np.isin(scored, train)
    trials = fold.raw.take(scored)
    padded = trials.mask & ~trials.recorded
    all_padded = fold.raw.mask & ~fold.raw.recorded
    values = fold.observed[scored]
    squares = ((values - values[trials.mask].mean()) ** 2).sum(axis=2)
    frames_recorded = sum(len(recording.frames_of(i)) for i in fold.raw.trial_ids)
    frames_used = sum(
        int((recording.time[f] - recording.time[f][0] <= fold.grid_s[-1] + 1e-6).sum())
        for f in map(recording.frames_of, fold.raw.trial_ids)
    )
    training = fold.raw.take(np.unique(train))
    silent = np.ptp(recording.activity, axis=0) == 0
    silent_in_training = np.ptp(training.values[training.mask], axis=0) == 0
    active_when_scored = np.ptp(trials.values[trials.mask], axis=0) > 0
    return {
        "scored_part": part,
        "scored_sequences": len(scored),
        "training_sequences": len(train),
        "usable_trials": len(fold.raw),
        "distinct_trials": len(np.unique(np.concatenate(list(fold.parts.values())))),
        "shared_trials": float(shared.mean()),
        "scored_trial_ids": fold.raw.trial_ids[scored].tolist(),
        "shared_trial_ids": np.unique(fold.raw.trial_ids[scored[shared]]).tolist(),
        "padded_fraction": float(padded.sum() / trials.mask.sum()),
        "padded_fraction_all_trials": float(all_padded.sum() / fold.raw.mask.sum()),
        "padded_variation_fraction": float(squares[padded].sum() / squares[trials.mask].sum()),
        "frames_used_fraction": frames_used / frames_recorded,
        "fitted_on": fold.about["fitted_on"],
        "fitted_before_split": fold.about["fitted_before_split"],
        "frames_seen_at_onset": BASELINE_BINS if Observations.parse(fold.about["observations"]).baseline else 1,
        "silent_neurons": int(silent.sum()),
        "silent_in_training": int((silent_in_training & active_when_scored).sum()),
        **recording.reading,
        **timing(recording),
    }
