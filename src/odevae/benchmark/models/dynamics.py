"""The model behind the verdict on dynamics, see `odevae.benchmark.dynamics`."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.models.shooting import Shooting
from odevae.data.trials import Trials
from odevae.models.shooting import ShootingVAE, refined_path
from odevae.training.hidden_activity import HIDDEN_GROUPS, PHASES, inferred_paths
from odevae.training.shooting import HEAVY, ShootingSettings, tensors

# Blocks that are long enough to need a field, and a model that is held back as for few trials.
SETTINGS = replace(HEAVY, block_frames=10, width=128, steps=300, learning_rate=5e-3)
# Frames after which a control has forgotten a share of 1 - 1/e of what it knew of the state, or the field is trusted
# that much less. At first it is trusted with this weight, so that no surprise costs without bound.
FORGETTING = (1.0, 3.0, 10.0, 30.0, 100.0, math.inf)
MOST_TRUST = 0.95


@dataclass(frozen=True)
class Forecast:
    """Predictions of the second halves of some trials, each from its first half.

    Attributes:
        values: ``(B, L, N)`` in units of the model's scale.
        recorded: ``(B, L)``.
        later: ``(B, L)``, the bins of the second halves.
        frames_later: ``(B, L)``, frames since the last one of the first half.
        field: path by the field ``(B, L, D)``.
        controls: paths without a field, each ``(B, L, D)``; None is each neuron's mean activity.
    """

    values: torch.Tensor
    recorded: torch.Tensor
    later: torch.Tensor
    frames_later: torch.Tensor
    field: torch.Tensor
    controls: list[torch.Tensor | None]


class Encoded(Shooting):
    """Answers as its encoder does: the error rate of the verdict was measured so."""

    refines = False


class Dynamics(BenchmarkModel):
    """Multiple shooting with long blocks, of which only `second_halves` is asked."""

    def __init__(self, latent_dim: int = 1, seed: int = 0, settings: ShootingSettings = SETTINGS):
        super().__init__(latent_dim, seed)
        self.shooting = Encoded(latent_dim, seed, (settings,))

    def fit(self, train: Trials, validation: Trials) -> None:
        """Fit the model; choose the control, and how long the field is trusted, on validation trials."""
        self.shooting.fit(train, validation)
        self._mean_path = mean_path(self.shooting, train)
        with torch.no_grad():
            forecast = self.forecast_of(validation)
            later = forecast.later[..., None]
            by_control = [float((self._losses(forecast, path) * later).sum()) for path in forecast.controls]
            self._control = int(np.argmin(by_control))
            self._trusted = min(FORGETTING, key=lambda frames: float((self._mixed(forecast, frames) * later).sum()))

    @torch.no_grad()
    def second_halves(self, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        network, forecast = self.shooting.model, self.forecast_of(trials)

        def total(losses: torch.Tensor) -> np.ndarray:
            return (losses.sum(dim=2) * forecast.later).sum(dim=1).double().numpy()

        control = self._losses(forecast, forecast.controls[self._control])
        everything = losses_of_hidden_entries(network, forecast.values, forecast.recorded)
        nothing = self._losses(forecast, None)
        return total(control - self._mixed(forecast, self._trusted)), total(nothing - everything)

    def forecast_of(self, trials: Trials) -> Forecast:
        """Paths of the second halves of some trials, from their first halves."""
        network = self.shooting.model
        values, recorded = tensors(trials, self.shooting.scale)
        bins = torch.arange(values.shape[1])
        first = recorded & (bins < recorded.sum(dim=1)[:, None] // 2)
        means, _ = network.encoder(network.likelihood.seen(values) * first[..., None], first)
        path = refined_path(network, means[:, 0], values, first[..., None])
        # The last state of the first half, as the field's path has it and as the encoder has it without the field.
        last = (first.sum(dim=1) - 1).clamp_min(0)
        at_last = torch.arange(len(path)), last
        frames_later = (bins - last[:, None]).clamp_min(0)
        mean = _lengthened(self._mean_path, len(bins))
        controls = [
            centre + _kept(frames_later, frames) * (held - centre[last])[:, None]
            for held in (path[at_last], means[at_last])
            for frames in FORGETTING
            for centre in (mean, torch.zeros_like(mean))
        ]
        return Forecast(values, recorded, recorded & ~first, frames_later, path, [*controls, None])

    def _losses(self, forecast: Forecast, path: torch.Tensor | None) -> torch.Tensor:
        """Nats of every entry ``(B, L, N)`` on a path."""
        network = self.shooting.model
        output = (
            network.likelihood.start.expand(*forecast.values.shape[:2], -1) if path is None else network.decoder(path)
        )
        return network.likelihood.negative_log(output, forecast.values)

    def _mixed(self, forecast: Forecast, trusted: float) -> torch.Tensor:
        """Nats of every entry when the field is trusted less and less, and the control more.

        A mixture of the two distributions: a chaotic path is right for a while, and then surely wrong.
        """
        of_field = self._losses(forecast, forecast.field)
        of_control = self._losses(forecast, forecast.controls[self._control])
        weight = MOST_TRUST * _kept(forecast.frames_later, trusted)
        return -torch.logaddexp(torch.log(weight) - of_field, torch.log1p(-weight) - of_control)


def mean_path(model: Shooting, train: Trials) -> torch.Tensor:
    """Mean latents of the training trials at each frame ``(L, D)``."""
    inside = train.recorded[..., None]
    counts = inside.sum(axis=0)
    known = counts[:, 0] > 0
    path = (model.infer(train) * inside).sum(axis=0)[known] / counts[known]
    return torch.from_numpy(path.astype(np.float32))


def _lengthened(path: torch.Tensor, n_bins: int) -> torch.Tensor:
    """A path ``(L, D)`` cut to `n_bins`, or with its last state held."""
    return path[torch.arange(n_bins).clamp_max(len(path) - 1)]


def _kept(frames_later: torch.Tensor, forgetting: float) -> torch.Tensor:
    """The share of a state that is kept after some frames, ``(B, L, 1)``."""
    return torch.exp(-frames_later / forgetting)[..., None]


def losses_of_hidden_entries(network: ShootingVAE, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
    """Nats of every entry ``(B, L, N)``, each hidden from the encoder once, together with a few others."""
    group = torch.randint(HIDDEN_GROUPS, values.shape, generator=torch.Generator().manual_seed(0))
    found = torch.zeros_like(values)
    for i in range(HIDDEN_GROUPS):
        paths = inferred_paths(network, values, recorded, group == i, 1 / HIDDEN_GROUPS, network.phases(PHASES))
        unlikely = sum(network.likelihood.negative_log(network.decoder(path), values) for path in paths) / len(paths)
        found = torch.where(group == i, unlikely, found)
    return found
