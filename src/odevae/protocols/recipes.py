"""The protocols, each one a recipe: the paper's, to the letter, and one that really holds trials out."""

from dataclasses import replace
from functools import partial

import numpy as np

from odevae.data.recording import Recording, listed_ids
from odevae.data.trials import Trials, cut, off_interval, resample, usable_trials
from odevae.errors import OdevaeError
from odevae.protocols.fold import Fold
from odevae.protocols.groups import time_to_nearest, trial_groups
from odevae.protocols.landmarks import published_landmarks
from odevae.protocols.observations import Observations
from odevae.protocols.preprocessing import Preprocessor, first_bins_mean, fit_preprocessor, fit_scaled_pca
from odevae.protocols.splits import grouped_trials, last_sequences, random_sequences, random_trials, with_gap

# The source leaves shorter trials out.
PUBLISHED_MIN_FRAMES = 10
# Share of the draws that are validation where the audit ladder chooses them at random.
RANDOM_VALIDATION = 0.1


def published(
    recording: Recording,
    observations: str,
    split: int,
    settings: dict,
    *,
    drop_shared: bool = False,
    fit_on_training: bool = False,
    random_validation: bool = False,
) -> Fold:
    """The paper's protocol, flaws included; the audit ladder takes one flaw away at a time.

    PCA and scaling see every frame. Trials are resampled onto one grid, and after its end a trial stays at its last
    frame. "Landmarks" are draws of trials with repetition; the last draws are the validation set.

    Args:
        recording: any recording.
        observations: see `Observations.parse`.
        split: seed of the landmark draw. The source uses the run's seed, so the workflow sets both to the same number.
        settings: ``bins``, ``duration_s``, ``drop_first_trials``, ``landmarks``, ``holdout``.
        drop_shared: leave the sequences of validation trials out of training.
        fit_on_training: fit PCA and scaling again on the frames of the training trials, after those were chosen, with
            a floor under small scales.
        random_validation: a random tenth of the draws is the validation set, not the last few.
    """
    seen = Observations.parse(observations)
    preprocessor = fit_preprocessor(recording.activity, seen.space, floored=False)
    fitted_on, before_split = "every frame of the recording", ["pca", "scaling"] if seen.space == "pca" else ["scaling"]
    trial_ids = usable_trials(recording, settings["drop_first_trials"], PUBLISHED_MIN_FRAMES)
    grid = {"bins": settings["bins"], "duration_s": settings["duration_s"]}
    observed = resample(recording, trial_ids, **grid, transform=preprocessor.transform)
    raw = resample(recording, trial_ids, **grid)
    landmarks = published_landmarks(observed.values, settings["landmarks"], seed=split)
    if random_validation:
        drawn = random_sequences(len(landmarks), RANDOM_VALIDATION, seed=split)
    else:
        drawn = last_sequences(len(landmarks), settings["holdout"])
    parts = {name: landmarks[rows] for name, rows in drawn.items()}
    if drop_shared:
        parts["train"] = parts["train"][~np.isin(parts["train"], parts["validation"])]
    if fit_on_training:
        training_ids = trial_ids[np.unique(parts["train"])]
        frames = np.flatnonzero(np.isin(recording.trial, training_ids))
        # Without the floor, a neuron that is silent in training would get huge values wherever it fires.
        preprocessor = fit_preprocessor(recording.activity, seen.space, floored=True, rows=frames)
        fitted_on, before_split = "the frames of the training trials", []
        observed = resample(recording, trial_ids, **grid, transform=preprocessor.transform)
    about = _about(recording, split, observations, settings)
    about |= {"fitted_on": fitted_on, "fitted_before_split": before_split, "drop_last_batch": True}
    return _fold(raw, observed.values, parts, preprocessor, raw.times[0], float(settings["duration_s"]), about)


