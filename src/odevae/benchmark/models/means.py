"""References without a model of dynamics: averages over the training trials, and the last frame seen."""

from dataclasses import dataclass

import numpy as np

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.evaluation.trivial import mean_by_bin, mean_of_bins

# Numbers of position bins among which the validation trials choose.
N_BINS = (3, 5, 10, 20, 40)
# A covariate with more values than this is a quantity, not a choice.
MOST_CHOICES = 20


class _Average(BenchmarkModel):
    """An average that does not look at the activity of the trial it predicts, so every task has the same answer."""

    def reconstruct(self, trials: Trials) -> np.ndarray:
        raise NotImplementedError

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        return self.reconstruct(trials)

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        predicted = self.reconstruct(trials)
        predicted[:, :horizon] = np.nan
        return predicted


class TrainingMean(_Average):
    """Each neuron's mean over the frames of the training trials."""

    def fit(self, train: Trials, validation: Trials) -> None:
        self.mean = mean_of_bins(train.values.astype(np.float64), train.recorded)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return np.broadcast_to(self.mean, trials.values.shape).copy()


class TrialTimeMean(_Average):
    """Each neuron's mean over the training trials at the same bin; its overall mean where none of them reaches."""

    def fit(self, train: Trials, validation: Trials) -> None:
        values = train.values.astype(np.float64)
        self.mean, self.by_bin = mean_of_bins(values, train.recorded), mean_by_bin(values, train.recorded)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        predicted = np.broadcast_to(self.mean, trials.values.shape).copy()
        reached = self.by_bin[: trials.values.shape[1]]
        predicted[:, : len(reached)] = reached
        return predicted


class PositionMean(_Average):
    """Each neuron's mean over the training frames at the same place: what a map of place fields tells.

    It reads the covariates of the very trial and bin that it predicts. In `onset` and `forecast` it therefore knows
    where the animal will be, which no model of the activity alone does.

    The bins hold about equally many training frames, and the validation trials choose how many bins there are. Frames
    whose covariate is NaN form a bin of their own.

    Args:
        latent_dim, seed: not used.
        position: name of the covariate that is cut into bins: any quantity of any recording.
        choice: name of a covariate of few values, each of which gets its own map, or None. Where one value was never
            met in training, the mean over all values at that place stands in.
    """

    def __init__(self, latent_dim: int = 1, seed: int = 0, position: str = "Position", choice: str | None = None):
        super().__init__(latent_dim, seed)
        self.position = position
        self.choice = choice

    def fit(self, train: Trials, validation: Trials) -> None:
        """Average over the training trials with each of `N_BINS`, and keep what predicts the validation trials best.

        Raises:
            OdevaeError: if the recording lacks a covariate, or the choice has too many values for one.
        """
        errors = {}
        for n_bins in N_BINS:
            self._map = self._fitted(train, n_bins)
            errors[n_bins] = ((_frames(validation) - self.reconstruct(validation)[validation.recorded]) ** 2).mean()
        self.n_bins = min(errors, key=errors.get)
        self._map = self._fitted(train, self.n_bins)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self._map.means[self._map.cells(*self._places(trials))]

    def _fitted(self, train: Trials, n_bins: int) -> "_Map":
        frames, (place, choice) = _frames(train), self._places(train)
        place, choice = place[train.recorded], choice[train.recorded]
        known = place[~np.isnan(place)]
        inner = np.arange(1, n_bins) / n_bins
        fitted = _Map(
            edges=np.unique(np.quantile(known, inner)) if len(known) else np.empty(0),
            choices=np.unique(choice[~np.isnan(choice)]),
        )
        if len(fitted.choices) > MOST_CHOICES:
            raise OdevaeError(
                f"the covariate {self.choice!r} has {len(fitted.choices)} values in the training trials, but a map for "
                f"each choice takes at most {MOST_CHOICES}; name a covariate of fewer values."
            )
        everyone = _Map(fitted.edges, np.empty(0))
        any_choice = _means_of_cells(
            everyone.cells(place, choice), frames, everyone.n_cells, where_empty=frames.mean(axis=0)
        )
        fitted.means = _means_of_cells(
            fitted.cells(place, choice), frames, fitted.n_cells, where_empty=np.tile(any_choice, (fitted.n_choices, 1))
        )
        return fitted

    def _places(self, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """Position and choice ``(B, L)``; the choice is NaN everywhere if none was named."""
        place = self._covariate(trials, self.position)
        return place, np.full_like(place, np.nan) if self.choice is None else self._covariate(trials, self.choice)

    def _covariate(self, trials: Trials, name: str) -> np.ndarray:
        if name not in trials.covariates:
            raise OdevaeError(
                f"{type(self).__name__}: no covariate {name!r} in the trials; name one of "
                f"{', '.join(trials.covariates) or 'none: the recording has no behaviour'}."
            )
        return trials.covariates[name]


class PositionChoiceMean(PositionMean):
    """`PositionMean` with a map of its own for every choice."""

    def __init__(self, latent_dim: int = 1, seed: int = 0, position: str = "Position", choice: str = "Choice"):
        super().__init__(latent_dim, seed, position, choice)


class Persistence(BenchmarkModel):
    """Nothing changes any more after the last frame seen."""

    def fit(self, train: Trials, validation: Trials) -> None:
        """There is nothing to learn."""

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        """The last of the first `n_frames` in every bin; in a shorter trial, its last frame."""
        last = np.minimum(n_frames, trials.recorded.sum(axis=1)) - 1
        held = trials.values[np.arange(len(trials)), last]
        return np.broadcast_to(held[:, None], trials.values.shape).copy()

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        predicted = np.full_like(trials.values, np.nan)
        predicted[:, horizon:] = trials.values[:, :-horizon]
        return predicted


@dataclass
class _Map:
    """Cells of place x choice, and each neuron's mean in them.

    Attributes:
        edges: inner edges of the bins of the position, ascending.
        choices: values of the choice, ascending.
        means: ``(cells, N)``, all bins of the first choice first.
    """

    edges: np.ndarray
    choices: np.ndarray
    means: np.ndarray | None = None

    @property
    def n_places(self) -> int:
        """The bins, and one for an unknown position."""
        return len(self.edges) + 2

    @property
    def n_choices(self) -> int:
        """The values, and one for any other."""
        return len(self.choices) + 1

    @property
    def n_cells(self) -> int:
        return self.n_choices * self.n_places

    def cells(self, place: np.ndarray, choice: np.ndarray) -> np.ndarray:
        """Which cell each frame lies in, of the shape of both arguments."""
        bins = np.where(np.isnan(place), self.n_places - 1, np.searchsorted(self.edges, place))
        values = np.append(self.choices, np.nan)  # NaN equals no choice: the last value is the one for any other
        found = np.searchsorted(self.choices, choice)
        found = np.where(values[found] == choice, found, len(self.choices))
        return found * self.n_places + bins


def _frames(trials: Trials) -> np.ndarray:
    """The recorded frames of all trials, ``(M, N)`` float64."""
    return trials.values[trials.recorded].astype(np.float64)


def _means_of_cells(cell: np.ndarray, frames: np.ndarray, n_cells: int, where_empty: np.ndarray) -> np.ndarray:
    """Mean over the frames ``(M, N)`` of each cell ``(M,)``, and `where_empty` in cells without any: ``(cells, N)``."""
    sums = np.zeros((n_cells, frames.shape[1]))
    np.add.at(sums, cell, frames)
    counts = np.bincount(cell, minlength=n_cells)[:, None]
    return np.where(counts > 0, sums / np.maximum(counts, 1), where_empty)
