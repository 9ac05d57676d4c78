"""A linear dynamical system with Gaussian noise, fitted by expectation-maximisation (EM).

    x_1 ~ N(m, V)      x_{t+1} = A x_t + w_t,  w_t ~ N(0, Q)      y_t = C x_t + d + v_t,  v_t ~ N(0, R)

Filter, smoother and updates follow Ghahramani and Hinton (1996), "Parameter estimation for linear dynamical systems",
technical report CRG-TR-96-2, with a diagonal ``R``, a constant ``d`` and trials of any length. It is written here
because pykalman fits one sequence with a full ``R`` and inverts an N x N matrix at every frame, and dynamax needs JAX
and trials of one length.

Covariances depend on time only and not on data, so all trials share one recursion over D x D matrices, for any number
of neurons. The emission and its part of EM are in `odevae.benchmark.models.state_space.linear_gaussian`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from odevae.benchmark.models.state_space.linear_gaussian import LinearGaussian, Step, in_trials


@dataclass(frozen=True)
class Dynamics:
    """How the latents move: ``x_1 ~ N(m, V)``, ``x_{t+1} = A x_t + w_t`` with ``w_t ~ N(0, Q)``.

    Attributes:
        transition: ``A``, ``(D, D)``.
        process_noise: ``Q``, ``(D, D)``.
        first_mean: ``m``, ``(D,)``.
        first_covariance: ``V``, ``(D, D)``.
    """

    transition: np.ndarray
    process_noise: np.ndarray
    first_mean: np.ndarray
    first_covariance: np.ndarray


class Filtered(NamedTuple):
    """Posterior of ``x_t`` given the bins up to ``t``.

    ``predicted`` is given the bins before ``t``. Each trial has its own means; all trials that are seen up to ``t``
    have the same covariance. After the last seen bin, means are predictions.
    """

    predicted_means: np.ndarray  # (B, L, D)
    predicted_covariances: np.ndarray  # (L, D, D)
    means: np.ndarray  # (B, L, D)
    covariances: np.ndarray  # (L, D, D)
    log_density: float  # of the projections


def kalman_filter(dynamics: Dynamics, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> Filtered:
    """Filter the projections ``(B, L, D)`` of trials that are seen in the leading bins of `seen` ``(B, L)``.

    `factor` is ``F`` of `Emission.project`, ``(D, D)``.
    """
    n_trials, n_bins, dim = projections.shape
    predicted_means, means = np.empty((2, n_trials, n_bins, dim))
    predicted_covariances, covariances = np.empty((2, n_bins, dim, dim))
    mean, covariance = np.broadcast_to(dynamics.first_mean, (n_trials, dim)), dynamics.first_covariance
    transition, log_density = dynamics.transition, 0.0
    for t in range(n_bins):
        predicted_means[:, t], predicted_covariances[t] = mean, covariance
        # The projection is F' x plus noise of unit covariance.
        shown = covariance @ factor
        spread = np.eye(dim) + factor.T @ shown
        gain = np.linalg.solve(spread, shown.T).T
        surprise = np.where(seen[:, t, None], projections[:, t] - mean @ factor, 0.0)
        means[:, t] = mean + surprise @ gain.T
        covariances[t] = _symmetric(covariance - gain @ shown.T)
        log_scale = np.linalg.slogdet(2 * np.pi * spread)[1]
        log_density -= 0.5 * (seen[:, t].sum() * log_scale + (np.linalg.solve(spread, surprise.T) * surprise.T).sum())
        mean = means[:, t] @ transition.T
        covariance = transition @ covariances[t] @ transition.T + dynamics.process_noise
    return Filtered(predicted_means, predicted_covariances, means, covariances, float(log_density))


def smoother_gains(dynamics: Dynamics, filtered: Filtered) -> np.ndarray:
    """``J_t = Cov(x_t, x_{t+1} | bins to t) Cov(x_{t+1} | bins to t)^-1``, ``(L - 1, D, D)``."""
    ahead = dynamics.transition @ filtered.covariances[:-1]
    return np.linalg.solve(filtered.predicted_covariances[1:], ahead).transpose(0, 2, 1)


def smoothed_means(filtered: Filtered, gains: np.ndarray) -> np.ndarray:
    """Posterior means given all seen bins of a trial, and predictions after them: ``(B, L, D)``."""
    means = filtered.means.copy()
    # If no bin from t + 1 on is seen, the prediction is already the smoothed mean, and zero is added.
    for t in range(means.shape[1] - 2, -1, -1):
        means[:, t] += (means[:, t + 1] - filtered.predicted_means[:, t + 1]) @ gains[t].T
    return means


class Moments(NamedTuple):
    """Posterior moments of the latents, summed over the trials that are seen at bin ``t``: what the M-step needs."""

    second: np.ndarray  # sum E[x_t x_t'], (L, D, D)
    second_before: np.ndarray  # the same over the trials that are also seen at bin t + 1, (L - 1, D, D)
    lagged: np.ndarray  # sum E[x_{t+1} x_t'] over those, (L - 1, D, D)
    first_mean: np.ndarray  # mean of E[x_1], (D,)


def moments(filtered: Filtered, gains: np.ndarray, smoothed: np.ndarray, seen: np.ndarray) -> Moments:
    """Sum the posterior over trials ``(B, L)`` of unequal length, with one recursion for all of them."""
    counts = seen.sum(axis=0)
    covariances = counts[:, None, None] * filtered.covariances
    # A trial that ends at bin t keeps its filtered covariance there; for those that go on, the sum over the smoother's
    # P_t + J_t (P_{t+1|T} - P_{t+1|t}) J_t' is that of the sums.
    for t in range(len(counts) - 2, -1, -1):
        gained = covariances[t + 1] - counts[t + 1] * filtered.predicted_covariances[t + 1]
        covariances[t] += gains[t] @ gained @ gains[t].T
    ended = (counts[:-1] - counts[1:])[:, None, None]
    now = np.where(seen[..., None], smoothed, 0.0).transpose(1, 2, 0)
    before = np.where(seen[:, 1:, None], smoothed[:, :-1], 0.0).transpose(1, 2, 0)
    return Moments(
        second=covariances + now @ now.transpose(0, 2, 1),
        second_before=covariances[:-1] - ended * filtered.covariances[:-1] + before @ before.transpose(0, 2, 1),
        lagged=covariances[1:] @ gains.transpose(0, 2, 1) + now[1:] @ before.transpose(0, 2, 1),
        first_mean=smoothed[:, 0].mean(axis=0),
    )


def fit_dynamics(sums: Moments, n_trials: int, n_steps: int) -> Dynamics:
    """The dynamics that make the latents most likely: the M-step for A, Q, m and V.

    Args:
        sums: posterior moments.
        n_trials: trials.
        n_steps: pairs of successive seen bins.
    """
    second_before, lagged = sums.second_before.sum(axis=0), sums.lagged.sum(axis=0)
    transition = np.linalg.solve(second_before, lagged.T).T
    return Dynamics(
        transition=transition,
        process_noise=_symmetric(sums.second[1:].sum(axis=0) - transition @ lagged.T) / n_steps,
        first_mean=sums.first_mean,
        first_covariance=_symmetric(sums.second[0] / n_trials - np.outer(sums.first_mean, sums.first_mean)),
    )


class LDS(LinearGaussian):
    """The linear dynamical system of this module with `latent_dim` latents, and the settings of `LinearGaussian`.

    Attributes:
        prior: `Dynamics`. The eigenvalues of ``A`` are not limited to be below one.
    """

    prior: Dynamics

    def first_prior(self, frames: np.ndarray, seen: np.ndarray) -> Dynamics:
        """Regress each frame's latents, inferred from that frame alone, on those of the frame before."""
        factor, projections, _ = self.emission.project(frames)
        dim = len(factor)
        covariance = np.linalg.inv(np.eye(dim) + factor @ factor.T)
        latents = in_trials(projections @ factor.T @ covariance, seen)
        both = seen[:, 1:]
        before, after = latents[:, :-1][both], latents[:, 1:][both]
        # The uncertainty of latents from single frames counts as noise on both sides, so no matrix here is singular.
        transition = np.linalg.solve(before.T @ before + len(before) * covariance, before.T @ after).T
        residual = after - before @ transition.T
        return Dynamics(transition, residual.T @ residual / len(residual) + covariance, np.zeros(dim), np.eye(dim))

    def step(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> Step:
        filtered = kalman_filter(self.prior, factor, projections, seen)
        gains = smoother_gains(self.prior, filtered)
        means = smoothed_means(filtered, gains)
        sums = moments(filtered, gains, means, seen)
        dynamics = fit_dynamics(sums, n_trials=len(seen), n_steps=seen[:, 1:].sum())
        return Step(filtered.log_density, means, sums.second.sum(axis=0), dynamics)

    def latents_from(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray) -> np.ndarray:
        filtered = kalman_filter(self.prior, factor, projections, seen)
        return smoothed_means(filtered, smoother_gains(self.prior, filtered))

    def latents_ahead(self, factor: np.ndarray, projections: np.ndarray, seen: np.ndarray, horizon: int) -> np.ndarray:
        means = kalman_filter(self.prior, factor, projections, seen).means
        ahead = np.zeros_like(means)
        ahead[:, horizon:] = means[:, :-horizon] @ np.linalg.matrix_power(self.prior.transition, horizon).T
        return ahead


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    """Remove rounding errors from a matrix that should be symmetric."""
    return (matrix + matrix.T) / 2
