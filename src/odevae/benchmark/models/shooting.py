"""The multiple-shooting ODE-VAE in the benchmark, and the controls that show what its field is worth.

`Shooting` smooths, with knots every few frames. `ShootingFrozen` is the same model
whose field never moves, with settings chosen for it in the same way. `ShootingOneState` answers with the field alone,
from one initial state for the whole trial, the setting of Sedler et al. (2023). `ShootingTuned` has Gaussian tuning
curves, for neurons with fields.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.models.refinement import refined_codes
from odevae.data.trials import Trials
from odevae.events import DENSE
from odevae.models.shooting import drawn_paths, refined_path
from odevae.training.hidden_activity import inferred_paths, shown
from odevae.training.reproducibility import random_state_kept, seed_everything
from odevae.training.shooting import CANDIDATES, TUNED, ShootingSettings, build, fit_trials, tensors

# Phases of the knots over which an answer is averaged.
PHASES = 5
# Trials that are answered at once.
CHUNK = 64
# Draws from the posterior, for an interval; a multiple of the phases.
DRAWS = 200
# Frames for which the control holds its latents: what a frozen field can follow is slower.
FROZEN_BLOCKS = (2, 4)


class Shooting(BenchmarkModel):
    """Posteriors at knots every few frames, a neural ODE between them; the observation model fits the recording.

    Attributes:
        candidates: settings that validation trials choose from; None takes `default_candidates`.
        settings: the ones that were chosen; set by `fit`.
        kind: what counts as an event in the training trials, see `odevae.events.KINDS`; set by `fit`.
        scale: of the activity that the model sees, in recorded units; set by `fit`.
        history: loss of hidden validation activity at each look; set by `fit`.
        smooths: whether knots are moved to where what is seen of a trial is likeliest; set by `fit`: where activity is
            noisy, if it makes hidden entries of some validation trials likelier.
    """

    frozen = False
    # Whether what the encoder answers is refined by what is seen of a trial.
    refines = True

    def __init__(self, latent_dim: int = 1, seed: int = 0, candidates: tuple[ShootingSettings, ...] | None = None):
        super().__init__(latent_dim, seed)
        self.candidates = candidates

    def default_candidates(self, kind: str) -> tuple[ShootingSettings, ...]:
        """The settings for activity with events of one kind, see `odevae.events.KINDS`."""
        return CANDIDATES[kind]

    def fit(self, train: Trials, validation: Trials) -> None:
        """Choose settings and weights on validation trials, on neurons and entries hidden from the encoder.

        The global random state is left as it was.

        Raises:
            OdevaeError: if the loss is no number.
        """
        with random_state_kept():
            seed_everything(self.seed)
            fitted = fit_trials(
                train,
                validation,
                self.latent_dim,
                candidates=lambda kind: self.candidates or self.default_candidates(kind),
                frozen=self.frozen,
                refines=self.refines,
            )
        self.kind, self.scale, self.smooths = fitted.kind, fitted.scale, fitted.smooths
        self.model, self.settings = fitted.fit.model, fitted.fit.settings
        self.history = [row["val_loss"] for row in fitted.fit.history]

    def restore(
        self,
        settings: dict,
        kind: str,
        scale: float,
        smooths: bool,
        n_neurons: int,
        weights: dict[str, torch.Tensor],
    ) -> None:
        """Become the model of an earlier fit, from its attributes, the number of neurons and the weights."""
        self.settings, self.kind, self.scale, self.smooths = ShootingSettings(**settings), kind, scale, smooths
        # Of these frames only the number of neurons counts: the moments are among the weights.
        self.model = build(kind, torch.ones(2, n_neurons), self.latent_dim, self.settings, self.frozen)
        self.model.load_state_dict(weights)
        self.model.eval().requires_grad_(False)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        """Where the observation model is `exact`, latents of every frame are refined by what is seen of it; elsewhere
        that would copy noise, and they stay on the paths of the field."""
        mean = self.model.likelihood.mean
        if not (self.refines and self.model.likelihood.exact):
            return self._answers(trials, mean) * np.float32(self.scale)
        found = []
        for values, recorded in self._chunks(trials):
            codes = self._refined(values, recorded)
            with torch.no_grad():
                found.append(mean(self.model.decoder(codes)).numpy())
        return np.concatenate(found) * np.float32(self.scale)

    def _refined(self, values: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        likelihood, decoder = self.model.likelihood, self.model.decoder

        def misfit(codes: torch.Tensor) -> torch.Tensor:
            output = decoder(codes)
            squared = (likelihood.mean(output) - values).square()
            return (squared + likelihood.negative_log(output, values)).sum(dim=-1) * recorded

        return refined_codes(self._paths(values, recorded).mean(dim=0), misfit)

    def sampled(self, trials: Trials) -> np.ndarray:
        """Expected activity ``(B, L, N)`` on one path, whose knots are drawn from their posteriors."""
        model, found = self.model, []
        phases = model.phases(PHASES)
        for values, recorded in self._chunks(trials):
            path = self._paths(values, recorded)[0]
            with torch.no_grad():
                log_variance = model.encoder(self._shown(values, _none(values)), recorded)[1]
                drawn = drawn_paths(model, path, log_variance, phases[0], 1)[0]
                found.append(model.likelihood.mean(model.decoder(drawn)).numpy())
        return np.concatenate(found) * np.float32(self.scale)

    def event_rates(self, task: str, trials: Trials, number: int) -> np.ndarray:
        """Of whole trials, from the path, because refined latents are too sure of what is active."""
        return self._answers(trials, self.model.likelihood.events)

    def infer(self, trials: Trials) -> np.ndarray:
        """Mean path over the phases of the knots."""
        return np.concatenate([self._paths(*chunk).mean(dim=0).numpy() for chunk in self._chunks(trials)])

    def hidden_neurons(self, trials: Trials, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = torch.from_numpy(hidden)
        trials = replace(trials, values=np.where(hidden, 0.0, trials.values))
        activity = self._answers(trials, self.model.likelihood.mean, chosen) * np.float32(self.scale)
        return activity[..., hidden], self._answers(trials, self.model.likelihood.events, chosen)[..., hidden]

    def hidden_frames(self, trials: Trials, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Activity and expected events ``(B, L, N)`` of all frames, if some ``(B, L)`` bool are seen of no neuron.

        A frame is hidden with about the same probability wherever it is, as the encoder makes up for it.
        """
        likelihood, found = self.model.likelihood, []
        rows = torch.from_numpy(hidden)[..., None].split(CHUNK)
        for (values, recorded), unseen in zip(self._chunks(trials), rows, strict=True):
            paths = self._paths(torch.where(unseen, 0.0, values), recorded, unseen)
            with torch.no_grad():
                output = [self.model.decoder(path) for path in paths]
                found.append(
                    [torch.stack(list(map(of, output))).mean(dim=0) for of in (likelihood.mean, likelihood.events)]
                )
        activity, events = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return activity * np.float32(self.scale), events

    def interval(
        self, trials: Trials, coverage: float = 0.9, hidden: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where activity is expected to be, with a probability.

        Args:
            trials: to answer for.
            coverage: the probability, between 0 and 1.
            hidden: ``(N,)`` bool, neurons that are not seen; all are seen without it.

        Returns:
            Lower and upper end, ``(B, L, N)`` both: quantiles of `DRAWS` draws of path and activity.
        """
        tails = np.array([(1 - coverage) / 2, (1 + coverage) / 2])
        ends = [np.quantile(draws, tails, axis=0) for draws, _ in self._drawn(trials, hidden)]
        lower, upper = np.stack(ends, axis=1).astype(np.float32)
        return lower, upper

    def ranks(self, trials: Trials, hidden: np.ndarray | None = None) -> np.ndarray:
        """Share of the draws below the recorded activity ``(B, L, N)``, ties in random order.

        Uniform between 0 and 1 if the intervals are right (the randomised probability integral transform, Czado,
        Gneiting & Held, *Biometrics* 2009), for counts and for activity with many zeros too. See `interval`.
        """
        generator, found = np.random.default_rng(self.seed), []
        for draws, values in self._drawn(trials, hidden):
            below, ties = (draws < values).sum(axis=0), (draws == values).sum(axis=0)
            found.append((below + generator.random(values.shape) * (ties + 1)) / (len(draws) + 1))
        return np.stack(found)

    def _drawn(self, trials: Trials, hidden: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each trial the draws ``(DRAWS, L, N)`` and the recorded activity ``(L, N)``, one trial in memory.

        The global random state is left as it was.
        """
        model, phases, row = self.model, self.model.phases(PHASES), 0
        for values, recorded in self._chunks(trials):
            unseen = _none(values) if hidden is None else torch.from_numpy(hidden)
            values = torch.where(unseen, 0.0, values)
            paths = self._paths(values, recorded, unseen)
            with torch.no_grad():
                log_variance = model.encoder(self._shown(values, unseen), recorded)[1]
            for path, of_trial in zip(paths.unbind(dim=1), log_variance, strict=True):
                with torch.no_grad(), random_state_kept():
                    seed_everything(self.seed + row)
                    drawn = [
                        drawn_paths(model, path[i : i + 1], of_trial[None], phase, DRAWS // len(phases))[:, 0]
                        for i, phase in enumerate(phases)
                    ]
                    activity = model.likelihood.draw(model.decoder(torch.cat(drawn)))
                yield activity.numpy() * np.float32(self.scale), trials.values[row]
                row += 1

    def _answers(
        self, trials: Trials, answer: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor | None = None
    ) -> np.ndarray:
        """``(B, L, N)``: what `answer` makes of the decoder's output, mean over the phases of the knots."""
        with torch.no_grad():
            return np.concatenate(
                [
                    torch.stack([answer(self.model.decoder(path)) for path in self._paths(*chunk, hidden)])
                    .mean(dim=0)
                    .numpy()
                    for chunk in self._chunks(trials)
                ]
            )

    def _paths(self, values: torch.Tensor, recorded: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """Paths ``(P, B, L, D)`` from what is not hidden ``(N,)`` or ``(B, L, 1)``."""
        hidden = _none(values) if hidden is None else hidden
        share, phases = float(hidden.float().mean()), self.model.phases(PHASES)
        continuity = self.settings.tight if self.smooths else None
        return inferred_paths(self.model, values, recorded, hidden, share, phases, continuity)

    def _shown(self, values: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """What the encoder is given of activity ``(B, L, N)`` that is not hidden, see `_paths`."""
        return shown(self.model.likelihood.seen(values), hidden, float(hidden.float().mean()))

    def _chunks(self, trials: Trials):
        values, recorded = tensors(trials, self.scale)
        return zip(values.split(CHUNK), recorded.split(CHUNK), strict=True)


class ShootingFrozen(Shooting):
    """The control: the field never moves, so latents are held from each knot to the next; block lengths of its own."""

    frozen = True

    def default_candidates(self, kind: str) -> tuple[ShootingSettings, ...]:
        return tuple(
            dict.fromkeys(
                replace(settings, block_frames=n_frames) for settings in CANDIDATES[kind] for n_frames in FROZEN_BLOCKS
            )
        )


class ShootingTuned(Shooting):
    """Neurons with Gaussian tuning curves of the latents, as place cells have, in place of a decoder that is chosen.

    Chosen is how the fit starts, from coordinates of the frames or from random weights, and whether half of the latents
    are velocities.
    """

    def default_candidates(self, kind: str) -> tuple[ShootingSettings, ...]:
        first = replace(TUNED, log_link=kind == DENSE)
        second = [replace(first, second_order=True)] if self.latent_dim % 2 == 0 else []
        return (first, replace(first, charted=False), *second)


class ShootingOneState(Shooting):
    """The field alone: one initial state a trial, then no more of the encoder.

    The state is the posterior mean at the first frame, then moved along the gradient of the likelihood of what is seen
    of the trial through the field: of the whole trial, or in `onset` of its first frames.
    """

    refines = False
    smooths = False

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        return self._answers(_first(trials, n_frames), self.model.likelihood.mean) * np.float32(self.scale)

    def event_rates(self, task: str, trials: Trials, number: int) -> np.ndarray:
        seen = _first(trials, number) if task == "onset" else trials
        return self._answers(seen, self.model.likelihood.events)

    def _paths(self, values: torch.Tensor, recorded: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
        hidden = _none(values) if hidden is None else hidden
        with torch.no_grad():
            start = self.model.encoder(self._shown(values, hidden), recorded)[0][:, 0]
        counted = recorded[..., None] & ~hidden
        return refined_path(self.model, start, values, counted)[None]


def _none(values: torch.Tensor) -> torch.Tensor:
    """No neuron hidden ``(N,)``."""
    return torch.zeros(values.shape[-1], dtype=torch.bool)


def _first(trials: Trials, n_frames: int) -> Trials:
    """The trials as far as their first frames; the bins after them are there, but not recorded."""
    return replace(trials, recorded=trials.recorded & (np.arange(trials.recorded.shape[1]) < n_frames))
