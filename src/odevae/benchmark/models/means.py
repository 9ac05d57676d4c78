"""Benchmark models without dynamics: averages over the training trials, and the last observed frame."""

from dataclasses import dataclass

import numpy as np

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.bin_means import mean_by_bin, mean_of_bins
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

# Numbers of position bins to choose from, on the validation trials.
N_BINS = (3, 5, 10, 20, 40)
# A covariate with more values than this is a quantity and not a choice.
MOST_CHOICES = 20


class _Average(BenchmarkModel):
    """An average that does not use the activity of the trial it predicts, so all tasks have the same prediction."""

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
    """Each neuron's mean over the training trials at the same bin; its overall mean in bins that none of them has."""

    def fit(self, train: Trials, validation: Trials) -> None:
        values = train.values.astype(np.float64)
        self.mean, self.by_bin = mean_of_bins(values, train.recorded), mean_by_bin(values, train.recorded)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        predicted = np.broadcast_to(self.mean, trials.values.shape).copy()
        reached = self.by_bin[: trials.values.shape[1]]
        predicted[:, : len(reached)] = reached
        return predicted


@dataclass(eq=False)
class PositionMean(_Average):
    """Each neuron's mean over the training frames at the same place: a map of place fields.

    It reads the covariates of the bin that it predicts, so in `onset` and `forecast` it knows where the animal will be.
    The bins hold about equal numbers of training frames, and the validation trials choose how many bins there are.
    Frames whose covariate is NaN have a bin of their own.

    Attributes:
        position: name of the covariate that is cut into bins; it can be any quantity.
        choice: name of a covariate of few values, or None. Each value gets its own map. At a place that has no training
            frame with a value, the map has the mean over all values.
    """

    position: str = "Position"
    choice: str | None = None

    def fit(self, train: Trials, validation: Trials) -> None:
        """Average over the training trials with each of `N_BINS`; keep what predicts the validation trials best.

        Raises:
            OdevaeError: if the recording lacks a covariate, or the choice has too many values.
        """
        errors = {}
        for n_bins in N_BINS:
            self._map = self._fitted(train, n_bins)
            errors[n_bins] = ((_frames(validation) - self.reconstruct(validation)[validation.recorded]) ** 2).mean()
        self.n_bins = min(errors, key=errors.get)
        self._map = self._fitted(train, self.n_bins)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self._map.means[self._map.cells(*self._places(trials))]

    def cells(self, trials: Trials) -> np.ndarray:
        """One for the cell of place and choice of each frame, else zero: ``(B, L, cells)``."""
        return np.eye(len(self._map.means))[self._map.cells(*self._places(trials))]

    def _fitted(self, train: Trials, n_bins: int) -> "_Map":
        frames, (place, choice) = _frames(train), self._places(train)
        place, choice = place[train.recorded], choice[train.recorded]
        known = place[~np.isnan(place)]
        edges = np.unique(np.quantile(known, np.arange(1, n_bins) / n_bins)) if len(known) else np.empty(0)
        fitted = _Map(edges, np.unique(choice[~np.isnan(choice)]))
        if len(fitted.choices) > MOST_CHOICES:
            raise OdevaeError(
                f"the covariate {self.choice!r} has {len(fitted.choices)} values in the training trials, but a map for "
                f"each choice takes at most {MOST_CHOICES}; name a covariate of fewer values."
            )
        everyone = _Map(edges, np.empty(0))
        any_choice = everyone.means_of(frames, place, choice, where_empty=frames.mean(axis=0))
        in_cell = np.tile(any_choice, (fitted.n_choices, 1))
        fitted.means = fitted.means_of(frames, place, choice, where_empty=in_cell)
        return fitted

    def _places(self, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """Position and choice ``(B, L)``; without a covariate for the choice it is NaN everywhere."""
        place = self._covariate(trials, self.position)
        return place, np.full_like(place, np.nan) if self.choice is None else self._covariate(trials, self.choice)

    def _covariate(self, trials: Trials, name: str) -> np.ndarray:
        if name not in trials.covariates:
            raise OdevaeError(
                f"{type(self).__name__}: no covariate {name!r} in the trials; name one of "
                f"{', '.join(trials.covariates) or 'none: the recording has no behaviour'}."
            )
        return trials.covariates[name]


@dataclass(eq=False)
class PositionChoiceMean(PositionMean):
    """`PositionMean` with a map for each choice."""

    choice: str = "Choice"


@dataclass(eq=False)
class NeuronsPositionChoice(BenchmarkModel):
    """No model: the observed activity, and the cell of place and choice as ones and zeros, are used as the latents.

    A linear readout from them says what neurons and behaviour together say of neurons that are held out.

    Attributes:
        position, choice: as in `PositionChoiceMean`.
    """

    position: str = "Position"
    choice: str = "Choice"

    def fit(self, train: Trials, validation: Trials) -> None:
        """Choose the bins of the position as `PositionChoiceMean` does.

        Raises:
            OdevaeError: if the recording lacks a covariate, or the choice has too many values.
        """
        self._means = PositionChoiceMean(position=self.position, choice=self.choice)
        self._means.fit(train, validation)

    def infer(self, trials: Trials) -> np.ndarray:
        """Activity and cells ``(B, L, N + C)``."""
        return np.concatenate([trials.values, self._means.cells(trials)], axis=2, dtype=np.float64)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return trials.values.astype(np.float64)


class Persistence(BenchmarkModel):
    """After the last observed frame the activity does not change."""

    def fit(self, train: Trials, validation: Trials) -> None:
        """Nothing is fitted."""

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        """The last of the first `n_frames`, in every bin; for a shorter trial, its last frame."""
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
        """The bins, and one more for an unknown position."""
        return len(self.edges) + 2

    @property
    def n_choices(self) -> int:
        """The values, and one more for any other value."""
        return len(self.choices) + 1

    def cells(self, place: np.ndarray, choice: np.ndarray) -> np.ndarray:
        """The cell of each frame, in the shape of both arguments."""
        bins = np.where(np.isnan(place), self.n_places - 1, np.searchsorted(self.edges, place))
        values = np.append(self.choices, np.nan)  # NaN equals no choice, so the last cell is for other values
        found = np.searchsorted(self.choices, choice)
        found = np.where(values[found] == choice, found, len(self.choices))
        return found * self.n_places + bins

    def means_of(
        self, frames: np.ndarray, place: np.ndarray, choice: np.ndarray, where_empty: np.ndarray
    ) -> np.ndarray:
        """Mean over the frames ``(M, N)`` of each cell, and `where_empty` in empty cells: ``(cells, N)``."""
        cell, n_cells = self.cells(place, choice), self.n_choices * self.n_places
        sums = np.zeros((n_cells, frames.shape[1]))
        np.add.at(sums, cell, frames)
        counts = np.bincount(cell, minlength=n_cells)[:, None]
        return np.where(counts > 0, sums / np.maximum(counts, 1), where_empty)


def _frames(trials: Trials) -> np.ndarray:
    """The recorded frames of all trials, ``(M, N)`` float64."""
    return trials.values[trials.recorded].astype(np.float64)
