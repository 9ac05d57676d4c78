"""A process that reads one file after another, so that a file that kills it costs one process and not the test.

It limits its own memory. Each line of its standard input is a path; each line of its standard output says what became
of it. Run as ``python reading_worker.py <bytes of memory>``.
"""

import json
import os
import resource
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

from odevae.data.frames import ReadingSettings, recording_of
from odevae.data.readers import READERS
from odevae.data.readers.arrays import too_large
from odevae.data.readers.matlab import read_matlab
from odevae.data.readers.subprocess_reader import read_matlab_in_subprocess
from odevae.data.recording import Recording
from odevae.errors import OdevaeError


def outcome(path: Path) -> dict:
    """What reading gives; a MATLAB file is read here, in this process."""
    reader = READERS[path.suffix]
    if reader is read_matlab_in_subprocess:
        reader = read_matlab
    try:
        recording = recording_of(reader(path), ReadingSettings(), units="a.u.", source={"name": path.name})
    except OdevaeError as error:
        return {"sentence": str(error)}
    except MemoryError:
        return {"sentence": str(too_large(path))}
    except BaseException:
        return {"raised": traceback.format_exc()}
    return {"recording": described(recording)}


def described(recording: Recording) -> dict:
    """What a test checks of a recording: that it is one, and its smallest and largest number."""
    covariates = [values for values in recording.covariates.values() if np.isfinite(values).any()]
    numbers = [recording.activity, recording.time, *covariates]
    return {
        "sound": bool(
            recording.activity.ndim == 2
            and recording.activity.dtype.kind == "f"
            and np.isfinite(recording.activity).all()
            and recording.trial.dtype == np.int64
            and recording.time.dtype == np.float64
            and all(
                values.shape == (recording.n_frames,) and values.dtype == np.float64
                for values in recording.covariates.values()
            )
        ),
        "names": list(recording.covariates),
        "range": [
            min(float(np.nanmin(values)) for values in numbers),
            max(float(np.nanmax(values)) for values in numbers),
        ],
    }


def answer_all() -> None:
    while line := sys.stdin.readline():
        print(json.dumps(outcome(Path(json.loads(line)))), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    while copy := os.fork():
        _, status = os.waitpid(copy, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.WEXITSTATUS(status))
        print(json.dumps({"died": os.WTERMSIG(status)}), flush=True)
    answer_all()
