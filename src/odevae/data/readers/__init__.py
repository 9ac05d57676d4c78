"""Recordings from files: one module for each format, chosen by the suffix of the file."""

from pathlib import Path

from odevae.data.frames import ReadingSettings, recording_of
from odevae.data.readers.arrays import too_large
from odevae.data.readers.paper_npz import read_paper_npz
from odevae.data.readers.subprocess_reader import read_matlab_in_subprocess
from odevae.data.recording import Recording
from odevae.data.session_trials import TableOfTrials
from odevae.errors import OdevaeError
from odevae.storage.files import sha256_of_all

READERS = {".npz": read_paper_npz, ".mat": read_matlab_in_subprocess}
# For a file about which the configuration says nothing.
DEFAULTS = ReadingSettings()


def read(
    path: str | Path, *, name: str | None = None, units: str = "dF/F", settings: ReadingSettings = DEFAULTS
) -> Recording:
    """Read a recording file and check it.

    Args:
        path: an ``.npz`` of plain arrays or a ``.mat`` of MATLAB 5 or 7.3; see the module of each format.
        name: what to call the recording; the file's name when left out.
        units: unit of the activity; none of the formats stores it.
        settings: what the data set says of the file: unit of time, trials, gaps, missing values.

    Returns:
        The recording; its ``source`` holds ``name``, ``file`` (without folders) and ``sha256`` of the file (of both, if
        there is a table of trials), and what `odevae.data.frames.recording_of` adds.

    Raises:
        OdevaeError: if there is no such file, its suffix is unknown, or its content is not a recording. Nothing else is
            raised, and nothing is executed, whatever the bytes of the file.
    """
    path = Path(path)
    if not path.is_file():
        raise OdevaeError(f"{path}: there is no such file; check the path of the recording.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise OdevaeError(
            f"{path}: no reader for the suffix {path.suffix!r}; give a recording as one of {', '.join(READERS)}."
        )
    try:
        # A table of trials is part of the recording.
        files = [path, *([Path(settings.trials.table)] if isinstance(settings.trials, TableOfTrials) else [])]
        names = ", ".join(file.name for file in files)
        source = {"name": name or path.name, "file": names, "sha256": sha256_of_all(files)}
    except OSError as error:
        raise OdevaeError(
            f"{error.filename or path}: cannot be opened ({error.strerror}); check its path and permissions."
        ) from error
    try:
        return recording_of(reader(path), settings, units=units, source=source)
    except MemoryError as error:
        raise too_large(path) from error