def published_v2(recording: Recording, observations: str, split: int, settings: dict) -> Fold:
    """The protocol of v2's source: split first, fit on training sequences only, time in seconds, no landmarks.

    Every trial is used, and resampled as in `published`. Scaling and PCA are fitted on the padded training sequences.
    The last `holdout` trials of a random permutation are the validation set. The source always uses seed 0, which is
    `split` 0.

    Args:
        recording, split: as in `published`.
        observations: must be ``pca``.
        settings: ``bins``, ``duration_s``, ``holdout``.
    """
    if observations != "pca":
        raise OdevaeError(
            f"the protocol published_v2 fits PCA and corrects no baseline, so a model that sees {observations} "
            "cannot use it; use it with v2."
        )
    trial_ids = usable_trials(recording, 0, PUBLISHED_MIN_FRAMES)
    raw = resample(recording, trial_ids, settings["bins"], settings["duration_s"])
    order = np.random.default_rng(split).permutation(len(raw))
    parts = {name: order[rows] for name, rows in last_sequences(len(raw), settings["holdout"]).items()}
    preprocessor = fit_scaled_pca(*_counted_frames(raw, parts["train"]))
    about = _about(recording, split, observations, settings)
    about |= {"fitted_on": "the padded training sequences", "fitted_before_split": [], "drop_last_batch": True}
    return _fold(raw, _observed(raw, preprocessor), parts, preprocessor, raw.times[0], 1.0, about)


def heldout(recording: Recording, observations: str, split: int, settings: dict) -> Fold:
    """Whole trials, or whole groups of trials, held out on native frames; everything is fitted on the training trials.

    Args:
        recording: any recording with a steady frame rate.
        observations: see `Observations.parse`.
        split: number of the split, 0 or more.
        settings: ``drop_first_trials``, ``test_fraction``, ``validation_fraction``, ``seed``; and what only a data set
            sets: ``group_by`` (see `trial_groups`) and ``gap_s``, the least time between trials of two parts on one
            clock.

    Raises:
        OdevaeError: if there are too few trials or groups, or trials do not keep to one frame interval.
    """
    trial_ids = usable_trials(recording, settings["drop_first_trials"])
    raw = cut(recording, recording.activity, trial_ids)
    fractions = settings["test_fraction"], settings["validation_fraction"]
    groups = trial_groups(recording, trial_ids, settings["group_by"], fractions[0]) if "group_by" in settings else None
    try:
        chance = (*fractions, settings["seed"], split)
        parts = random_trials(len(raw), *chance) if groups is None else grouped_trials(groups, *chance)
        if settings.get("gap_s"):
            parts = with_gap(parts, partial(time_to_nearest, recording, trial_ids), settings["gap_s"])
    except OdevaeError as error:
        key = f"datasets.{recording.name}.heldout"
        if groups is not None or settings.get("gap_s"):
            raise OdevaeError(
                f"{recording.name}: with {key} {_listed_settings(settings)}, {error}; change these settings, or the "
                "splits of the study or benchmark."
            ) from error
        raise OdevaeError(
            f"{recording.name}: of {len(recording.trial_ids)} trials, drop_first_trials: "
            f"{settings['drop_first_trials']} leaves {len(raw)}, and {error}; lower {key}.drop_first_trials, or "
            f"test_fraction and validation_fraction there, or give more trials."
        ) from error
    about = _about(recording, split, observations, settings)
    # Trials of one group are no independent evidence.
    about |= {} if groups is None else {"groups": groups.tolist()}
    return fit_heldout(raw, parts, about)


def _listed_settings(settings: dict) -> str:
    names = ("group_by", "gap_s", "test_fraction", "validation_fraction")
    return ", ".join(f"{name}: {settings[name]}" for name in names if name in settings)


def fit_heldout(raw: Trials, parts: dict[str, np.ndarray], about: dict) -> Fold:
    """The fold of `heldout` from trials that were cut and split before.

    Args:
        raw: trials on native frames.
        parts: rows of `raw` by part; everything is fitted on ``train``.
        about: ``recording`` and ``observations``, and any other entries of `Fold.about`.

    Raises:
        OdevaeError: if trials do not keep to the frame interval of the training trials.
    """
    space = Observations.parse(about["observations"]).space
    frames, rows = _counted_frames(raw, parts["train"])
    preprocessor = fit_preprocessor(frames, space, floored=True, rows=rows)
    frame_interval_s = _frame_interval(about["recording"], raw, parts["train"])
    # The longest training trial spans [0, 1], as the paper's grid does; a longer held-out trial goes beyond 1.
    time_scale_s = float(frame_interval_s * (raw.mask[parts["train"]].sum(axis=1).max() - 1))
    about = about | {"fitted_on": "the frames of the training trials", "fitted_before_split": []}
    about |= {"drop_last_batch": False, "frame_interval_s": frame_interval_s}
    return _on_native_frames(raw, parts, preprocessor, time_scale_s, about)


