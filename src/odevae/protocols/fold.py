"""A fold: a recording prepared by a protocol for one split, and the files that hold it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.events import DENSE, SPIKES, kind_of, kind_of_pieces
from odevae.pieces import Computed
from odevae.protocols.preprocessing import Preprocessor
from odevae.storage.files import read_arrays, read_json, write_arrays, write_json
from odevae.storage.run_folder import PREPROCESSING_FILE, TRIALS_FILE

# What a model sees, neurons in units of their SD, and the recorded units.
SPACES = ("pca", "zscore", "raw")
# Arrays of the trials that have the same name in the file.
_OF_TRIALS = ("mask", "recorded", "times", "trial_ids")


@dataclass(frozen=True)
class Fold:
    """Trials of ``N`` neurons, the ``C`` channels that a model sees, and which trials train and which are held out.

    Attributes:
        raw: ``(B, L, N)`` in recorded units, each usable trial once.
        observed: ``(B, L, C)`` float32, what the model sees, baseline already subtracted.
        baseline: ``(B, C)``, what was subtracted (zeros without baseline correction).
        parts: rows of `raw` by part: ``train`` and ``validation``, with ``test`` under ``heldout``. The published
            protocol repeats rows, also across parts.
        preprocessor: between recorded units and observations.
        grid_s: ``(L,)`` float64, the times in seconds at which every trial is integrated.
        time_scale_s: one constant; the model integrates over ``grid_s / time_scale_s``.
        about: protocol, split, observations, settings and what was fitted on which frames (JSON values).
    """

    raw: Trials
    observed: np.ndarray
    baseline: np.ndarray
    parts: dict[str, np.ndarray]
    preprocessor: Preprocessor
    grid_s: np.ndarray
    time_scale_s: float
    about: dict

    @property
    def scored_part(self) -> str:
        """The part whose scores are in the tables: ``test`` if there is one, else ``validation``."""
        return "test" if "test" in self.parts else "validation"

    @property
    def events(self) -> str:
        """What counts as an event in this recording, one of `odevae.events.KINDS`: as declared, else as found."""
        trials = zip(self.raw.values, self.raw.recorded, strict=True)
        return self.about.get("events") or kind_of_pieces(values[recorded] for values, recorded in trials)

    def independent_units(self, part: str) -> np.ndarray:
        """What each trial of a part ``(B,)`` belongs to: its group, or nothing but itself, which is its id."""
        return np.asarray(self.about.get("groups", self.raw.trial_ids))[self.parts[part]]

    @property
    def times(self) -> np.ndarray:
        """The grid in units of `time_scale_s`, ``(L,)`` float32."""
        return (self.grid_s / self.time_scale_s).astype(np.float32)

    def sequences(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Observations ``(B, L, C)`` and mask ``(B, L)`` of one part."""
        rows = self.parts[part]
        return self.observed[rows], self.raw.mask[rows]

    def to_raw(self, observed: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Observations ``(B, L, C)`` of the trials `rows` back to recorded units ``(B, L, N)``, baseline added."""
        return self.preprocessor.inverse(observed + self.baseline[rows][:, None, :])

    def truth(self, part: str, space: str) -> Computed:
        """The values of one part in one of `SPACES`; ``raw`` is what was recorded, not its projection on components."""
        rows = self.parts[part]
        if space == "pca":
            return Computed((len(rows), *self.observed.shape[1:]), lambda chosen: self.observed[rows[chosen]])

        def values(chosen: slice) -> np.ndarray:
            raw = self.raw.values[rows[chosen]]
            return raw if space == "raw" else self.preprocessor.zscore(raw)

        return Computed((len(rows), *self.raw.values.shape[1:]), values)

    def carried(self, part: str, observed: np.ndarray, space: str) -> np.ndarray | Computed:
        """Predictions of one part in observation space ``(B, L, C)``, carried to one of `SPACES`."""
        if space == "pca":
            return observed
        rows = self.parts[part]

        def values(chosen: slice) -> np.ndarray:
            raw = self.to_raw(observed[chosen], rows[chosen])
            return raw if space == "raw" else self.preprocessor.zscore(raw)

        return Computed((len(rows), *self.raw.values.shape[1:]), values)


def with_events(fold: Fold, activity: np.ndarray, declared: str | None) -> Fold:
    """The fold with what counts as an event in its recording: `declared`, or what its activity ``(T, N)`` looks like.

    Raises:
        OdevaeError: if events are declared that such activity cannot have.
    """
    found = kind_of(activity)
    # Counts may be scored as active or not, but activity that is no count has no spikes, and below zero is no rest.
    if declared and declared not in (found, DENSE) and (declared == SPIKES or (activity < 0).any()):
        raise OdevaeError(
            f"config: events: {declared} does not fit {fold.about['recording']}, whose activity has "
            f"{'values below zero' if (activity < 0).any() else 'values that are no whole numbers'}; "
            "leave the key out, or give events: dense."
        )
    return replace(fold, about=fold.about | {"events": declared or found})


def save_fold(fold: Fold, folder: str | Path) -> str:
    """Write ``trials.npz`` (arrays) and ``preprocessing.json`` (what was done); returns the SHA-256 of the fold."""
    folder = Path(folder)
    covariates = fold.raw.covariates
    arrays = {
        "raw": fold.raw.values,
        "observed": fold.observed,
        "baseline": fold.baseline,
        **{name: getattr(fold.raw, name) for name in _OF_TRIALS},
        "grid_s": fold.grid_s,
        "covariates": np.stack([*covariates.values()]) if covariates else np.empty((0, *fold.raw.mask.shape)),
        **{f"part_{name}": rows for name, rows in fold.parts.items()},
        **{f"preprocessor_{name}": array for name, array in vars(fold.preprocessor).items()},
    }
    if fold.raw.latents is not None:
        arrays["latents"] = fold.raw.latents
    seal = write_arrays(folder / TRIALS_FILE, arrays)
    write_json(
        folder / PREPROCESSING_FILE,
        {
            **fold.about,
            "fold_sha256": seal,
            "n_trials": len(fold.raw),
            "n_bins": len(fold.grid_s),
            "n_neurons": fold.raw.values.shape[2],
            "n_channels": fold.preprocessor.n_channels,
            "n_sequences": {name: len(rows) for name, rows in fold.parts.items()},
            "time_scale_s": fold.time_scale_s,
            "covariate_names": list(covariates),
        },
    )
    return seal


def load_fold(folder: str | Path) -> Fold:
    """Read what `save_fold` wrote.

    Raises:
        OdevaeError: if a file is missing or damaged.
    """
    folder = Path(folder)
    about = read_json(folder / PREPROCESSING_FILE)
    arrays, seal = read_arrays(folder / TRIALS_FILE)
    if seal != about["fold_sha256"]:
        raise OdevaeError(
            f"{folder / TRIALS_FILE}: does not belong to {PREPROCESSING_FILE} next to it; delete the folder and run "
            "the workflow again."
        )
    try:

        def prefixed(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        return Fold(
            raw=Trials(
                values=arrays["raw"],
                **{name: arrays[name] for name in _OF_TRIALS},
                covariates=dict(zip(about["covariate_names"], arrays["covariates"], strict=True)),
                latents=arrays.get("latents"),
            ),
            observed=arrays["observed"],
            baseline=arrays["baseline"],
            parts=prefixed("part_"),
            preprocessor=Preprocessor(**prefixed("preprocessor_")),
            grid_s=arrays["grid_s"],
            time_scale_s=about["time_scale_s"],
            about=about,
        )
    except Exception as error:
        raise OdevaeError(
            f"{folder / TRIALS_FILE}: is not a fold ({type(error).__name__}: {error}); delete the folder and run the "
            "workflow again."
        ) from error
