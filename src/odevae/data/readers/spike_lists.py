"""Lists of spikes: an array of two columns, the neuron and the time of each spike, in any number of files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from odevae.data.frames import SECONDS, ReadingSettings, recording_of
from odevae.data.readers.arrays import LARGEST_EXACT_ID, too_large
from odevae.data.readers.paper_npz import read_pairs_npz
from odevae.data.readers.subprocess_reader import read_pairs_of_matlab_in_subprocess
from odevae.data.recording import Recording
from odevae.data.spikes import BinSettings, SpikeList, binned
from odevae.errors import OdevaeError
from odevae.storage.files import sha256_of_all

READERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".npz": read_pairs_npz,
    ".mat": read_pairs_of_matlab_in_subprocess,
}


def read_spike_lists(
    paths: Sequence[str | Path],
    settings: BinSettings,
    *,
    name: str,
    events: Mapping[str, Sequence[str]] | None = None,
    units: str = "spikes",
    time_unit: str | float | None = None,
) -> Recording:
    """Read the spike lists of some sessions of the same neurons, and count spikes in the bins of windows.

    Args:
        paths: ``.npz`` or ``.mat`` files, each with one array ``(n, 2)``: the id of a neuron and the time of its spike,
            in any order. Those that `events` does not name are the sessions.
        settings: the bins and the windows.
        name: what to call the recording.
        events: by covariate, the names of files among `paths`, one for each session, in their order.
        units: unit of the activity.
        time_unit: what the times of spikes count, as in `odevae.data.frames.ReadingSettings`; seconds if None.

    Returns:
        The recording of `odevae.data.spikes.binned`; its ``source`` holds ``file`` (the names), ``sha256`` (of those of
        the files, in order) and ``silent_neurons`` (how many columns are empty in each session).

    Raises:
        OdevaeError: if a file is missing, damaged or no spike list, or as `binned` does.
    """
    paths = list(map(Path, paths))
    lists = {path.name: _spikes_of(path, SECONDS.get(time_unit or "s", time_unit)) for path in paths}
    events = {covariate: [lists[file] for file in files] for covariate, files in (events or {}).items()}
    others = {id(spikes) for of_covariate in events.values() for spikes in of_covariate}
    sessions = [spikes for spikes in lists.values() if id(spikes) not in others]
    n_neurons = len(np.unique(np.concatenate([session.neuron for session in sessions])))
    source = {
        "name": name,
        "file": ", ".join(path.name for path in paths),
        "sha256": sha256_of_all(paths),
        "silent_neurons": [n_neurons - len(np.unique(session.neuron)) for session in sessions],
    }
    # Bins are in seconds, whatever the spike times were in.
    return recording_of(binned(sessions, events, settings), ReadingSettings(time_unit="s"), units=units, source=source)


def _spikes_of(path: Path, unit_s: float) -> SpikeList:
    if not path.is_file():
        raise OdevaeError(f"{path}: there is no such file; check the path of the spike list.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise OdevaeError(
            f"{path}: no reader for the suffix {path.suffix!r}; give a spike list as {', '.join(READERS)}."
        )
    try:
        pairs = reader(path).astype(np.float64)
    except MemoryError as error:
        raise too_large(path) from error
    if not len(pairs):
        raise OdevaeError(f"{path}: has no spikes; leave the file out.")
    neuron, time = pairs.T
    wrong = ~((neuron == np.rint(neuron)) & (np.abs(neuron) <= LARGEST_EXACT_ID))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise OdevaeError(
            f"{path}: the first column is {neuron[row]:g} in row {row}, which is no id of a neuron; give whole numbers "
            "there and times in the second column."
        )
    if not np.isfinite(time).all():
        raise OdevaeError(
            f"{path}: the time of a spike is NaN or infinite, first in row {int(np.argmin(np.isfinite(time)))}; remove "
            "those rows."
        )
    return SpikeList(neuron.astype(np.int64), time * unit_s, str(path))
