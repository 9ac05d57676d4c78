"""The held-out study of a new recording: which models, on which splits, at which dimensions.

Everything is chosen from the recording: how many trials and neurons it has, what behaviour came with it, and whether
its trials are windows of one continuous session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from odevae.benchmark.tasks import HORIZONS, held_out_neurons
from odevae.data.recording import Recording, timing
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.protocols.few_trials import FEW_TRIALS
from odevae.protocols.fold import Fold
from odevae.protocols.groups import BLOCK
from odevae.protocols.recipes import heldout

# The model in question: an entry of `benchmark_models`, and the preset of that name, whose runs have figures of the
# latents.
MODEL = "shooting"
# Cheap, and each answers a question: what is predicted without the trial, from each neuron's own past, from the place,
# from a few linear or curved dimensions, and from all neurons; and whether the state determines what follows it.
REFERENCES = (
    "training_mean",
    "trial_time_mean",
    "position_mean",
    "position_choice_mean",
    "persistence",
    "ar2",
    "population_history",
    "position_time",
    "all_neurons",
    "pca",
    "lds",
    "isomap",
    "dynamics",
)
# For each task a simple guess, and another for recordings that lack a covariate which it needs.
GUESSES = {
    "reconstruct": ("trial_time_mean",),
    "onset": ("trial_time_mean",),
    "forecast": ("ar2",),
    "new_events": ("position_time", "trial_time_mean"),
    "cosmooth": ("all_neurons",),
    "decode": ("all_neurons",),
}
LATENT_DIMS = (3, 5, 7)
SPLITS = (0, 1, 2)
# Shares of the trials for test and validation; of few trials a larger share, up to so many trials.
SHARE, LARGER_TEST_SHARE, LARGER_VALIDATION_SHARE = 0.1, 0.25, 0.15
FEW_VALIDATION_TRIALS = 3
FEWEST_TRIALS = 5
# Covariates to decode: each costs time in every model with latents.
MOST_DECODED, COLOURS = 5, 2
# A covariate that is known in fewer frames is left to the user.
KNOWN_SHARE = 0.9
# They count and time frames, which is no behaviour.
BOOKKEEPING = {"frame", "frames", "time", "trial", "trials", "window", "session", "latents"}
# A trial follows another at once if less than so many frame intervals lie between them.
AT_ONCE = 1.5


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        models: of the benchmark, `MODEL` first.
        compare_with: model by family of tasks.
        latent_dims, splits: as in the configuration.
        heldout: settings of the protocol for this recording.
        decode, colour_by: names of covariates.
        notes: sentences about what is left out or unusual.
    """

    models: tuple[str, ...]
    compare_with: dict[str, str]
    latent_dims: tuple[int, ...]
    splits: tuple[int, ...]
    heldout: dict
    decode: tuple[str, ...]
    colour_by: tuple[str, ...]
    notes: tuple[str, ...]


def choose_study(recording: Recording, entry: dict, protocol: dict, benchmark_models: dict) -> Study:
    """Choose the study of a recording, after making every fold of it.

    Args:
        recording: read by the settings of `entry`.
        entry: of the data set in the configuration; what it says of ``heldout``, ``decode`` and ``colour_by`` is kept.
        protocol: the configuration's settings of ``heldout``.
        benchmark_models: of the configuration.

    Raises:
        OdevaeError: if no study is possible: too few trials, neurons or frames, or an unsteady frame rate.
    """
    settings, notes = _heldout_settings(recording)
    settings |= entry.get("heldout", {})
    n_splits = _most_splits(recording, settings)
    splits = SPLITS[:n_splits]
    folds = make_folds(recording, protocol | settings, splits)
    room = _most_dims(folds)
    if room < 1:
        raise OdevaeError(
            f"{recording.name}: {recording.n_neurons} neurons, too few of them active in training trials for latents "
            "that predict neurons that were left out; give a recording of four or more active neurons."
        )
    dims = tuple(dim for dim in LATENT_DIMS if dim <= room) or (room,)
    if dims != LATENT_DIMS:
        notes.append(
            f"Latent dimensions {', '.join(map(str, dims))}, because a quarter of the neurons is left out and the "
            "others must be more than the dimensions."
        )
    usable = [name for name in _behaviour(recording) if can_decode(folds, name)]
    needed = [name for model in REFERENCES for name in benchmark_models[model].get("needs", [])]
    ordered = list(dict.fromkeys([*(name for name in needed if name in usable), *usable]))
    decode = tuple(entry.get("decode") or ordered[:MOST_DECODED])
    colour_by = tuple(entry.get("colour_by") or decode[:COLOURS])
    lacking = {
        model: [name for name in benchmark_models[model].get("needs", []) if name not in (*decode, *colour_by)]
        for model in (MODEL, *REFERENCES)
    }
    models = tuple(model for model, names in lacking.items() if not names)
    if without := [f"{model} ({' and '.join(names)})" for model, names in lacking.items() if names]:
        notes.append(
            f"Left out, with the covariates that they need: {', '.join(without)}. The recording has "
            f"{', '.join(recording.covariates) or 'none'}."
        )
    check_study(recording, folds, dims, decode)
    compare_with = {task: next(name for name in guesses if name in models) for task, guesses in GUESSES.items()}
    return Study(models, compare_with, dims, splits, settings, decode, colour_by, tuple(notes))


