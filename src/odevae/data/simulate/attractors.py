"""Three chaotic systems seen through spiking neurons, after Sedler, Versteeg and Pandarinath (NBDT, 2023).

"Expressive architectures enhance interpretability of dynamics-based neural population models" (arXiv 2212.03771). The
settings are those of its code, repository ``snel-repo/expressive-latent-dynamics-paper``, files ``paper_src/data.py``
and ``configs/datamodule/*.yaml``: 2000 trials of 70 frames, cut from one trajectory that starts on the attractor; 10
neurons (100 in one experiment); log-rates that are random linear readouts of the state, of mean 0 and SD 1; Poisson
counts; 20 % of the trials for testing and 20 % of the rest for validation. Equations, constants, starts and periods are
those of ``dysts`` (Gilpin, NeurIPS 2021 track on datasets; ``chaotic_attractors.json`` of versions 0.1 to 0.90).

Three things differ. We integrate to a tolerance of 1e-9 (``dysts``: SciPy's default of 1e-3), so the trials are others
than the paper's, because the system is chaotic, but visit the same attractor at the same pace. A frame lasts one period
over `points_per_period` exactly (the paper's: 7 millionths longer). Latents are z-scored, which does not change the
paper's score, R2 of a linear regression, the mean over latents.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from odevae.data.recording import Recording
from odevae.data.simulate.simulation import check_settings, simulated
from odevae.errors import OdevaeError

TOLERANCE = 1e-9  # relative and absolute, for each step of the integration
READOUT_BOUND = 0.5  # readout weights of the raw state are uniform in -0.5 .. 0.5, as in the paper's code
OBSERVATIONS = ("poisson", "calcium")


@dataclass(frozen=True)
class System:
    """A chaotic system with the state ``(x, y, z)``, in its own units.

    Attributes:
        field: time derivatives of ``x``, ``y`` and ``z``, each a number or an array.
        start: a state on the attractor.
        period: duration of its dominant oscillation, in the system's time.
        points_per_period: frames in one period, the paper's choice.
    """

    field: Callable
    start: tuple[float, float, float]
    period: float
    points_per_period: int


def arneodo_field(x, y, z):
    """Arneodo, Coullet and Tresser (Phys. Lett. A 79, 1980)."""
    return y, z, 5.5 * x - 4.5 * y - z - x**3


def lorenz_field(x, y, z):
    """Lorenz (J. Atmos. Sci. 20, 1963); ``dysts`` rounds 8/3 to 2.667."""
    return 10 * (y - x), x * (28 - z) - y, x * y - 2.667 * z


def roessler_field(x, y, z):
    """Roessler (Phys. Lett. A 57, 1976)."""
    return -y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)


SYSTEMS = {
    "arneodo": System(arneodo_field, (-2.7515698, 0.19079818, 3.4703629), 3.1641, 35),
    "lorenz": System(lorenz_field, (-9.7869288, -15.03852, 20.533978), 1.5008, 100),
    "roessler": System(roessler_field, (6.5134412, 0.4772013, 0.34164294), 5.9086, 35),
}


def attractor(
    system: str,
    n_neurons: int = 10,
    n_trials: int = 2000,
    frames_per_trial: int = 70,
    points_per_period: float | None = None,
    seed: int = 0,
    observation: str = "poisson",
    calcium_decay_frames: float = 5.0,
    calcium_noise: float = 1.0,
    frame_rate_hz: float = 10.0,
) -> Recording:
    """Simulate neurons whose rates follow one of `SYSTEMS`.

    The trajectory is the same for every seed: the seed draws the readout (seed 0 draws the paper's) and then the spikes
    and the noise. Rates have a geometric mean of one spike in a frame; Roessler's ``z`` drives some to hundreds.

    Args:
        system: one of `SYSTEMS`.
        n_neurons: neurons ``N``.
        n_trials: trials, cut one after the other from one trajectory; time restarts at 0 in each of them.
        frames_per_trial: frames of a trial; all trials together have ``T``.
        points_per_period: frames in one period of the system; None takes the paper's, 100 for Lorenz and 35 for the
            others.
        seed: the same seed gives the same bytes on the same processor and libraries: chaos magnifies the last bit.
        observation: ``poisson`` for spike counts. ``calcium`` for the trace that these spikes leave: each adds 1 and
            decays exponentially, and Gaussian noise is added to every frame (Vogelstein et al., J. Neurophysiol. 2010).
        calcium_decay_frames: time constant of the trace, in frames; our choice.
        calcium_noise: SD of the noise, in units of what one spike adds; our choice.
        frame_rate_hz: unit of time only, the paper states none.

    Returns:
        A recording whose latents are the state ``(T, 3)``, each variable z-scored over the recording. The covariates
        ``x``, ``y`` and ``z`` hold it in the system's units. Its source carries ``readout``, from which `firing_rates`
        makes the true rates, and ``latent_mean`` and ``latent_sd``, which lead from latents to the system's units.

    Raises:
        OdevaeError: if a setting makes no sense.
    """
    if system not in SYSTEMS:
        raise OdevaeError(f"there is no chaotic system {system!r}; choose one of {', '.join(SYSTEMS)}.")
    if points_per_period is None:
        points_per_period = SYSTEMS[system].points_per_period
    settings = dict(locals())
    del settings["system"]
    check_settings(system, settings)
    if points_per_period < 1:
        raise OdevaeError(
            f"the simulation {system}: points_per_period is {points_per_period!r}; give at least one frame in a period."
        )
    if observation not in OBSERVATIONS:
        raise OdevaeError(
            f"the simulation {system}: there is no observation {observation!r}; choose one of "
            f"{', '.join(OBSERVATIONS)}."
        )
    states = trajectory(SYSTEMS[system], n_trials * frames_per_trial, points_per_period)
    mean, sd = states.mean(axis=0), states.std(axis=0)
    latents = (states - mean) / sd

    generator = np.random.default_rng(seed)
    readout = random_readout(generator, latents, sd, n_neurons)
    rates = firing_rates(latents, readout)
    activity = generator.poisson(rates).astype(float)
    if observation == "calcium":
        activity = calcium_trace(activity, rates[0], calcium_decay_frames)
        activity += calcium_noise * generator.standard_normal(activity.shape)
    return simulated(
        system,
        settings,
        activity=activity,
        covariates={name: states[:, column].copy() for column, name in enumerate("xyz")},
        latents=latents,
        units="spikes/frame" if observation == "poisson" else "a.u.",
        readout=readout.tolist(),
        latent_mean=mean.tolist(),
        latent_sd=sd.tolist(),
    )


arneodo = partial(attractor, "arneodo")
lorenz = partial(attractor, "lorenz")
roessler = partial(attractor, "roessler")


def trajectory(system: System, n_frames: int, points_per_period: float) -> np.ndarray:
    """States ``(n_frames, 3)`` of a system from its start on, in its own units."""
    # SciPy is slow to import, and other simulations and all readers of a recording need none of it.
    from scipy.integrate import solve_ivp

    times = np.arange(n_frames) * (system.period / points_per_period)
    solution = solve_ivp(
        # Python's numbers, because NumPy's cost more than the arithmetic here.
        lambda _, state: system.field(*state.tolist()),
        (0.0, times[-1]),
        system.start,
        method="DOP853",
        t_eval=times,
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )
    return np.ascontiguousarray(solution.y.T)


def random_readout(generator: np.random.Generator, latents: np.ndarray, sd: np.ndarray, n_neurons: int) -> np.ndarray:
    """Weights ``(3, N)`` of z-scored latents that give log-rates of mean 0 and SD 1.

    Weights of the raw state are uniform; neurons are sorted by that of its first variable.

    Args:
        generator: draws the weights.
        latents: ``(T, 3)``, z-scored.
        sd: ``(3,)``, SD of the raw state, by which it was divided.
        n_neurons: ``N``.
    """
    weights = generator.uniform(-READOUT_BOUND, READOUT_BOUND, (3, n_neurons))
    weights = sd[:, None] * weights[:, np.argsort(weights[0])]
    return weights / (latents @ weights).std(axis=0)


def firing_rates(latents: np.ndarray, readout: np.ndarray) -> np.ndarray:
    """The true rates behind a simulated recording, in spikes per frame: ``exp(latents @ readout)``.

    Args:
        latents: ``(..., 3)``, those of a recording or of trials cut from it.
        readout: ``(3, N)``, ``recording.source["readout"]``.

    Returns:
        ``(..., N)``.
    """
    return np.exp(latents @ np.asarray(readout))


def calcium_trace(spikes: np.ndarray, rates_before: np.ndarray, decay_frames: float) -> np.ndarray:
    """``c_t = exp(-1 / decay_frames) c_(t-1) + spikes_t``, as if the neurons had always fired at `rates_before`.

    Args:
        spikes: ``(T, N)``, one stretch.
        rates_before: ``(N,)``, spikes per frame; a trace that began at 0 would show where the recording begins.
        decay_frames: time constant.

    Returns:
        ``(T, N)``, in units of what one spike adds.
    """
    from scipy.signal import lfilter

    keep = math.exp(-1 / decay_frames)
    remains = keep * rates_before / -math.expm1(-1 / decay_frames)
    trace, _ = lfilter([1.0], [1.0, -keep], spikes, axis=0, zi=remains[None])
    return trace
