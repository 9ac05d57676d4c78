"""Gaussian-process factor analysis (GPFA) of Yu et al. (2009, J Neurophysiol 102:614), for any real-valued activity.

    x_i ~ GP(0, k_i),  k_i(u) = (1 - e) exp(-u^2 / (2 tau_i^2)) + e [u = 0]      y_t = C x_t + d + v_t,  v_t ~ N(0, R)

for latents ``i = 1 .. D``, lags ``u`` and timescales ``tau_i`` in frames, and a fixed white share ``e`` (their eqs. 1
to 4), fitted by expectation-maximisation (EM). It is written here because elephant fits spike trains only,
and BlockInverseGPFA, which takes continuous data and trials of any length, refuses silent neurons; neither predicts.

All predictions and the E-step come from one Cholesky factor. Let ``s_t`` be the projection of ``y_t`` that holds all
its information about ``x_t`` (`linear_gaussian.Emission.project`). The covariance ``G G'`` of ``s_1 .. s_T`` is a
leading block of that of any longer trial, and so is ``G``; hence the innovations ``G^-1 s`` up to bin ``t`` depend on
the bins up to ``t`` only, and

    E[x_u | y_1 .. y_t] = sum of W_uj (innovation j) over j <= t,    W = Cov(x, s) G^-T

exactly, for every ``u``, before or after ``t``, and for every length of trial. Smoothing, onsets and forecasts differ
only in the terms that they leave out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize_scalar

from odevae.benchmark.models.state_space.linear_gaussian import LinearGaussian, Step
from odevae.data.trials import Trials

# The variance ``e`` of a latent that is white, as in Yu et al.; it keeps the covariances invertible.
WHITE_SHARE = 1e-3
# One M-step changes a timescale by this factor at most.
TIMESCALE_STEP = np.e
# Longer trials are cut into pieces for the fit, whose time grows with the cube of their length; the authors' toolbox
# cuts them at 20 bins. Predictions are exact for trials of every length.
SEGMENT = 100


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
    # Bins first, so that the matrices of a shorter trial are leading blocks.
    shown = np.einsum("atu,ab->taub", covariances(timescales, n_bins), factor)
    spread = np.einsum("ac,taub->tcub", factor, shown).reshape(n_bins * dim, n_bins * dim)
    whitener = np.linalg.cholesky(spread + np.eye(n_bins * dim))
    weights = solve_triangular(whitener, shown.reshape(n_bins * dim, n_bins * dim).T, lower=True).T
    return Smoother(whitener, weights.reshape(n_bins, dim, n_bins, dim))


@dataclass(eq=False)
class GPFA(LinearGaussian):
    """Gaussian-process factor analysis with `latent_dim` latents, and the settings of `LinearGaussian`.

    Each latent's timescale has an M-step of its own: Brent's search over its logarithm, which needs no gradient.
    Forecasts are exact and use all past frames of the trial.

    Attributes:
        first_timescale: start of the search, frames.
        timescales: ``(D,)``, frames.
    """

    first_timescale: float = 3.0

    def fit(self, train: Trials, validation: Trials) -> None:
        super().fit(in_segments(train, SEGMENT), validation)

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
        constant = counts.sum() * dim * np.log(2 * np.pi)
        log_density = -0.5 * (np.square(innovations).sum() + constant) - counts @ log_scales
        # In a trial of T bins the posterior covariance is the prior's minus W W' over the first T columns. Summed over
        # trials, the column of bin j counts at bin t once for every trial in which both bins are seen.
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


def in_segments(trials: Trials, n_bins: int) -> Trials:
    """The recorded bins of trials, in pieces of at most `n_bins`; without covariates."""
    n_pieces = -(-trials.recorded.shape[1] // n_bins)
    missing = n_pieces * n_bins - trials.recorded.shape[1]

    def pieces(array: np.ndarray) -> np.ndarray:
        padded = np.pad(array, [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)])
        return padded.reshape(len(trials) * n_pieces, n_bins, *array.shape[2:])

    return Trials(
        **{name: pieces(getattr(trials, name)) for name in ("values", "mask", "recorded", "times")},
        trial_ids=np.repeat(trials.trial_ids, n_pieces),
    ).take(np.flatnonzero(pieces(trials.recorded).any(axis=1)))


def _next_timescale(
    timescale: float, weights: np.ndarray, means: np.ndarray, seen: np.ndarray, both: np.ndarray
) -> float:
    """The M-step for one timescale: it maximises the expected log-density of its latent under the posterior.

    Args:
        timescale: that of the E-step, frames.
        weights: ``W`` of this latent, ``(L, L, D)``.
        means: posterior means, ``(L, B)``.
        seen: ``(B, L)``.
        both: in how many trials two bins are both seen, ``(L, L)``.
    """
    n_bins, counts = len(means), seen.sum(axis=0)
    old = covariances([timescale], n_bins)[0]
    flat = weights.reshape(n_bins, -1)
    # The square root, so that the weighted sum of squares below is one product of a matrix with itself.
    root_both = np.repeat(np.sqrt(both), weights.shape[2], axis=1)

    def loss(log_timescale: float) -> float:
        # Whitened by the Cholesky factor of the new prior, the log-density of a trial is a sum over its bins. It is
        # averaged over the posterior, whose covariance is K_old - W W'.
        root = np.linalg.cholesky(covariances([np.exp(log_timescale)], n_bins)[0])
        whiten = solve_triangular(root, np.eye(n_bins), lower=True)
        prior = counts @ np.einsum("tu,tu->t", whiten @ old, whiten)
        spread = (whiten @ flat) * root_both
        observed = np.square(whiten @ means)[seen.T].sum()
        return counts @ np.log(np.diag(root)) + 0.5 * (prior - np.vdot(spread, spread) + observed)

    start, reach = np.log(timescale), np.log(TIMESCALE_STEP)
    found = minimize_scalar(loss, bounds=(start - reach, start + reach), method="bounded", options={"xatol": 0.01})
    # A bounded search may end at a worse point than its start; the likelihood must not decrease.
    return float(np.exp(found.x)) if found.fun < loss(start) else float(timescale)
