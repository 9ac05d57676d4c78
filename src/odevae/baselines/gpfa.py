"""Gaussian-process factor analysis (GPFA) of Yu et al. (2009, J Neurophysiol 102:614), for any real-valued activity.

    x_i ~ GP(0, k_i),  k_i(u) = (1 - e) exp(-u^2 / (2 tau_i^2)) + e [u = 0]      y_t = C x_t + d + v_t,  v_t ~ N(0, R)

for latents ``i = 1 .. D``, lags ``u`` and timescales ``tau_i`` in frames, and a fixed white share ``e`` (their eqs. 1
to 4), fitted by expectation-maximisation (EM). It is written here because elephant fits spike trains only, and
BlockInverseGPFA, which takes continuous data and trials of any length, refuses silent neurons; neither predicts.

All answers and the E-step come from one Cholesky factor. Let ``s_t`` be the projection of ``y_t`` that holds all it
tells about ``x_t`` (`Emission.project`). The covariance ``G G'`` of ``s_1 .. s_T`` is a leading block of that of any
longer trial, and so is ``G``; hence the innovations ``G^-1 s`` up to bin ``t`` depend on the bins up to ``t`` only, and

    E[x_u | y_1 .. y_t] = sum of W_uj (innovation j) over j <= t,    W = Cov(x, s) G^-T

exactly, for every ``u``, before or after ``t``, and for every length of trial: smoothing, onsets and forecasts differ
only in which terms they leave out.

`Emission` and `LinearGaussian`, the emission and its EM, are also those of `odevae.baselines.lds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize_scalar
from sklearn.decomposition import PCA, FactorAnalysis

from odevae.baselines.reference import Reference
from odevae.errors import OdevaeError
from odevae.trials import Trials

# No neuron's noise variance falls below this share of its variance in the training frames, as in the code of Yu et al.:
# otherwise a latent may reproduce a single neuron and its noise vanish (a Heywood case). A neuron that varies less than
# the median active one gets that one's floor: with a floor of its own, one that hardly fires in training would outweigh
# all others by a single event in another trial, and a silent one would have none.
NOISE_FLOOR = 0.01
# What the noise variances of the neurons may be: each its own, as in factor analysis, or one for all, as in
# probabilistic PCA.
NOISES = ("each", "shared")
# Directions of the latents about which the neurons tell this much less than about the best one are not told at all.
RANK_TOLERANCE = 1e-12
# The variance ``e`` of a latent that is white, as in Yu et al.; it keeps the covariances invertible.
WHITE_SHARE = 1e-3
# One M-step looks for a timescale up to this factor away.
TIMESCALE_STEP = np.e


@dataclass(frozen=True)
class Emission:
    """What ``N`` neurons show of ``D`` latents: ``y = C x + d + v`` with ``v ~ N(0, R)``, R diagonal.

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
        """Reduce frames to the D numbers that hold all they tell about their latents.

        With ``C' R^-1 C = F F'``, the projection ``s = F^-1 C' R^-1 (y - d)`` is ``F' x`` plus noise of covariance I.

        Args:
            frames: ``(T, N)``.

        Returns:
            ``F`` ``(D, D)``; ``s`` ``(T, D)``; and ``log N(y; d, R) - log N(s; 0, I)`` summed over frames: added to the
            log-density of the projections it gives that of the frames, whatever the prior of the latents.
        """
        weights = self.loadings.T / self.noise
        information, directions = np.linalg.eigh(weights @ self.loadings)
        told = information > RANK_TOLERANCE * max(information[-1], np.finfo(float).tiny)
        root = np.sqrt(np.where(told, information, 0.0))
        residual = frames - self.offset
        projections = residual @ weights.T @ directions / np.where(told, root, np.inf)
        squares = np.einsum("tn,tn->n", residual, residual)
        log_noise = np.log(2 * np.pi * self.noise).sum() - len(root) * np.log(2 * np.pi)
        rest = -0.5 * (len(frames) * log_noise + (squares / self.noise).sum() - np.square(projections).sum())
        return directions * root, projections, float(rest)


def fit_emission(
    frames: np.ndarray, latents: np.ndarray, second_moment: np.ndarray, floor: np.ndarray, noise: str
) -> Emission:
    """The emission that makes frames most likely, given the posterior of their latents: the M-step for C, d and R.

    Args:
        frames: ``(T, N)``.
        latents: posterior means, ``(T, D)``.
        second_moment: ``sum_t E[x_t x_t']``, ``(D, D)``.
        floor: the least noise variance of each neuron, ``(N,)``.
        noise: one of `NOISES`.
    """
    total = latents.sum(axis=0)
    moments = np.block([[second_moment, total[:, None]], [total, np.array(len(frames))]])
    products = np.column_stack([frames.T @ latents, frames.sum(axis=0)])
    coefficients = np.linalg.solve(moments, products.T).T
    variance = (np.einsum("tn,tn->n", frames, frames) - (coefficients * products).sum(axis=1)) / len(frames)
    return Emission(coefficients[:, :-1], coefficients[:, -1], _floored(variance, floor, noise))


