"""Read a MATLAB file in a process of its own.

The libraries that decode MATLAB files are compiled code, and damaged bytes make them follow wild pointers, nest without
end or copy the same cell for hours. What such a file does to the other process ends here, as one sentence.
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

from odevae.data.frames import Frames
from odevae.data.readers.arrays import memory_limit, too_large
from odevae.data.readers.matlab import read_matlab
from odevae.errors import OdevaeError

# No recording that fits into memory needs more: to inflate and copy 10 GB takes about two minutes.
CPU_LIMIT_S = 600
ARRAYS_FILE, REFUSAL_FILE = "arrays.npz", "refusal.txt"
SOURCES = Path(__file__).parents[3]


def read_matlab_in_subprocess(path: Path) -> Frames:
    """What `odevae.data.readers.matlab.read_matlab` reads, whatever the file does to the process that reads it.

    Raises:
        OdevaeError: as `read_matlab` does; and if the other process crashes, or takes too much time or memory.
    """
    with tempfile.TemporaryDirectory(prefix="odevae-") as folder:
        request = {
            "path": str(path),
            "folder": folder,
            "memory": memory_limit(),
            "cpu_s": CPU_LIMIT_S,
        }
        process = subprocess.run(
            # -P keeps modules that lie next to the recording out of the way, -W what damaged files make libraries say.
            [
                sys.executable,
                "-P",
                "-W",
                "ignore",
                "-c",
                "from odevae.data.readers.subprocess_reader import main; main()",
            ],
            env=_environment(),
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        refusal = Path(folder) / REFUSAL_FILE
        if process.returncode < 0:
            raise _ended_by(signal.Signals(-process.returncode), path)
        if refusal.exists():
            raise OdevaeError(refusal.read_text(encoding="utf-8"))
        if process.returncode:
            raise RuntimeError(f"{path}: the process that reads MATLAB files failed:\n{process.stdout}")
        with np.load(Path(folder) / ARRAYS_FILE, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    return Frames(
        activity=arrays["activity"],
        trial=arrays["trial"],
        time=arrays["time"],
        covariates=dict(zip(arrays["covariate_names"].tolist(), arrays["covariates"], strict=True)),
        latents=arrays.get("latents"),
        left_out=json.loads(str(arrays["left_out"])),
    )


def main() -> None:
    """The other process: the request is on its standard input, its answer one of two files in the folder."""
    request = json.load(sys.stdin)
    path, folder = Path(request["path"]), Path(request["folder"])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, request["cpu_s"])
    _limit(resource.RLIMIT_AS, request["memory"])
    try:
        _save(read_matlab(path), folder / ARRAYS_FILE)
    except (OdevaeError, MemoryError) as error:
        sentence = str(error if isinstance(error, OdevaeError) else too_large(path))
        (folder / REFUSAL_FILE).write_text(sentence, encoding="utf-8")


def _environment() -> dict[str, str]:
    """The odevae that is imported here, no more threads than a reader needs, and no plug-ins of HDF5."""
    places = [str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(places),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HDF5_PLUGIN_PRELOAD": "::",
    }


def _limit(kind: int, value: int) -> None:
    """Lower a limit of this process, never above the one it was given."""
    _, hard = resource.getrlimit(kind)
    # macOS has no limit on memory and refuses to set one.
    with suppress(ValueError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _save(frames: Frames, path: Path) -> None:
    arrays = {
        "activity": frames.activity,
        "trial": frames.trial,
        "time": frames.time,
        "covariate_names": np.array(list(frames.covariates), dtype=str),
        "covariates": np.array(list(frames.covariates.values())).reshape(-1, len(frames.trial)),
        "left_out": np.array(json.dumps(frames.left_out)),
    }
    if frames.latents is not None:
        arrays["latents"] = frames.latents
    np.savez(path, **arrays)


def _ended_by(number: signal.Signals, path: Path) -> OdevaeError:
    if number == signal.SIGXCPU:
        return OdevaeError(
            f"{path}: not read after {CPU_LIMIT_S} s of computing, as if it were damaged; save the recording again as "
            "plain arrays roi, Trial and Time."
        )
    if number == signal.SIGKILL:
        return OdevaeError(
            f"{path}: the process that read it was killed, most often because memory ran out; use a machine with more "
            "memory, or copy the file again if it should be small."
        )
    return OdevaeError(
        f"{path}: damaged so that the library for MATLAB files crashed on it ({number.name}); copy it again or save it "
        "again in MATLAB."
    )
