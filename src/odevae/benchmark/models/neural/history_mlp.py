"""One small network for all neurons, each forecast from its own last frames."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from odevae.benchmark.models.autoregression import past_bins
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.training.descent import Best, descend_averaged, weights_of
from odevae.training.reproducibility import random_state_kept, seed_everything

HISTORY = 12  # frames that are seen; E65 is smoothed over 11
WIDTH = 64
# An epoch is a fixed amount of work, so that the cost does not grow with the recording.
EPOCHS = 80
PATIENCE = 10
STEPS_PER_EPOCH = 60
BATCH = 1024
LEARNING_RATE = 6e-3
WEIGHT_DECAY = 1e-2
AVERAGING = 0.98  # per step, of the weights that are judged and kept
VALIDATION_WINDOWS = 50_000  # at most
CHUNK = 65_536  # windows that are forecast at a time: bounds the memory


class HistoryMLP(BenchmarkModel):
    """A perceptron from a neuron's last `HISTORY` frames to its frames at several horizons, the same for all neurons.

    The first frame of a trial takes the place of those before it. Each horizon's squared error is taken relative to
    that of holding the last frame; otherwise the long horizons, of which little can be known, would drown the short
    ones. Every horizon is forecast with the weights of the epoch that had the least error at that horizon on the
    validation trials.

    The network cannot know that some neurons fire more than others, so each neuron's mean residual on the training
    trials is added to its forecasts. If no training value is negative, forecasts are held at the smallest of them.

    Args:
        latent_dim: not used.
        seed: of the initial weights and of the batches.
        horizons: how many frames ahead it forecasts.
    """

    def __init__(self, latent_dim: int = 1, seed: int = 0, horizons: Sequence[int] = (1, 2, 3, 5, 10)):
        super().__init__(latent_dim, seed)
        self.horizons = tuple(horizons)

    def fit(self, train: Trials, validation: Trials) -> None:
        """See `BenchmarkModel.fit`. Horizons that reach beyond every training trial are left out.

        Raises:
            OdevaeError: if no horizon is left, or the training trials hold one value only.
        """
        frames = train.values[train.recorded]
        self._silence = frames.min()
        active = frames[frames > self._silence]
        longest = train.recorded.sum(axis=1).max()
        self._fitted = [horizon for horizon in self.horizons if horizon < longest]
        if not self._fitted or not len(active):
            raise OdevaeError(
                f"the history network forecasts {min(self.horizons)} frames ahead or more and found no training trial "
                "that is longer, or no activity in any; give longer trials, or shorter horizons."
            )
        # Where neurons rest most of the time the median is their rest, and a network of small biases starts out there.
        self._centre = np.median(frames)
        self._scale = np.sqrt(((active - self._centre) ** 2).mean(dtype=np.float64)).astype(np.float32) or np.float32(1)
        with random_state_kept():
            seed_everything(self.seed)
            network = HistoryNetwork(len(self._fitted))
            self._networks = _trained(network, self._windows(train), self._windows(validation), self.seed)
        self._residuals = [self._mean_residual(train, horizon) for horizon in self._fitted]

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        """See `BenchmarkModel.forecast`.

        Raises:
            OdevaeError: if the network was not fitted for this horizon.
        """
        if horizon not in self._fitted:
            raise OdevaeError(
                f"the history network was fitted to forecast {', '.join(map(str, self._fitted))} frames ahead and not "
                f"{horizon}; name that horizon in horizons, and give training trials that are longer."
            )
        floor = self._silence if self._silence >= 0 else -np.inf
        residual = self._residuals[self._fitted.index(horizon)]
        return np.maximum(self._from_network(trials, horizon) + residual, floor)

    def _mean_residual(self, train: Trials, horizon: int) -> np.ndarray:
        """What the network's forecasts lack on average, ``(N,)``."""
        residuals = (train.values - self._from_network(train, horizon))[:, horizon:]
        return residuals[train.recorded[:, horizon:]].mean(axis=0)

    def _from_network(self, trials: Trials, horizon: int) -> np.ndarray:
        """The network's own forecasts ``(B, L, N)``, NaN in the first `horizon` bins."""
        output = self._fitted.index(horizon)
        values, silence = self._scaled(trials.values), self._scaled(self._silence)
        moving = np.nonzero(_moving(values[:, : max(values.shape[1] - horizon, 0)], silence))
        predicted = np.full(values.shape, np.nan)

        def ahead(histories: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return self._networks[output](torch.from_numpy(histories))[:, output].numpy()

        predicted[:, horizon:] = ahead(np.full((1, HISTORY), silence, dtype=np.float32))
        for start in range(0, len(moving[0]), CHUNK):
            trial, last, neuron = (index[start : start + CHUNK] for index in moving)
            predicted[trial, last + horizon, neuron] = ahead(_histories(values, trial, last, neuron))
        return predicted * self._scale + self._centre

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """Recorded units to distances from the median, relative to their root mean square in active frames, float32."""
        return (values - self._centre) / self._scale

    def _windows(self, trials: Trials) -> "_Windows":
        return _Windows(self._scaled(trials.values), trials.recorded, self._scaled(self._silence), self._fitted)


class HistoryNetwork(nn.Module):
    """``12 -> 64 -> 64 -> H`` with GELU, added to a linear map: the AR(12) that all neurons share."""

    def __init__(self, n_horizons: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(HISTORY, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, n_horizons)
        )
        self.linear = nn.Linear(HISTORY, n_horizons)

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        """``(M, 12)`` -> ``(M, H)``."""
        return self.body(history) + self.linear(history)


class _Windows:
    """Histories of trials and what follows them, with all silent histories as one.

    In a deconvolved recording a neuron is at the smallest value most of the time. Histories that are silent throughout
    are all the same to the network, so their squared errors add up to what their number and the mean of what follows
    them say, and a constant: nothing is lost by not showing them one by one.

    Args:
        values: ``(B, L, N)`` float32.
        recorded: ``(B, L)``.
        silence: the value of a neuron at rest.
        horizons: the ``H`` horizons.
    """

    def __init__(self, values: np.ndarray, recorded: np.ndarray, silence: float, horizons: Sequence[int]):
        n_trials, n_bins, n_neurons = values.shape
        moving = _moving(values, silence)
        counted_bins = np.zeros((*recorded.shape, len(horizons)), dtype=bool)
        # Per horizon: number of silent histories, mean of what follows them, error of holding the last frame.
        self.n_silent, self.after_silence, self.held = np.zeros((3, len(horizons)), dtype=np.float32)
        for output, horizon in enumerate(horizons):
            counted = recorded[:, horizon:]
            counted_bins[:, : counted.shape[1], output] = counted
            now, then = values[:, : counted.shape[1]][counted], values[:, horizon:][counted]
            silent = ~moving[:, : counted.shape[1]][counted]
            self.n_silent[output] = silent.sum()
            self.after_silence[output] = then[silent].mean() if silent.any() else 0.0
            self.held[output] = ((then - now) ** 2).sum(dtype=np.float64)
        trial, last, neuron = np.nonzero(moving & counted_bins.any(axis=2)[..., None])
        # Each neuron's trial in one piece, with its first frame before it; a window is then one place and an offset.
        padded = np.pad(values, [(0, 0), (HISTORY - 1, max(horizons)), (0, 0)], mode="edge").transpose(0, 2, 1)
        self._series = torch.from_numpy(np.ascontiguousarray(padded).ravel())
        self._place = (trial * n_neurons + neuron) * padded.shape[2] + last + HISTORY - 1
        self._offsets = torch.tensor([*range(0, -HISTORY, -1), *horizons])
        self._counted, self._bin = torch.from_numpy(counted_bins.reshape(n_trials * n_bins, -1)), trial * n_bins + last
        self._silent_history = torch.full((1, HISTORY), float(silence))

    def __len__(self) -> int:
        """The number of histories that are not silent."""
        return len(self._place)

    def error(self, network: nn.Module, rows: np.ndarray) -> torch.Tensor:
        """Squared error relative to that of holding the last frame, ``(H,)``.

        Args:
            network: see `HistoryNetwork`.
            rows: the sample of the histories that are not silent, ``(M,)``.
        """
        windows = self._series[torch.from_numpy(self._place[rows])[:, None] + self._offsets]
        histories, truth = windows.split([HISTORY, len(self.held)], dim=1)
        predicted = network(torch.cat([histories, self._silent_history]))
        # What follows a trial may be anything, so it is replaced before it enters a sum.
        errors = torch.where(self._counted[torch.from_numpy(self._bin[rows])], predicted[:-1] - truth, 0)
        silence = torch.from_numpy(self.n_silent) * (predicted[-1] - torch.from_numpy(self.after_silence)) ** 2
        squared = (errors**2).sum(dim=0) * (len(self) / max(len(rows), 1)) + silence
        return squared / torch.from_numpy(np.where(self.held > 0, self.held, 1))


def _trained(network: HistoryNetwork, train: _Windows, validation: _Windows, seed: int) -> list[HistoryNetwork]:
    """For each horizon, the averaged weights of the epoch with the least error on the validation trials."""
    generator = np.random.default_rng(seed)
    judged = generator.permutation(len(validation))[:VALIDATION_WINDOWS]
    epochs = descend_averaged(
        network,
        iter(lambda: (generator.integers(len(train), size=BATCH),), None),
        lambda rows: train.error(network, rows).mean(),
        steps=EPOCHS * STEPS_PER_EPOCH,
        look_every=STEPS_PER_EPOCH,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        decay=AVERAGING,
    )
    best = [Best(weights_of(network))] * len(train.held)
    for epoch, averaged in enumerate(epochs, start=1):
        with torch.no_grad():
            errors = validation.error(averaged, judged).tolist()
        best = [so_far.or_better(epoch, -error, averaged) for so_far, error in zip(best, errors, strict=True)]
        if epoch - max(so_far.epoch for so_far in best) >= PATIENCE:
            break
    networks = [copy.deepcopy(network) for _ in best]
    for network, so_far in zip(networks, best, strict=True):
        network.load_state_dict(so_far.weights)
    return networks


def _moving(values: np.ndarray, silence: float) -> np.ndarray:
    """Whether any of the last `HISTORY` frames is not silent, ``(B, L, N)``."""
    awake = values != silence
    moving = np.zeros_like(awake)
    for bins in past_bins(values.shape[1], HISTORY, 0):
        moving |= awake[:, bins]
    return moving


def _histories(values: np.ndarray, trial: np.ndarray, last: np.ndarray, neuron: np.ndarray) -> np.ndarray:
    """The last `HISTORY` frames of neurons, latest first, ``(M, 12)``; `last` is the last bin that is seen."""
    bins = past_bins(values.shape[1], HISTORY, 0)[:, last].T
    return values[trial[:, None], bins, neuron[:, None]]
