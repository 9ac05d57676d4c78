"""Public recordings and simulations as trials, in one call each.

Files are downloaded once, checked against their SHA-256 and kept. Where ``ODEVAE_DATA_DIR`` names a folder, the files
in it, or in a folder below it, are used instead, as in the workflow.
"""

import os
from pathlib import Path
from typing import Any

import pooch

from odevae.config.recordings import public_recording, public_recordings
from odevae.data.download import fetch
from odevae.data.frames import ReadingSettings
from odevae.data.readers import read
from odevae.data.readers.spike_lists import read_spike_lists
from odevae.data.recording import Recording
from odevae.data.simulate import simulate
from odevae.data.spikes import BinSettings
from odevae.data.trials import Trials, cut, usable_trials
from odevae.errors import OdevaeError

_APLYSIA = "aplysia_"


def load_e65(drop_first_trials: int = 0, data_home: str | Path | None = None) -> Trials:
    """Calcium activity of one mouse in the towers task, hippocampal CA1, in dF/F (Nieh et al., Nature 2021).

    Covariates are those of the file, among them ``Position`` (cm), ``Evidence`` and ``Choice``.

    Args:
        drop_first_trials: leave so many trial ids out at the beginning; the paper leaves out 10.
        data_home: the folder that keeps the file; None for the user's cache.

    Raises:
        OdevaeError: if the file cannot be had, or is another.
    """
    return _trials(_public("e65", data_home), drop_first_trials)


def load_aplysia(preparation: str = "may2214", data_home: str | Path | None = None) -> Trials:
    """Spike counts of the pedal ganglion of Aplysia during fictive escape locomotion, in bins of 0.5 s.

    Bruno, Frost and Humphries, eLife 2017.

    The covariate ``session`` numbers the programs of escape from 1; each is cut into windows of 20 s, the trials.

    Args:
        preparation: ``may2214``, ``jun0914`` (with the covariate ``P10``, spikes of the motor nerve) or ``sep2914``.
        data_home: as in `load_e65`.

    Raises:
        OdevaeError: if there is no such preparation, or as in `load_e65`.
    """
    if _APLYSIA + preparation not in public_recordings():
        known = ", ".join(name.removeprefix(_APLYSIA) for name in public_recordings() if name.startswith(_APLYSIA))
        raise OdevaeError(f"there is no preparation {preparation!r}; choose one of {known}.")
    return _trials(_public(_APLYSIA + preparation, data_home))


def load_foraging_published(data_home: str | Path | None = None) -> Trials:
    """The simulated place cells behind the paper's Table 1, in arbitrary units; its clock counts frames.

    Args:
        data_home: as in `load_e65`.

    Raises:
        OdevaeError: as `load_e65` does.
    """
    return _trials(_public("foraging_published", data_home))


def load_foraging(**settings: Any) -> Trials:
    """Simulated place cells during a random walk in the unit disc; the latents are the positions.

    Args:
        settings: of `odevae.data.simulate.foraging.foraging`, such as ``n_neurons``, ``n_trials`` and ``seed``.

    Raises:
        OdevaeError: if there is no such setting, or it makes no sense.
    """
    return _trials(simulate("foraging", **settings))


def load_sphere(**settings: Any) -> Trials:
    """Simulated place cells on great circles; the latents are position and velocity.

    Args:
        settings: of `odevae.data.simulate.sphere.sphere`.

    Raises:
        OdevaeError: as `load_foraging` does.
    """
    return _trials(simulate("sphere", **settings))


def load_attractor(kind: str = "lorenz", **settings: Any) -> Trials:
    """Spiking neurons driven by a chaotic system, whose state is the latents (Sedler et al. 2023).

    Args:
        kind: ``lorenz``, ``roessler`` or ``arneodo``.
        settings: of the functions in `odevae.data.simulate.attractors`.

    Raises:
        OdevaeError: if there is no such system, or as `load_foraging` does.
    """
    systems = ("lorenz", "roessler", "arneodo")
    if kind not in systems:
        raise OdevaeError(f"there is no chaotic system {kind!r}; choose one of {', '.join(systems)}.")
    return _trials(simulate(kind, **settings))


def _trials(recording: Recording, drop_first: int = 0) -> Trials:
    return cut(recording, recording.activity, usable_trials(recording, drop_first))


def _public(name: str, data_home: str | Path | None) -> Recording:
    """A public recording, read as the workflow reads it."""
    entry = public_recording(name)
    home = Path(pooch.os_cache("odevae") if data_home is None else data_home)
    files = entry["fetch"] if isinstance(entry["fetch"], list) else [entry["fetch"]]
    paths = [home / Path(file["url"]).name for file in files]
    for file, path in zip(files, paths, strict=True):
        fetch(**file, destination=path, folder=os.environ.get("ODEVAE_DATA_DIR") or None)
    about = {"name": name} | {key: entry[key] for key in ("units",) if key in entry}
    if "spikes" in entry:
        events = entry["spikes"].pop("events", {})
        return read_spike_lists(paths, BinSettings(**entry["spikes"]), events=events, **about)
    settings = {key: value for key, value in entry.items() if key not in ("fetch", "units")}
    return read(paths[0], settings=ReadingSettings(**settings), **about)
