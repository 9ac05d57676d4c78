"""Recorded and predicted activity of the scored part of a run, as its figures need it."""

from dataclasses import dataclass

import numpy as np

from odevae.metrics import pearson, r2_of_trial
from odevae.pieces import Computed
from odevae.protocols.fold import Fold


@dataclass(frozen=True)
class Scored:
    """The scored part of a run: ``B`` sequences of ``L`` bins, predicted at the best epoch.

    Attributes:
        title: name of the run.
        part: ``test`` or ``validation``.
        rows: ``(B,)``, rows of the fold's trials; the published protocol repeats some.
        trial_ids: ``(B,)``.
        counted: ``(B, L)``, bins that are scored.
        recorded: ``(B, L)``, bins before the end of the trial.
        path: ``(B, L, D)``, the latent states.
        true, predicted: ``(B, L, N)``, in recorded units, computed as they are read.
    """

    title: str
    part: str
    rows: np.ndarray
    trial_ids: np.ndarray
    counted: np.ndarray
    recorded: np.ndarray
    path: np.ndarray
    true: Computed
    predicted: Computed

    @property
    def names(self) -> np.ndarray:
        """``(B,)``, a name for each sequence; sequences of one trial have different names."""
        if len(np.unique(self.rows)) == len(self.rows):
            return self.trial_ids.astype(str)
        return np.array([f"{trial} (sequence {number})" for number, trial in enumerate(self.trial_ids, start=1)])

    @property
    def one(self) -> str:
        """Title of a figure of the first trial."""
        return f"{self.title}\n{self.part} trial {self.trial_ids[0]}, best epoch"

    @property
    def all(self) -> str:
        """Title of a figure of all trials; the published protocol repeats some."""
        number, distinct = len(self.rows), len(np.unique(self.rows))
        what = "trial" if distinct == number else "sequence"
        of = "" if distinct == number else f" of {distinct} trial{'s' * (distinct != 1)}"
        return f"{self.title}\n{number} {self.part} {what}{'s' * (number != 1)}{of}, best epoch"


def scored_of_run(fold: Fold, run: dict, predictions: dict[str, np.ndarray]) -> Scored | None:
    """The scored part as the figures show it, or None if the latent path is missing or not finite."""
    part = fold.scored_part
    path = predictions.get(f"{part}_best_path")
    if path is None or not np.isfinite(path).all():
        return None
    rows = predictions[f"{part}_rows"]
    return Scored(
        title=run["run"],
        part=part,
        rows=rows,
        trial_ids=fold.raw.trial_ids[rows],
        counted=fold.raw.mask[rows],
        recorded=fold.raw.recorded[rows],
        path=path,
        true=fold.truth(part, "raw"),
        predicted=fold.carried(part, predictions[f"{part}_best"], "raw"),
    )


def scores_of_trials(fold: Fold, run: dict, predictions: dict[str, np.ndarray]) -> list[dict]:
    """Pooled R2 and r of each scored trial, in recorded units at the best epoch; no rows for a run without a path.

    Returns:
        A dict for each trial: ``latent_dim``, ``r2`` and ``r``.
    """
    scored = scored_of_run(fold, run, predictions)
    if scored is None:
        return []
    return [
        {"latent_dim": run["key"]["latent_dim"], "r2": r2_of_trial(x, y, m), "r": pearson(x[m].astype(float), y[m])}
        for x, y, m in zip(scored.true, scored.predicted, scored.counted, strict=True)
    ]
