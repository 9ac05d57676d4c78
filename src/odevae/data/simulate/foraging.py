"""Random foraging: place cells watch a smooth walk in a disc, after Low et al. (bioRxiv, 2018).

The constants come from the paper's file ``synthetic_rat_data.npz``. It holds noise-free Gaussian bumps of a plane
position, which its log-activity gives back (the doubly centred squared distances have rank two): one continuous walk in
a disc, cut into trials. Our walk has the file's step but keeps its heading longer (successive steps of the file
correlate by only 0.25), and our centres stay inside the disc (those of the file reach out to twice its radius).
"""

import math

import numpy as np

from odevae.data.recording import Recording
from odevae.data.simulate.simulation import check_settings, simulated
from odevae.errors import OdevaeError

PEAK = 5.0  # activity at the centre of a place field, as in the file
FIELD_WIDTH = 0.25  # SD of a place field, in radii of the disc; as in the file
STEP = 0.0573  # root mean square displacement for each frame, in radii; measured on the file
PERSISTENCE = 5.0  # frames over which the walk forgets its heading; our choice


def foraging(
    n_neurons: int = 300,
    n_frames: int = 4000,
    n_trials: int = 20,
    seed: int = 0,
    noise: float = 0.0,
    frame_rate_hz: float = 10.0,
) -> Recording:
    """Simulate place cells of an animal that forages in the unit disc.

    The walk is one stretch of `n_frames` that is cut into equal trials; time restarts at 0 in each of them.

    Args:
        n_neurons: place cells, with centres uniform in the disc. The default sizes are those that the paper states.
        n_frames: frames of all trials together, ``T``.
        n_trials: must divide `n_frames`.
        seed: the same seed gives the same bytes; the noise is drawn last, so it leaves walk and centres as they are.
        noise: SD of Gaussian noise added to every value, in the unit of the activity (0 to 5); the file has none.
        frame_rate_hz: unit of time only: the walk's step is fixed for each frame, as it was measured.

    Returns:
        A recording whose latents are the positions ``(T, 2)``, in radii of the disc, repeated as covariates ``x`` and
        ``y`` next to ``speed`` (radii/s).

    Raises:
        OdevaeError: if a setting makes no sense.
    """
    settings = dict(locals())
    check_settings("foraging", settings)
    if n_frames % n_trials:
        raise OdevaeError(
            f"the simulation foraging: n_frames = {n_frames} cannot be cut into n_trials = {n_trials} equal trials; "
            "choose a number of trials that divides the number of frames."
        )
    if n_frames // n_trials < 2:
        raise OdevaeError(
            f"the simulation foraging: n_frames = {n_frames} in n_trials = {n_trials} leaves fewer than two frames in "
            "a trial; choose more frames or fewer trials."
        )
    generator = np.random.default_rng(seed)
    centres = uniform_in_disc(generator, n_neurons)
    positions = random_walk(generator, n_frames)
    activity = place_fields(positions, centres) + noise * generator.standard_normal((n_frames, n_neurons))
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return simulated(
        "foraging",
        settings,
        activity=activity,
        covariates={
            "x": positions[:, 0].copy(),
            "y": positions[:, 1].copy(),
            # The first frame has no step before it, so it takes that of the second.
            "speed": np.concatenate([steps[:1], steps]) * frame_rate_hz,
        },
        latents=positions,
    )


def place_fields(positions: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Gaussian bumps ``PEAK exp(-d^2 / (2 FIELD_WIDTH^2))`` of the distance to each centre.

    Args:
        positions: ``(T, 2)``.
        centres: ``(N, 2)``.

    Returns:
        ``(T, N)``.
    """
    squared_distance = np.square(positions[:, None, :] - centres).sum(axis=-1)
    return PEAK * np.exp(-squared_distance / (2 * FIELD_WIDTH**2))


def uniform_in_disc(generator: np.random.Generator, n_points: int) -> np.ndarray:
    """Points uniform in the unit disc, ``(n_points, 2)``."""
    # The area inside a radius grows with its square, hence the root.
    radius = np.sqrt(generator.uniform(size=n_points))
    angle = generator.uniform(0, 2 * math.pi, n_points)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def random_walk(generator: np.random.Generator, n_frames: int) -> np.ndarray:
    """A walk whose steps are an Ornstein-Uhlenbeck process, mirrored at the wall of the disc, ``(n_frames, 2)``."""
    keep = math.exp(-1 / PERSISTENCE)
    kicks = generator.standard_normal((n_frames, 2)) * STEP / math.sqrt(2)
    positions = np.empty((n_frames, 2))
    positions[0] = uniform_in_disc(generator, 1)[0]
    step = kicks[0]
    for frame in range(1, n_frames):
        step = keep * step + math.sqrt(1 - keep**2) * kicks[frame]
        position = positions[frame - 1] + step
        radius = math.hypot(*position)
        if radius > 1:
            outward = position / radius
            position = (2 - radius) * outward
            step = step - 2 * (step @ outward) * outward
        positions[frame] = position
    return positions
