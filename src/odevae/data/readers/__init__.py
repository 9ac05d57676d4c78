"""Recordings from files and folders: one module for each format, chosen by the configuration or by the suffix."""

from collections.abc import Mapping
from pathlib import Path

from odevae.data.frames import Frames, ReadingSettings, recording_of
from odevae.data.readers.arrays import layout_of, too_large
from odevae.data.readers.paper_npz import read_paper_npz
from odevae.data.readers.subprocess_reader import read_in_subprocess, read_matlab_in_subprocess
from odevae.data.readers.suite2p import read_suite2p
from odevae.data.recording import Recording
from odevae.data.session_trials import TableOfTrials
from odevae.data.source_files import source_files
from odevae.errors import OdevaeError
from odevae.storage.files import sha256_of_all

# Of the plain layout, which needs no ``read``.
READERS = {".npz": read_paper_npz, ".mat": read_matlab_in_subprocess}
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
# For a file about which the configuration says nothing.
DEFAULTS = ReadingSettings()


def read(
    path: str | Path,
    *,
    name: str | None = None,
    units: str = "dF/F",
    settings: ReadingSettings = DEFAULTS,
    layout: Mapping | None = None,
) -> Recording:
    """Read a recording and check it.

    Args:
        path: a file, or the folder of a format that is one.
        name: what to call the recording; the file's name when left out.
        units: unit of the activity; none of the formats stores it in a form to rely on.
        settings: what the data set says of the file: unit of time, trials, gaps, missing values.
        layout: ``read`` of the data set: its ``format``, and the arguments of the format's reader. None for an ``.npz``
            of plain arrays or a ``.mat`` of MATLAB 5 or 7.3, see the module of each.

    Returns:
        The recording; its ``source`` holds ``name``, ``file`` (without folders) and ``sha256`` of the files (the
        table of trials among them), and what `odevae.data.frames.recording_of` adds.

    Raises:
        OdevaeError: if there is no such file, no reader for it, or its content is not a recording. Nothing else is
            raised, and nothing is executed, whatever the bytes of the file.
    """
    path = Path(path)
    format = None if layout is None else layout["format"]
    files = source_files(path, format)
    try:
        # A table of trials is part of the recording.
        tables = [Path(settings.trials.table)] if isinstance(settings.trials, TableOfTrials) else []
        names = ", ".join(file.name for file in [path, *tables])
        source = {"name": name or path.name, "file": names, "sha256": sha256_of_all([*files, *tables])}
    except OSError as error:
        raise OdevaeError(
            f"{error.filename or path}: cannot be opened ({error.strerror}); check its path and permissions."
        ) from error
    try:
        frames = frames_of(path, layout)
        return recording_of(frames, settings, units=units, source=source)
    except MemoryError as error:
        raise too_large(path) from error


def frames_of(path: Path, layout: Mapping | None) -> Frames:
    """The frames of a file by the reader of its format."""
    suffix = path.suffix.lower()
    if layout is None:
        if suffix not in READERS:
            raise OdevaeError(
                f"{path}: no reader for the suffix {path.suffix!r} without read in its data set, which only "
                f"{', '.join(READERS)} with roi, Trial and Time do without; odevae inspect {path} prints what to add."
            )
        return READERS[suffix](path)
    arguments = {key: value for key, value in layout.items() if key != "format"}
    match layout["format"]:
        case "suite2p":
            return read_suite2p(path, **arguments)
        case "arrays":
            variables = layout_of(**arguments)
            if suffix == ".npz":
                return read_paper_npz(path, variables)
            if suffix != ".mat" and suffix not in HDF5_SUFFIXES:
                raise OdevaeError(
                    f"{path}: read.format: arrays is for {', '.join([*READERS, *HDF5_SUFFIXES])}, not {path.suffix!r}; "
                    f"odevae inspect {path} prints the lines that fit."
                )
            return read_in_subprocess(path, "matlab" if suffix == ".mat" else "hdf5", **vars(variables))
        case other:
            return read_in_subprocess(path, other, **arguments)
