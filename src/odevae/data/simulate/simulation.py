"""What all simulations share: the checks of their settings, and a recording in trials of one length."""

import hashlib
import math

import numpy as np

from odevae.data.recording import Recording
from odevae.errors import OdevaeError

# The smallest count that makes sense.
SMALLEST = {"n_neurons": 1, "latent_dim": 1, "n_frames": 2, "n_trials": 1, "frames_per_trial": 2, "seed": 0}
QUANTITIES = (
    "noise",
    "speed",
    "points_per_period",
    "calcium_decay_frames",
    "calcium_noise",
    "frame_rate_hz",
    "timescale_frames",
)
# Quantities that cannot be 0, and what to give.
NOT_ZERO = {
    "speed": "the radians that a trial covers in one second",
    "calcium_decay_frames": "the time constant of the trace in frames",
    "timescale_frames": "the frames over which the path is smooth",
    "frame_rate_hz": "the frames in one second",
}


def check_settings(kind: str, settings: dict) -> None:
    """Refuse settings of a simulation that are no counts (`SMALLEST`) or no finite quantities (`QUANTITIES`).

    Raises:
        OdevaeError: naming the first of them.
    """

    def refusal(name: str, what: str) -> OdevaeError:
        return OdevaeError(f"the simulation {kind}: {name} is {settings[name]!r}; give {what}.")

    def is_number(value, kinds) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool)

    for name, smallest in SMALLEST.items():
        if name in settings and not (is_number(settings[name], int) and settings[name] >= smallest):
            raise refusal(name, f"a whole number of {smallest} or more")
    for name in QUANTITIES:
        value = settings.get(name, 0)
        if not is_number(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise refusal(name, "a finite number that is not negative")
    for name, what in NOT_ZERO.items():
        if settings.get(name) == 0:
            raise refusal(name, what)


def simulated(
    kind: str,
    settings: dict,
    *,
    activity: np.ndarray,
    covariates: dict[str, np.ndarray],
    latents: np.ndarray,
    units: str = "a.u.",
    **source,
) -> Recording:
    """A recording of ``n_trials`` equal trials; time restarts at 0 in each of them.

    Args:
        kind: name of the simulation.
        settings: those that gave it, ``n_trials`` and ``frame_rate_hz`` among them.
        activity: ``(T, N)``, in `units`.
        covariates: by name, each ``(T,)``.
        latents: ``(T, d)``.
        units: unit of the activity.
        source: more of what the recording's source says.
    """
    n_trials, n_frames = settings["n_trials"], len(activity) // settings["n_trials"]
    trial = np.repeat(np.arange(n_trials), n_frames)
    time = np.tile(np.arange(n_frames) / settings["frame_rate_hz"], n_trials)
    digest = hashlib.sha256()
    for array in (activity, trial, time, latents):
        digest.update(np.ascontiguousarray(array))
    about = {"name": kind, "simulation": kind, "settings": settings, **source, "sha256": digest.hexdigest()}
    return Recording(activity, trial, time, covariates, latents, units, about)
