"""Shared parts of linear-Gaussian models of a population: neurons as noisy sums of latents, and EM.

    y_t = C x_t + d + v_t,  v_t ~ N(0, R), R diagonal

`gpfa` and `lds` differ in how the latents ``x_t`` change over time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

# No neuron's noise variance is below this share of its variance in the training frames, as in the code of Yu et al.
# Otherwise a latent may reproduce a single neuron, whose noise then vanishes (a Heywood case). A neuron that varies
# less than the median active neuron gets the floor of that one. With a floor of its own, a neuron that hardly fires in
# training would outweigh all others by a single event in another trial, and a silent neuron would have no floor.
NOISE_FLOOR = 0.01
# Noise variances of the neurons: one for each neuron, as in factor analysis, or one for all, as in probabilistic PCA.
NOISES = ("each", "shared")
# Directions of the latents with less than this share of the information of the best direction count as unobserved.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Emission:
    """``N`` neurons as a function of ``D`` latents: ``y = C x + d + v`` with ``v ~ N(0, R)``, R diagonal.

    Attributes:
        loadings: ``C``, ``(N, D)``.
        offset: ``d``, ``(N,)``.
        noise: the diagonal of ``R``, ``(N,)``.
    """

    loadings: np.ndarray
    offset: np.ndarray
    noise: np.ndarray

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """``(..., D)`` to ``(..., N)``, without noise."""
        return latents @ self.loadings.T + self.offset

    def project(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Reduce each frame to the D numbers that hold all its information about the latents.

        With ``C' R^-1 C = F F'``, the projection ``s = F^-1 C' R^-1 (y - d)`` is ``F' x`` plus noise of covariance I.

        Args:
            frames: ``(T, N)``.

        Returns:
            ``F`` ``(D, D)``; ``s`` ``(T, D)``; and ``log N(y; d, R) - log N(s; 0, I)`` summed over frames: added to the
            log-density of the projections it gives that of the frames, for any prior of the latents.
        """
        weights = self.loadings.T / self.noise
        information, directions = np.linalg.eigh(weights @ self.loadings)
        observed = information > RANK_TOLERANCE * max(information[-1], np.finfo(float).tiny)
        root = np.sqrt(np.where(observed, information, 0.0))
        residual = frames - self.offset
        projections = residual @ weights.T @ directions / np.where(observed, root, np.inf)
        squares = np.einsum("tn,tn->n", residual, residual)
        log_noise = np.log(2 * np.pi * self.noise).sum() - len(root) * np.log(2 * np.pi)
        rest = -0.5 * (len(frames) * log_noise + (squares / self.noise).sum() - np.square(projections).sum())
        return directions * root, projections, float(rest)


def fit_emission(
    frames: np.ndarray, latents: np.ndarray, second_moment: np.ndarray, floor: np.ndarray, noise: str
) -> Emission:
    """The M-step for C, d and R: the emission that makes the frames most likely, given the posterior of their latents.

    Args:
        frames: ``(T, N)``.
        latents: posterior means, ``(T, D)``.
        second_moment: ``sum_t E[x_t x_t']``, ``(D, D)``.
        floor: the smallest allowed noise variance of each neuron, ``(N,)``.
        noise: one of `NOISES`.
    """
    total = latents.sum(axis=0)
    moments = np.block([[second_moment, total[:, None]], [total, np.array(len(frames))]])
    products = np.column_stack([frames.T @ latents, frames.sum(axis=0)])
    coefficients = np.linalg.solve(moments, products.T).T
    variance = (np.einsum("tn,tn->n", frames, frames) - (coefficients * products).sum(axis=1)) / len(frames)
    return Emission(coefficients[:, :-1], coefficients[:, -1], _floored(variance, floor, noise))


def first_emission(frames: np.ndarray, latent_dim: int, seed: int, floor: np.ndarray, noise: str) -> Emission:
    """Factor analysis of single frames ``(T, N)``, or PCA if all neurons share one noise variance.

    Raises:
        OdevaeError: if there are too few active neurons or frames.
    """
    active = np.ptp(frames, axis=0) > 0
    if min(active.sum(), len(frames)) <= latent_dim:
        raise OdevaeError(
            f"{active.sum()} neurons are active in the {len(frames)} training frames, too few for {latent_dim} "
            "latents; lower latent_dim or give more of them."
        )
    loadings, variance = np.zeros((frames.shape[1], latent_dim)), np.zeros(frames.shape[1])
    if noise == "shared":
        pca = PCA(latent_dim, random_state=seed).fit(frames)
        scale = np.sqrt(np.maximum(pca.explained_variance_ - pca.noise_variance_, 0.0))
        loadings[:], variance[:] = pca.components_.T * scale, pca.noise_variance_
    else:
        # Silent neurons would cause a division of zero by zero.
        analysis = FactorAnalysis(latent_dim, random_state=seed).fit(frames[:, active])
        loadings[active], variance[active] = analysis.components_.T, analysis.noise_variance_
    return Emission(loadings, frames.mean(axis=0), _floored(variance, floor, noise))


def noise_floor(frames: np.ndarray) -> np.ndarray:
    """The smallest allowed noise variance of each neuron, ``(N,)``, from the training frames ``(T, N)``.

    Raises:
        OdevaeError: if no neuron is active.
    """
    variance = np.where(np.ptp(frames, axis=0) > 0, frames.var(axis=0), 0.0)
    if not variance.any():
        raise OdevaeError("every neuron is silent in the training trials; latents need activity, so choose others.")
    return NOISE_FLOOR * np.maximum(variance, np.median(variance[variance > 0]))


