"""The activity that a simulation would give without its noise: what a model of noisy neurons should find."""

import numpy as np

from odevae.data.recording import Recording
from odevae.data.simulate import SIMULATIONS
from odevae.data.simulate.attractors import SYSTEMS, calcium_trace, firing_rates
from odevae.data.simulate.random_path import tuned_rates
from odevae.errors import OdevaeError


def expected_activity(recording: Recording) -> np.ndarray:
    """Mean activity of a simulated recording over all draws of its spikes and noise, its latents as they are.

    Chaotic systems give the rates of the true latents, or under ``calcium`` the trace of these rates. The trace is
    filtered along the whole trajectory, as the recorded one was: it does not restart with a trial.

    Args:
        recording: what `odevae.data.simulate.simulate` gave, with all its frames.

    Returns:
        ``(T, N)`` float64, in the units of the activity.

    Raises:
        OdevaeError: if the recording was not simulated, or frames are missing that the computation needs.
    """
    kind, settings = recording.source.get("simulation"), recording.source.get("settings", {})
    if kind not in SIMULATIONS:
        raise OdevaeError(
            f"{recording.name}: the recording was not simulated here, so its activity without noise is unknown; score "
            "it against the truth only if it comes from a simulation."
        )
    if kind in SYSTEMS:
        rates = firing_rates(recording.latents, recording.source["readout"])
        if settings["observation"] == "poisson":
            return rates
        _require_all_frames(recording, settings["n_trials"] * settings["frames_per_trial"])
        # The filter is linear, so the mean of the traces is the trace of the mean spikes.
        return calcium_trace(rates, rates[0], settings["calcium_decay_frames"])
    if kind == "random_path":
        return tuned_rates(recording.latents, recording.source["centres"])
    if settings["noise"] == 0:
        return recording.activity.astype(np.float64)
    # The others draw their noise last, so they can be repeated without it.
    clean = SIMULATIONS[kind](**(settings | {"noise": 0.0}))
    _require_all_frames(recording, clean.n_frames)
    # A random generator of another version would give other neurons, and nobody would notice.
    if not np.allclose(clean.latents, recording.latents):
        raise OdevaeError(
            f"{recording.name}: its settings no longer give the latents that it holds; simulate it again with the "
            "libraries that are installed now."
        )
    return clean.activity


def _require_all_frames(recording: Recording, n_frames: int) -> None:
    if recording.n_frames != n_frames:
        raise OdevaeError(
            f"{recording.name}: {recording.n_frames} frames, but its settings give {n_frames}; give the whole "
            "recording, and choose trials afterwards."
        )
