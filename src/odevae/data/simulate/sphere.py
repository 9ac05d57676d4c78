"""Great circles on the unit sphere: the simplest motion whose next position needs the velocity.

The position alone does not show where a trial goes, because circles of every direction pass through every point.
Position and velocity together do: ``q'' = -|q'|^2 q``, a free particle on the sphere. A latent model of first order has
to find both, one of second order (Norcliffe et al., NeurIPS 2020) only the position.
"""

import numpy as np

from odevae.data.recording import Recording
from odevae.data.simulate.simulation import check_settings, simulated

PEAK = 5.0  # activity at the preferred position of a neuron, as of the place cells in `foraging`
CONCENTRATION = 16.0  # of the bumps: near its peak a bump is a Gaussian of SD 1/4 rad, the width of those place cells


def sphere(
    n_neurons: int = 300,
    n_trials: int = 30,
    frames_per_trial: int = 600,
    seed: int = 0,
    noise: float = 0.0,
    speed: float = 0.5,
    frame_rate_hz: float = 10.0,
) -> Recording:
    """Simulate neurons tuned to the position of an animal that runs along great circles of the unit sphere.

    Every trial has its own circle: position and heading at its first frame are uniform at random.

    Args:
        n_neurons: neurons ``N``, with preferred positions uniform on the sphere.
        n_trials: trials; time restarts at 0 in each of them.
        frames_per_trial: frames of a trial; all trials together have ``T``.
        seed: the same seed gives the same bytes; the noise is drawn last, so it leaves all else as it is.
        noise: SD of Gaussian noise added to every value, in the unit of the activity (0 to 5).
        speed: of every trial, rad/s; the default gives 4.8 turns in a trial.
        frame_rate_hz: frames in one second.

    Returns:
        A recording whose latents ``(T, 6)`` are the position (radii of the sphere) and then the velocity (radii/s). The
        covariates ``x``, ``y`` and ``z`` repeat the position.

    Raises:
        OdevaeError: if a setting makes no sense.
    """
    settings = dict(locals())
    check_settings("sphere", settings)
    generator = np.random.default_rng(seed)
    preferred = uniform_on_sphere(generator, n_neurons)
    starts = uniform_on_sphere(generator, n_trials)
    headings = uniform_headings(generator, starts)
    times = np.arange(frames_per_trial) / frame_rate_hz
    latents = great_circles(starts, headings, speed, times).reshape(-1, 6)
    positions = latents[:, :3]
    activity = bumps(positions, preferred) + noise * generator.standard_normal((len(latents), n_neurons))
    return simulated(
        "sphere",
        settings,
        activity=activity,
        covariates={name: positions[:, column].copy() for column, name in enumerate("xyz")},
        latents=latents,
    )


def great_circles(starts: np.ndarray, headings: np.ndarray, speed: float, times: np.ndarray) -> np.ndarray:
    """Positions and velocities along great circles, in closed form.

    Args:
        starts: ``(B, 3)`` unit vectors, positions at time 0.
        headings: ``(B, 3)`` unit vectors, each at a right angle to its start.
        speed: rad/s.
        times: ``(L,)``, s.

    Returns:
        ``(B, L, 6)``: position (radii) and velocity (radii/s).
    """
    cosine = np.cos(speed * times)[:, None]
    sine = np.sin(speed * times)[:, None]
    starts, headings = starts[:, None], headings[:, None]
    return np.concatenate([cosine * starts + sine * headings, speed * (cosine * headings - sine * starts)], axis=-1)


def bumps(positions: np.ndarray, preferred: np.ndarray) -> np.ndarray:
    """Von Mises-Fisher bumps ``PEAK exp(CONCENTRATION (cos a - 1))`` of the angle to each preferred position.

    The mean over the whole sphere is ``PEAK (1 - exp(-2 CONCENTRATION)) / (2 CONCENTRATION)``, 0.16.

    Args:
        positions: ``(T, 3)`` unit vectors.
        preferred: ``(N, 3)`` unit vectors.

    Returns:
        ``(T, N)``.
    """
    return PEAK * np.exp(CONCENTRATION * (positions @ preferred.T - 1))


def uniform_on_sphere(generator: np.random.Generator, n_points: int) -> np.ndarray:
    """Points uniform on the unit sphere, ``(n_points, 3)``."""
    return _unit(generator.standard_normal((n_points, 3)))


def uniform_headings(generator: np.random.Generator, positions: np.ndarray) -> np.ndarray:
    """Unit vectors ``(n_points, 3)`` tangent to the sphere at `positions`, uniform in the tangent plane."""
    vectors = generator.standard_normal(positions.shape)
    outward = (vectors * positions).sum(axis=1, keepdims=True) * positions
    return _unit(vectors - outward)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