def _floored(variance: np.ndarray, floor: np.ndarray, noise: str) -> np.ndarray:
    if noise == "shared":
        return np.full_like(variance, max(variance.mean(), floor.mean()))
    return np.maximum(variance, floor)


def recorded_frames(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """The recorded frames of all trials, one after the other, ``(T, N)`` float64, and their places, ``(B, L)`` bool.

    Raises:
        OdevaeError: if a trial is not recorded from its first bin on without a gap.
    """
    recorded = trials.recorded
    gaps = ~recorded[:, 0] | (recorded[:, 1:] & ~recorded[:, :-1]).any(axis=1)
    if gaps.any():
        raise OdevaeError(
            f"trial {trials.trial_ids[gaps][0]} is not recorded without a gap from its first bin on; cut it at the gap "
            "or leave it out."
        )
    return trials.values[recorded].astype(np.float64), recorded


def in_trials(frames: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Put frames ``(T, D)`` back to their places, ``(B, L)`` bool; zeros elsewhere: ``(B, L, D)``."""
    trials = np.zeros((*where.shape, frames.shape[1]))
    trials[where] = frames
    return trials


class Step(NamedTuple):
    """One E-step, and the M-step for the prior of the latents."""

    log_density: float  # of the projections
    latents: np.ndarray  # posterior means, (B, L, D)
    second_moment: np.ndarray  # sum of E[x_t x_t'] over the seen bins, (D, D)
    prior: Any  # the prior that makes these latents most likely


@dataclass(eq=False)
class LinearGaussian(BenchmarkModel):
    """Latents with a Gaussian prior over time, observed through an `Emission`; a subclass defines the prior.

    EM stops when an iteration raises the log-likelihood of the training trials by less than `tolerance` nats per frame,
    or after `max_iterations`. If `noises` names both of `NOISES`, the one that reconstructs the validation trials with
    the smaller squared error is kept: with one noise variance for each neuron, neurons count in units of their own SD,
    and where most are nearly silent, as in calcium imaging, latents describe small groups of these and leave most of
    the variance in recorded units unexplained. The basis of the latents has no meaning.

    Attributes:
        emission, prior: the fitted parameters.
        noise: the one of `NOISES` that was kept.
        log_likelihoods: nats, of the training trials, before each update.
    """

    noises: Sequence[str] = NOISES
    max_iterations: int = 200
    tolerance: float = 1e-3

    def __post_init__(self):
        if not self.noises or not set(self.noises) <= set(NOISES):
            raise OdevaeError(f"noises is {self.noises!r}; give one or both of {', '.join(NOISES)}.")

    def fit(self, train: Trials, validation: Trials) -> None:
        fitted = []
        for noise in self.noises:
            self._fit(train, noise)
            error = np.square(self.reconstruct(validation) - validation.values)[validation.recorded].mean()
            fitted.append((error, noise, self.emission, self.prior, self.log_likelihoods))
        _, self.noise, self.emission, self.prior, self.log_likelihoods = min(fitted, key=lambda fit: fit[0])

    def _fit(self, train: Trials, noise: str) -> None:
        frames, seen = recorded_frames(train)
        floor = noise_floor(frames)
        self.emission = first_emission(frames, self.latent_dim, self.seed, floor, noise)
        self.prior = self.first_prior(frames, seen)
        self.log_likelihoods: list[float] = []
        for _ in range(self.max_iterations):
            factor, projections, rest = self.emission.project(frames)
            step = self.step(factor, in_trials(projections, seen), seen)
            self.log_likelihoods.append(step.log_density + rest)
            if (np.diff(self.log_likelihoods[-2:]) < self.tolerance * len(frames)).any():
                break
            self.prior = step.prior
            self.emission = fit_emission(frames, step.latents[seen], step.second_moment, floor, noise)

    def first_prior(self, frames: np.ndarray, seen: np.ndarray) -> Any:
        """The prior to start from, given the frames ``(T, N)`` and their places ``(B, L)``."""
        raise NotImplementedError

    def step(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> Step:
        """One step of EM for the prior, given ``F`` and the projections ``(B, L, D)`` of the bins `seen` ``(B, L)``."""
        raise NotImplementedError

    def latents_from(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Posterior means of all bins ``(B, L, D)`` given the leading bins `seen` ``(B, L)``."""
        raise NotImplementedError

    def latents_ahead(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray, horizon: int) -> np.ndarray:
        """Posterior means ``(B, L, D)`` of each bin ``t`` given those up to ``t - horizon``."""
        raise NotImplementedError

    def infer(self, trials: Trials) -> np.ndarray:
        factor, projections, recorded = self._project(trials)
        return self.latents_from(factor, projections, recorded)

    def reconstruct(self, trials: Trials) -> np.ndarray:
        return self.emission.decode(self.infer(trials))

    def onset(self, trials: Trials, n_frames: int) -> np.ndarray:
        factor, projections, recorded = self._project(trials)
        seen = recorded & (np.arange(recorded.shape[1]) < n_frames)
        return self.emission.decode(self.latents_from(factor, projections, seen))

    def forecast(self, trials: Trials, horizon: int) -> np.ndarray:
        factor, projections, recorded = self._project(trials)
        predictions = self.emission.decode(self.latents_ahead(factor, projections, recorded, horizon))
        predictions[:, :horizon] = np.nan
        return predictions

    def _project(self, trials: Trials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        frames, recorded = recorded_frames(trials)
        factor, projections, _ = self.emission.project(frames)
        return factor, in_trials(projections, recorded), recorded
