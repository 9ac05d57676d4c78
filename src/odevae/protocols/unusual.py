"""What is unusual about a recording, in one sentence, before anything is trained."""

import numpy as np

from odevae.data.frames import FRAME_NUMBERS
from odevae.data.recording import Recording, silent_neurons, timing
from odevae.protocols.few_trials import FEW_TRIALS

# From imaging of whole brains to spikes in bins of 5 ms.
USUAL_RATE_HZ = (1.0, 200.0)
# From a saccade to a long run through a maze.
USUAL_TRIAL_S = (0.3, 120.0)
FEWEST_FRAMES = 10
# The share of the trials that a split tests, if the configuration does not change it.
TESTED_SHARE = 0.1
# Shares of neurons, frames, trials and values above which a recording is unusual.
SILENT_SHARE, OUTSIDE_SHARE, DROPPED_SHARE, FILLED_SHARE = 0.25, 0.5, 0.5, 0.05


def unusual(recording: Recording) -> str | None:
    """What is unusual about a recording, as one sentence; None if nothing is.

    A simulation is as the configuration wants it, so only what was read from files is looked at.
    """
    found = _unusual(recording) if "reading" in recording.source else []
    return f"{recording.name} is unusual, so check the file and its settings: {'; '.join(found)}." if found else None


def _unusual(recording: Recording) -> list[str]:
    """What is unusual, in phrases."""
    reading, clock, found = recording.reading, timing(recording), []
    key = f"datasets.{recording.name}"
    n_trials, n_neurons = len(recording.trial_ids), recording.n_neurons
    if TESTED_SHARE * n_trials < FEW_TRIALS:
        tested = max(1, round(TESTED_SHARE * n_trials))
        found.append(f"it has {n_trials} trials, so a split that tests a tenth of them rests on {tested}")
    silent = int(silent_neurons(recording).sum())
    if silent > SILENT_SHARE * n_neurons:
        found.append(f"{silent} of {n_neurons} neurons are silent (constant in all trials)")
    _, median, _ = clock["trial_lengths"]
    if clock["time_unit"] != FRAME_NUMBERS:
        for what, value, (low, high), unit in (
            ("its frame rate", clock["frame_rate"], USUAL_RATE_HZ, "Hz"),
            ("its median trial", median, USUAL_TRIAL_S, "s"),
        ):
            if not low <= value <= high:
                found.append(f"{what} is {value:.4g} {unit}, usual are {low:g} to {high:g} {unit} ({key}.time_unit)")
    frames = float(np.median([len(recording.frames_of(i)) for i in recording.trial_ids]))
    if frames < FEWEST_FRAMES:
        found.append(f"its median trial has {frames:g} frames")
    if reading["outside_fraction"] > OUTSIDE_SHARE:
        found.append(
            f"{reading['outside_fraction']:.0%} of its frames lie outside trials ({reading['frames_outside_trials']})"
        )
    if irregular := reading["irregular_trials"]:
        found.append(
            f"{irregular} of {n_trials} trials do not keep to the frame interval, so heldout refuses them and "
            f"published interpolates over what is missing ({key}.irregular_trials, {key}.bridge_frames)"
        )
    dropped = len(reading["dropped_trials"])
    if dropped > DROPPED_SHARE * (dropped + n_trials):
        found.append(f"{dropped} of {dropped + n_trials} trials are left out as irregular or for missing values")
    filled = reading["filled_values"] / recording.activity.size
    if filled > FILLED_SHARE:
        found.append(f"{filled:.0%} of the values in its trials were missing and are interpolated")
    return found
