"""Read a file in a process of its own.

The libraries that decode MATLAB files, HDF5 and tables are compiled code. Damaged bytes can crash them, nest without
end, or make them copy the same cell for hours. Here such a file ends the other process, and the user reads a sentence.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from odevae.data.frames import Frames, frames_as_arrays, frames_from_arrays
from odevae.data.readers.arrays import Layout, memory_limit, too_large
from odevae.data.readers.contents import contents_of
from odevae.data.readers.hdf5 import read_hdf5
from odevae.data.readers.matlab import read_matlab, read_pairs
from odevae.data.readers.matlab_trials import read_matlab_trials
from odevae.data.readers.nwb import read_nwb
from odevae.data.readers.segmentation import read_segmentation
from odevae.data.readers.tables import read_table
from odevae.errors import OdevaeError

CPU_LIMIT_S = 600  # to inflate and copy 10 GB takes about two minutes
ARRAYS_FILE, REFUSAL_FILE = "arrays.npz", "refusal.txt"
SOURCES = Path(__file__).parents[3]
# Name of the one array, JSON in a text, that says what a file holds.
ABOUT = "about"
# What the user reads when a signal has ended the other process.
ENDED_BY = {
    "SIGXCPU": "not read after {cpu_s} s of computing, as if it were damaged; save the recording again as plain arrays "
    "roi, Trial and Time.",
    "SIGKILL": "the process that read it was killed, most often because memory ran out; use a machine with more "
    "memory, or copy the file again if it should be small.",
}
CRASHED = (
    "damaged so that the library for {library} files crashed on it ({signal}); copy it again or save it again{tool}."
)


def read_in_subprocess(path: Path, content: str, **settings) -> Frames:
    """The frames that a reader makes of a file, whatever the file does to the process that reads it.

    Args:
        path: the file or the folder.
        content: a format of `content_of`.
        settings: arguments of its reader, JSON values.

    Raises:
        OdevaeError: as the reader does; and if the other process crashes, or takes too much time or memory.
    """
    return frames_from_arrays(read_arrays_in_subprocess(path, content, settings))


def read_matlab_in_subprocess(path: Path) -> Frames:
    """What `odevae.data.readers.matlab.read_matlab` reads of the plain layout, as `read_in_subprocess` does."""
    return read_in_subprocess(path, "matlab")


def read_pairs_of_matlab_in_subprocess(path: Path) -> np.ndarray:
    """What `odevae.data.readers.matlab.read_pairs` reads, as safely as `read_in_subprocess`."""
    return read_arrays_in_subprocess(path, "pairs", {})["pairs"]


def describe_in_subprocess(path: Path) -> dict:
    """What `odevae.data.readers.contents.contents_of` finds in a file, as safely as `read_in_subprocess`."""
    return json.loads(str(read_arrays_in_subprocess(path, "contents", {})[ABOUT]))


def content_of(path: Path, content: str, settings: dict) -> dict[str, np.ndarray]:
    """In the other process: what a file holds, as plain arrays. Each library is imported where it is needed."""
    match content:
        case "contents":
            return {ABOUT: np.array(json.dumps(contents_of(path)))}
        case "pairs":
            return {"pairs": read_pairs(path)}
        case "matlab":
            return frames_as_arrays(read_matlab(path, Layout(**settings)))
        case "hdf5":
            return frames_as_arrays(read_hdf5(path, Layout(**settings)))
        case "caiman" | "cnmfe" | "extract" | "minian":
            return frames_as_arrays(read_segmentation(path, content, **settings))
        case "matlab_trials":
            return frames_as_arrays(read_matlab_trials(path, **settings))
        case "nwb":
            return frames_as_arrays(read_nwb(path, **settings))
        case "table":
            return frames_as_arrays(read_table(path, **settings))
    raise ValueError(content)


def read_arrays_in_subprocess(path: Path, content: str, settings: dict) -> dict[str, np.ndarray]:
    """The arrays that the other process made of a file."""
    # The odevae that is imported here, no more threads than a reader needs, no plug-ins of HDF5, and no cache of pynwb,
    # which is a pickle in the user's home.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCES), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HDF5_PLUGIN_PRELOAD": "::",
        "PYNWB_NO_CACHE_DIR": "1",
    }
    with tempfile.TemporaryDirectory(prefix="odevae-") as folder:
        request = {
            "path": str(path),
            "content": content,
            "settings": settings,
            "folder": folder,
            "memory": memory_limit(),
            "cpu_s": CPU_LIMIT_S,
        }
        process = subprocess.run(
            # -P keeps modules that lie next to the recording out of the way, -W what damaged files make libraries say.
            [sys.executable, "-P", "-W", "ignore", "-c", f"from {__name__} import main; main()"],
            env=environment,
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        refusal = Path(folder) / REFUSAL_FILE
        if process.returncode < 0:
            ended_by = signal.Signals(-process.returncode).name
            library, tool = ("MATLAB", " in MATLAB") if path.suffix.lower() == ".mat" else ("such", "")
            why = ENDED_BY.get(ended_by, CRASHED)
            why = why.format(signal=ended_by, cpu_s=CPU_LIMIT_S, library=library, tool=tool)
            raise OdevaeError(f"{path}: {why}")
        if refusal.exists():
            raise OdevaeError(refusal.read_text(encoding="utf-8"))
        if process.returncode:
            raise RuntimeError(f"{path}: the process that reads recordings failed:\n{process.stdout}")
        with np.load(Path(folder) / ARRAYS_FILE, allow_pickle=False) as file:
            return dict(file)


def main() -> None:
    """The other process: the request is on its standard input, its answer one of two files in the folder."""
    request = json.load(sys.stdin)
    path, folder = Path(request["path"]), Path(request["folder"])
    limits = {"RLIMIT_CORE": 0, "RLIMIT_CPU": request["cpu_s"], "RLIMIT_AS": request["memory"]}
    for name, value in limits.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        # A process cannot raise its limits. macOS has no limit on memory and refuses to set one.
        with suppress(ValueError):
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    try:
        np.savez(folder / ARRAYS_FILE, **content_of(path, request["content"], request["settings"]))
    except (OdevaeError, MemoryError) as error:
        sentence = str(error if isinstance(error, OdevaeError) else too_large(path))
        (folder / REFUSAL_FILE).write_text(sentence, encoding="utf-8")