def as_seen_in(fold: Fold, raw: Trials) -> Fold:
    """Other trials as a model of a `heldout` fold sees them, all as the part ``test``; nothing is fitted."""
    return _on_native_frames(raw, {"test": np.arange(len(raw))}, fold.preprocessor, fold.time_scale_s, fold.about)


PROTOCOLS = {
    "published": published,
    # The rungs of the audit ladder: the paper's protocol with one flaw removed.
    "published_unshared": partial(published, drop_shared=True),
    "published_train_fit": partial(published, fit_on_training=True),
    "published_random": partial(published, random_validation=True),
    "published_v2": published_v2,
    "heldout": heldout,
}


def make_fold(protocol: str, recording: Recording, observations: str, split: int, settings: dict) -> Fold:
    """The fold that a protocol of `PROTOCOLS` makes of a recording."""
    fold = PROTOCOLS[protocol](recording, observations, split, settings)
    return replace(fold, about={"protocol": protocol, **fold.about})


def _about(recording: Recording, split: int, observations: str, settings: dict) -> dict:
    """The entries of `Fold.about` that say where a fold comes from."""
    return {
        "recording": recording.name,
        "data_sha256": str(recording.source.get("sha256", "")),
        "units": recording.units,
        "split": split,
        "observations": observations,
        "settings": settings,
    }


def _on_native_frames(
    raw: Trials, parts: dict[str, np.ndarray], preprocessor: Preprocessor, time_scale_s: float, about: dict
) -> Fold:
    grid_s = about["frame_interval_s"] * np.arange(raw.mask.shape[1])
    return _fold(raw, _observed(raw, preprocessor), parts, preprocessor, grid_s, time_scale_s, about)


def _counted_frames(raw: Trials, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All bins of `raw` as ``(B L, N)`` frames, without a copy, and which of them count in some `trials`, in order."""
    n_bins = raw.mask.shape[1]
    numbers = trials[:, None] * n_bins + np.arange(n_bins)
    return raw.values.reshape(-1, raw.values.shape[2]), numbers[raw.mask[trials]]


def _observed(raw: Trials, preprocessor: Preprocessor) -> np.ndarray:
    """``(B, L, C)`` float32 observations of the bins that count; zeros elsewhere."""
    observed = np.zeros((*raw.mask.shape, preprocessor.n_channels), dtype=np.float32)
    for values, mask, result in zip(raw.values, raw.mask, observed, strict=True):
        result[mask] = preprocessor.transform(values[mask])
    return observed


def _fold(
    raw: Trials,
    observed: np.ndarray,
    parts: dict[str, np.ndarray],
    preprocessor: Preprocessor,
    grid_s: np.ndarray,
    time_scale_s: float,
    about: dict,
) -> Fold:
    """Subtract the baseline, which the source does after choosing landmarks, and put the fold together.

    `observed` is float32 and is changed in place.
    """
    baseline = np.zeros((len(raw), observed.shape[2]))
    if Observations.parse(about["observations"]).baseline:
        baseline = first_bins_mean(observed, raw.mask)
        for values, mask, mean in zip(observed, raw.mask, baseline, strict=True):
            values[mask] = values[mask] - mean
    return Fold(raw, observed, baseline.astype(np.float32), parts, preprocessor, grid_s, time_scale_s, about)


def _frame_interval(recording: str, raw: Trials, training_rows: np.ndarray) -> float:
    """Median frame interval of the training trials, s; refuses a trial with an interval that is far from it."""
    steps = np.diff(raw.times, axis=1)
    within = raw.mask[:, 1:]
    interval = float(np.median(steps[training_rows][within[training_rows]]))
    irregular = within & off_interval(steps, interval)
    if irregular.any():
        rows = irregular.any(axis=1)
        longest = round(steps[irregular].max() / interval) - 1
        raise OdevaeError(
            f"{recording}: {rows.sum()} of {len(rows)} trials do not keep to the frame interval of {interval:.4g} s "
            f"({irregular.sum()} of {within.sum()} steps; {listed_ids(raw.trial_ids[rows])}; the longest gap lacks "
            f"{longest} frames), and the heldout protocol needs a steady frame rate; set "
            f"datasets.{recording}.irregular_trials: drop to leave those trials out, or "
            f"datasets.{recording}.bridge_frames to the longest gap that is to be filled on a line."
        )
    return interval
