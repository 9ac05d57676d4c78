"""The two protocols, each a recipe: the paper's, to the letter, and one that holds trials out honestly."""

import numpy as np

from odevae.errors import OdevaeError
from odevae.folds import Fold
from odevae.landmarks import published_landmarks
from odevae.observations import Observations
from odevae.preprocessing import Preprocessor, first_bins_mean, fit_preprocessor
from odevae.recording import Recording
from odevae.splits import last_sequences, random_trials
from odevae.trials import Trials, cut, resample, usable_trials

# The source skips shorter trials.
PUBLISHED_MIN_FRAMES = 10
# A frame interval may differ from the median by this share before one common frame grid would misplace frames.
IRREGULARITY_ALLOWED = 0.5


def published(recording: Recording, observations: str, split: int, settings: dict) -> Fold:
    """The paper's protocol, flaws included.

    PCA and scaling see every frame; trials are stretched onto one grid and held at their last frame; "landmarks" draw
    trials with repetition; the last of those draws are the validation set.

    Args:
        recording: any recording.
        observations: see `Observations.parse`.
        split: seed of the landmark draw. The source seeds it with the run's seed, so the workflow sets both alike.
        settings: ``bins``, ``duration_s``, ``drop_first_trials``, ``landmarks``, ``holdout``.
    """
    seen = Observations.parse(observations)
    preprocessor = fit_preprocessor(recording.activity, seen.space, floored=False)
    trial_ids = usable_trials(recording, settings["drop_first_trials"], PUBLISHED_MIN_FRAMES)
    grid = {"bins": settings["bins"], "duration_s": settings["duration_s"]}
    observed = resample(recording, preprocessor.transform(recording.activity), trial_ids, **grid)
    raw = resample(recording, recording.activity, trial_ids, **grid)
    landmarks = published_landmarks(observed.values, settings["landmarks"], seed=split)
    parts = {name: landmarks[rows] for name, rows in last_sequences(len(landmarks), settings["holdout"]).items()}
    return _fold(
        recording,
        raw,
        observed.values,
        seen,
        parts,
        preprocessor,
        grid_s=raw.times[0],
        time_scale_s=float(settings["duration_s"]),
        about={
            "protocol": "published",
            "split": split,
            "observations": observations,
            "settings": settings,
            "fitted_on": "every frame of the recording",
            "fitted_before_split": ["pca", "scaling"] if seen.space == "pca" else ["scaling"],
        },
    )


def heldout(recording: Recording, observations: str, split: int, settings: dict) -> Fold:
    """Whole trials held out at random, on native frames; everything is fitted on the training trials.

    Args:
        recording: any recording with a steady frame rate.
        observations: see `Observations.parse`.
        split: number of the random split.
        settings: ``drop_first_trials``, ``test_fraction``, ``validation_fraction``, ``seed``.
    """
    seen = Observations.parse(observations)
    trial_ids = usable_trials(recording, settings["drop_first_trials"])
    raw = cut(recording, recording.activity, trial_ids)
    parts = random_trials(len(raw), settings["test_fraction"], settings["validation_fraction"], settings["seed"], split)
    training = raw.take(parts["train"])
    preprocessor = fit_preprocessor(training.values[training.mask], seen.space, floored=True)
    observed = np.where(raw.mask[..., None], preprocessor.transform(raw.values), 0.0).astype(np.float32)
    frame_interval_s = _frame_interval(recording, raw, parts["train"])
    grid_s = frame_interval_s * np.arange(raw.mask.shape[1])
    return _fold(
        recording,
        raw,
        observed,
        seen,
        parts,
        preprocessor,
        grid_s=grid_s,
        # The longest training trial spans [0, 1], as the paper's grid does; a longer held-out trial goes beyond 1.
        time_scale_s=float(grid_s[training.mask.sum(axis=1).max() - 1]),
        about={
            "protocol": "heldout",
            "split": split,
            "observations": observations,
            "settings": settings,
            "fitted_on": "the frames of the training trials",
            "fitted_before_split": [],
            "frame_interval_s": frame_interval_s,
        },
    )


PROTOCOLS = {"published": published, "heldout": heldout}


def _fold(
    recording: Recording,
    raw: Trials,
    observed: np.ndarray,
    seen: Observations,
    parts: dict[str, np.ndarray],
    preprocessor: Preprocessor,
    grid_s: np.ndarray,
    time_scale_s: float,
    about: dict,
) -> Fold:
    """Subtract the baseline, which the source does after choosing landmarks, and put the fold together."""
    if seen.baseline:
        baseline = first_bins_mean(observed, raw.mask)
        observed = np.where(raw.mask[..., None], observed - baseline[:, None, :], 0.0)
    else:
        baseline = np.zeros((len(raw), observed.shape[2]))
    return Fold(
        raw=raw,
        observed=observed.astype(np.float32),
        baseline=baseline.astype(np.float32),
        parts=parts,
        preprocessor=preprocessor,
        grid_s=grid_s,
        time_scale_s=time_scale_s,
        about={
            "recording": recording.name,
            "data_sha256": str(recording.source.get("sha256", "")),
            "units": recording.units,
            **about,
        },
    )


def _frame_interval(recording: Recording, raw: Trials, training_rows: np.ndarray) -> float:
    """Median frame interval of the training trials, s; refuses trials that do not keep to it."""
    steps = np.diff(raw.times, axis=1)
    within = raw.mask[:, 1:]
    interval = float(np.median(steps[training_rows][within[training_rows]]))
    irregular = within & (np.abs(steps - interval) > IRREGULARITY_ALLOWED * interval)
    if irregular.any():
        row, frame = np.argwhere(irregular)[0]
        raise OdevaeError(
            f"{recording.name}: in trial {raw.trial_ids[row]} frame {frame + 1} follows after {steps[row, frame]:.4g} "
            f"s, but the frame interval of the training trials is {interval:.4g} s; the heldout protocol needs a "
            "steady frame rate, so resample that trial or leave it out."
        )
    return interval
