"""Smooth paths without dynamics: what comes next depends on no state, however smooth the path is."""

import numpy as np

from odevae.data.recording import Recording
from odevae.data.simulate.simulation import check_settings, simulated

# Of a tuning curve: activity at its centre (spikes in a frame), and its SD in SDs of the path.
PEAK = 3.0
TUNING_WIDTH = 1.0
# Added to the covariance of a path, which is singular but for rounding.
JITTER = 1e-8


def random_path(
    n_neurons: int = 20,
    n_trials: int = 150,
    frames_per_trial: int = 70,
    latent_dim: int = 2,
    timescale_frames: float = 10.0,
    seed: int = 0,
    frame_rate_hz: float = 10.0,
) -> Recording:
    """Simulate neurons that are tuned to a random path, another one in each trial.

    Each latent is a Gaussian process with mean 0, SD 1 and the covariance ``exp(-(t - s)^2 / (2 timescale_frames^2))``.
    Neurons have Gaussian tuning curves with centres drawn as the path is, and Poisson counts.

    Args:
        n_neurons: neurons ``N``.
        n_trials: trials; time restarts at 0 in each of them.
        frames_per_trial: frames of a trial; all trials together have ``T``.
        latent_dim: dimension of the path.
        timescale_frames: how long the path is smooth, in frames.
        seed: the same seed gives the same bytes.
        frame_rate_hz: unit of time only.

    Returns:
        A recording whose latents are the path ``(T, latent_dim)``.

    Raises:
        OdevaeError: if a setting makes no sense.
    """
    settings = dict(locals())
    check_settings("random_path", settings)
    # Slow to import, and other simulations need none of it.
    from scipy.linalg import cholesky

    generator = np.random.default_rng(seed)
    frames = np.arange(frames_per_trial)
    covariance = np.exp(-((frames[:, None] - frames) ** 2) / (2 * timescale_frames**2))
    smooth = cholesky(covariance + JITTER * np.eye(frames_per_trial), lower=True)
    latents = (smooth @ generator.standard_normal((n_trials, frames_per_trial, latent_dim))).reshape(-1, latent_dim)
    centres = generator.standard_normal((n_neurons, latent_dim))
    return simulated(
        "random_path",
        settings,
        activity=generator.poisson(tuned_rates(latents, centres)).astype(float),
        covariates={},
        latents=latents,
        units="spikes/frame",
        centres=centres.tolist(),
    )


def tuned_rates(latents: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """``PEAK exp(-d^2 / (2 TUNING_WIDTH^2))`` of the distance to each centre, in spikes per frame.

    Args:
        latents: ``(T, latent_dim)``.
        centres: ``(N, latent_dim)``, ``recording.source["centres"]``.

    Returns:
        ``(T, N)``.
    """
    distances = np.linalg.norm(latents[:, None] - np.asarray(centres), axis=2)
    return PEAK * np.exp(-((distances / TUNING_WIDTH) ** 2) / 2)