def first_emission(frames: np.ndarray, latent_dim: int, seed: int, floor: np.ndarray, noise: str) -> Emission:
    """Factor analysis of the frames ``(T, N)``, each taken by itself, or PCA if all neurons share their noise.

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
        # Silent neurons would divide zero by zero.
        analysis = FactorAnalysis(latent_dim, random_state=seed).fit(frames[:, active])
        loadings[active], variance[active] = analysis.components_.T, analysis.noise_variance_
    return Emission(loadings, frames.mean(axis=0), _floored(variance, floor, noise))


def noise_floor(frames: np.ndarray) -> np.ndarray:
    """The least noise variance of each neuron, ``(N,)``, by `NOISE_FLOOR`; `frames` ``(T, N)`` are those of training.

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
    """The recorded frames of all trials, one after the other, ``(T, N)`` float64, and where they lie, ``(B, L)``.

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
    """Put frames ``(T, D)`` back to where they lie, ``(B, L)``; zeros elsewhere: ``(B, L, D)``."""
    trials = np.zeros((*where.shape, frames.shape[1]))
    trials[where] = frames
    return trials


class Step(NamedTuple):
    """One E-step, and the M-step for the prior of the latents."""

    log_density: float  # of the projections
    latents: np.ndarray  # posterior means, (B, L, D)
    second_moment: np.ndarray  # sum of E[x_t x_t'] over the seen bins, (D, D)
    prior: Any  # the prior that makes these latents most likely


class LinearGaussian(Reference):
    """Latents with a Gaussian prior over time, seen through an `Emission`; a subclass says which prior.

    EM stops when an iteration raises the log-likelihood of the training trials by less than `tolerance` nats a frame,
    or after `max_iterations`. Where `noises` names both of `NOISES`, both are fitted, and the one that reconstructs the
    validation trials with the smaller squared error is kept. With a noise of its own for each neuron, likelihood counts
    every neuron in units of its own SD; where most are nearly silent, as in calcium imaging, latents then go to small
    groups of these and leave most of the variance in recorded units unexplained.

    Latents are in the basis that EM ends in, which has no meaning by itself.

    Attributes:
        emission, prior: what was fitted.
        noise: the one of `NOISES` that was kept.
        log_likelihoods: nats, of the training trials, before each update.
    """

    def __init__(
        self,
        latent_dim: int = 1,
        seed: int = 0,
        noises: Sequence[str] = NOISES,
        max_iterations: int = 200,
        tolerance: float = 1e-3,
    ):
        super().__init__(latent_dim, seed)
        if not noises or not set(noises) <= set(NOISES):
            raise OdevaeError(f"noises is {noises!r}; give one or both of {', '.join(NOISES)}.")
        self.noises = noises
        self.max_iterations = max_iterations
        self.tolerance = tolerance

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
            if len(self.log_likelihoods) > 1:
                gain = self.log_likelihoods[-1] - self.log_likelihoods[-2]
                if gain < self.tolerance * len(frames):
                    break
            self.prior = step.prior
            self.emission = fit_emission(frames, step.latents[seen], step.second_moment, floor, noise)

    def first_prior(self, frames: np.ndarray, seen: np.ndarray) -> Any:
        """The prior to start from, given the frames ``(T, N)`` and where they lie ``(B, L)``."""
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


def covariances(timescales: np.ndarray, n_bins: int) -> np.ndarray:
    """``k_i(t - u)`` of each latent between all bins: ``(D,)`` -> ``(D, L, L)``."""
    lags = np.subtract.outer(np.arange(n_bins), np.arange(n_bins)) / np.asarray(timescales)[:, None, None]
    return (1 - WHITE_SHARE) * np.exp(-0.5 * np.square(lags)) + WHITE_SHARE * np.eye(n_bins)


class Smoother(NamedTuple):
    """The matrices of the module's docstring, for trials of up to ``L`` bins."""

    whitener: np.ndarray  # G, (L * D, L * D), lower triangular
    weights: np.ndarray  # W, (L, D, L, D)

    def innovations(self, projections: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """``G^-1 s`` of projections ``(B, L, D)``: ``(L, D, B)``, zero where bins ``(B, L)`` are not seen."""
        n_trials, n_bins, dim = projections.shape
        stacked = projections.transpose(1, 2, 0).reshape(n_bins * dim, n_trials)
        innovations = solve_triangular(self.whitener, stacked, lower=True).reshape(n_bins, dim, n_trials)
        return np.where(seen.T[:, None], innovations, 0.0)


def make_smoother(timescales: np.ndarray, factor: np.ndarray, n_bins: int) -> Smoother:
    """The smoother for latents of the given timescales ``(D,)`` that are seen as ``F' x`` plus unit noise."""
    dim = len(timescales)
    # Time major, so that what belongs to a shorter trial is a leading block.
    shown = np.einsum("atu,ab->taub", covariances(timescales, n_bins), factor)
    spread = np.einsum("ac,taub->tcub", factor, shown).reshape(n_bins * dim, n_bins * dim)
    whitener = np.linalg.cholesky(spread + np.eye(n_bins * dim))
    weights = solve_triangular(whitener, shown.reshape(n_bins * dim, n_bins * dim).T, lower=True).T
    return Smoother(whitener, weights.reshape(n_bins, dim, n_bins, dim))


class GPFA(LinearGaussian):
    """Gaussian-process factor analysis with `latent_dim` latents, and the settings of `LinearGaussian`.

    Each latent's timescale has an M-step of its own, Brent's search over its logarithm: in one dimension that needs no
    gradient. Forecasts are exact and use all past frames of the trial.

    Attributes:
        first_timescale: where the search starts, frames.
        timescales: ``(D,)``, frames.
    """

    def __init__(self, *args, first_timescale: float = 3.0, **settings):
        super().__init__(*args, **settings)
        self.first_timescale = first_timescale

    @property
    def timescales(self) -> np.ndarray:
        return self.prior

    def first_prior(self, frames: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.full(self.latent_dim, float(self.first_timescale))

    def step(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> Step:
        n_bins, dim = seen.shape[1], self.latent_dim
        smoother = make_smoother(self.timescales, factor, n_bins)
        innovations = smoother.innovations(projections, seen)
        means = np.tensordot(smoother.weights, innovations, 2)
        means = np.where(seen.T[:, None], means, 0.0)
        counts = seen.sum(axis=0)
        log_scales = np.log(np.diag(smoother.whitener)).reshape(n_bins, dim).sum(axis=1)
        log_density = (
            -0.5 * (np.square(innovations).sum() + counts.sum() * dim * np.log(2 * np.pi)) - counts @ log_scales
        )
        # In a trial of T bins the posterior covariance is the prior's less W W' over the first T columns. Summed over
        # trials, the column of bin j counts at bin t as often as both bins are seen.
        both = counts[np.maximum.outer(np.arange(n_bins), np.arange(n_bins))]
        weighted = smoother.weights * both[:, None, :, None]
        explained = np.tensordot(weighted, smoother.weights, ([0, 2, 3], [0, 2, 3]))
        second_moment = counts.sum() * np.eye(dim) - explained + np.tensordot(means, means, ([0, 2], [0, 2]))
        timescales = np.array(
            [_next_timescale(self.timescales[i], smoother.weights[:, i], means[:, i], seen, both) for i in range(dim)]
        )
        return Step(float(log_density), means.transpose(2, 0, 1), second_moment, timescales)

    def latents_from(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> np.ndarray:
        smoother = make_smoother(self.timescales, factor, seen.shape[1])
        return np.tensordot(smoother.weights, smoother.innovations(projections, seen), 2).transpose(2, 0, 1)

    def latents_ahead(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray, horizon: int) -> np.ndarray:
        smoother = make_smoother(self.timescales, factor, seen.shape[1])
        bins = np.arange(seen.shape[1])
        past = np.subtract.outer(bins, bins) >= horizon
        weights = smoother.weights * past[:, None, :, None]
        return np.tensordot(weights, smoother.innovations(projections, seen), 2).transpose(2, 0, 1)


def _next_timescale(
    timescale: float, weights: np.ndarray, means: np.ndarray, seen: np.ndarray, both: np.ndarray
) -> float:
    """The M-step for one timescale: the one under which the posterior of its latent is expected to be most likely.

    Args:
        timescale: the one of the E-step, frames.
        weights: ``W`` of this latent, ``(L, L, D)``.
        means: posterior means, ``(L, B)``.
        seen: ``(B, L)``.
        both: how many trials are seen at both of two bins, ``(L, L)``.
    """
    n_bins, counts = len(means), seen.sum(axis=0)
    old = covariances([timescale], n_bins)[0]

    def loss(log_timescale: float) -> float:
        # Whitened by the Cholesky factor of the new prior, the log-density of a trial is a sum over its bins. The
        # posterior that it is averaged over has the covariance K_old - W W'.
        root = np.linalg.cholesky(covariances([np.exp(log_timescale)], n_bins)[0])
        whiten = solve_triangular(root, np.eye(n_bins), lower=True)
        prior = counts @ np.einsum("tu,tu->t", whiten @ old, whiten)
        explained = np.square(np.tensordot(whiten, weights, 1)).sum(axis=2)
        observed = np.square(whiten @ means)[seen.T].sum()
        return counts @ np.log(np.diag(root)) + 0.5 * (prior - (both * explained).sum() + observed)

    start, reach = np.log(timescale), np.log(TIMESCALE_STEP)
    found = minimize_scalar(loss, bounds=(start - reach, start + reach), method="bounded", options={"xatol": 0.01})
    # A bounded search may end beside a start that was better; the likelihood must not fall.
    return float(np.exp(found.x)) if found.fun < loss(start) else float(timescale)