def make_folds(recording: Recording, settings: dict, splits: Sequence[int]) -> list[Fold]:
    """The fold of each split, without a model's observations.

    Raises:
        OdevaeError: if the recording has too few trials for a study, or as `heldout` does.
    """
    n_trials = len(recording.trial_ids)
    if n_trials < FEWEST_TRIALS:
        raise OdevaeError(
            f"{recording.name}: {n_trials} {'trial' if n_trials == 1 else 'trials'}; a study that holds trials out "
            f"needs {FEWEST_TRIALS} or more, so give more trials, or cut a continuous session into windows "
            "(docs/own_data.md)."
        )
    return [heldout(recording, "neurons", split, settings) for split in splits]


def check_study(recording: Recording, folds: Sequence[Fold], latent_dims: Sequence[int], decode: Sequence[str]) -> None:
    """Refuse what would end a fit long after it began.

    Raises:
        OdevaeError: if trials are too short to forecast, dimensions too many for the neurons, or a covariate cannot be
            decoded.
    """
    name = recording.name
    for fold, part in product(folds, ("train", "validation", "test")):
        longest = int(fold.raw.mask[fold.parts[part]].sum(axis=1).max())
        if longest <= max(HORIZONS):
            raise OdevaeError(
                f"{name}: the longest trial for {part} in split {fold.about['split']} has {longest} frames, but "
                f"forecasts look up to {max(HORIZONS)} frames ahead; give longer trials or windows."
            )
    room = _most_dims(folds)
    if latent_dims and max(latent_dims) > room:
        raise OdevaeError(
            f"config: benchmarks: {max(latent_dims)} latent dimensions on {name}, but cosmooth leaves a quarter of "
            f"{recording.n_neurons} neurons out, and with silent ones {room} dimensions are the most; lower them."
        )
    for covariate in decode:
        if not can_decode(folds, covariate):
            raise OdevaeError(
                f"config: datasets.{name}.decode: {covariate} is unknown or has one value only in the training, "
                "validation or test trials of a split, so nothing can be decoded; leave it out."
            )


def can_decode(folds: Sequence[Fold], covariate: str) -> bool:
    """Whether every part of every split knows a covariate, and it takes two values or more in training trials."""
    for fold in folds:
        for part, rows in fold.parts.items():
            trials: Trials = fold.raw.take(rows)
            values = trials.covariates[covariate][trials.mask]
            known = values[np.isfinite(values)]
            if not len(known) or (part == "train" and np.ptp(known) == 0):
                return False
    return True


def _heldout_settings(recording: Recording) -> tuple[dict, list[str]]:
    """Shares of the trials, and how they belong together; sentences about both."""
    n_trials, notes = len(recording.trial_ids), []
    n_test = max(round(SHARE * n_trials), min(FEW_TRIALS, max(1, round(LARGER_TEST_SHARE * n_trials))))
    n_validation = max(
        round(SHARE * n_trials), min(FEW_VALIDATION_TRIALS, max(1, round(LARGER_VALIDATION_SHARE * n_trials)))
    )
    settings: dict = {
        "test_fraction": _share(n_test, n_trials),
        "validation_fraction": _share(n_validation, n_trials),
    }
    if n_test < FEW_TRIALS:
        notes.append(
            f"{n_trials} trials: each split tests {n_test} of them. Scores on fewer than {FEW_TRIALS} trials are an "
            "anecdote, not a result."
        )
    if is_continuous(recording):
        settings["group_by"] = BLOCK
        notes.append(
            "The trials follow each other without a pause, as windows of one session do, so successive ones are held "
            "out together (heldout.group_by: block)."
        )
    return settings, notes


def is_continuous(recording: Recording) -> bool:
    """Whether most trials begin where the one before them ends, on the same clock."""
    frames = [recording.frames_of(i) for i in recording.trial_ids]
    frames.sort(key=lambda rows: rows[0])
    if len(frames) < 2:
        return False
    pause = [recording.time[later[0]] - recording.time[earlier[-1]] for earlier, later in pairwise(frames)]
    at_once = (np.array(pause) > 0) & (np.array(pause) < AT_ONCE / timing(recording)["frame_rate"])
    return at_once.mean() > 0.5


def _share(count: int, total: int) -> float:
    """A short share of `total` that rounds to `count`."""
    return next(share for digits in range(1, 12) if round((share := round(count / total, digits)) * total) == count)


def _most_splits(recording: Recording, settings: dict) -> int:
    """How many splits there are if groups are tested in turn; more than enough for random ones."""
    group = settings.get("group_by")
    if group in recording.covariates:
        return len(np.unique(recording.covariates[group]))
    return max(1, round(1 / settings["test_fraction"])) if group == BLOCK else len(SPLITS)


def _most_dims(folds: Sequence[Fold]) -> int:
    """One less than the neurons that are active in training trials and not left out by cosmooth, in every split."""
    rooms = []
    for fold in folds:
        train = fold.raw.take(fold.parts["train"])
        frames = train.values[train.mask]
        seen = ~held_out_neurons(frames.shape[1], int(fold.about["split"]))
        rooms.append(min(int((np.ptp(frames, axis=0) > 0)[seen].sum()), len(frames)) - 1)
    return min(rooms)


def _behaviour(recording: Recording) -> list[str]:
    """Covariates that are known in most frames and vary: those that change in a trial, then those of whole trials."""
    found = [
        name
        for name, values in recording.covariates.items()
        if name.casefold() not in BOOKKEEPING and np.isfinite(values).mean() >= KNOWN_SHARE
    ]
    changes = {
        name: any(np.ptp(recording.covariates[name][recording.frames_of(i)]) > 0 for i in recording.trial_ids)
        for name in found
    }
    return sorted(found, key=lambda name: not changes[name])
