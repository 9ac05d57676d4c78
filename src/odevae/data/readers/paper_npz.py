"""Archives of NumPy: the layout of the paper's synthetic file (``roi``, ``Trial``, ``Time``), and lists of spikes."""

import io
import math
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from odevae.data.frames import Frames
from odevae.data.names import LONGEST_NAME, is_plain
from odevae.data.readers.arrays import (
    LATENTS,
    PLAIN,
    Layout,
    frames_from_variables,
    memory_limit,
    only_pairs,
    require,
    too_large,
    why_no_covariate,
)
from odevae.errors import OdevaeError

FLOAT64_BYTES = 8
HEADER_BYTES = 2**14  # NumPy itself reads no header of more than 10 000 characters
NO_ARRAY = "it is no array that can be read"
HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_paper_npz(path: Path, layout: Layout = PLAIN) -> Frames:
    """Read the variables of a layout; by default ``roi`` (frames x neurons or the reverse), ``Time``, ``Trial`` if the
    file has it, and covariates.

    See `odevae.data.readers.arrays.frames_from_variables` for what becomes of each array. One that does not become part
    of the recording is not read, so it may be damaged, too large or of objects.

    Raises:
        OdevaeError: if the file or an array that is needed is damaged, too large, pickled or no part of a recording.
    """
    headers = _headers(path)
    layout = layout.of(headers)
    require(headers, layout.required, str(path))
    needed = [*dict.fromkeys(layout.required), *([LATENTS] if LATENTS in headers else [])]
    for name in needed:
        if headers[name].dtype is None:
            raise _damaged(path, name, "no readable header")
        if headers[name].dtype.hasobject:
            raise OdevaeError(
                f"{path}: {name} is a pickled object array, which is never loaded; save it as a plain numeric array."
            )
    n_frames = layout.n_frames({name: headers[name].shape for name in needed}, str(path))
    reasons = {
        name: NO_ARRAY if header.dtype is None else why_no_covariate(header.shape, header.dtype, n_frames)
        for name, header in headers.items()
        if name not in needed and layout.may_be_covariate(name)
    }
    needed += [name for name, reason in reasons.items() if reason is None]
    # What the archive says of itself: a few kB can hold gigabytes of zeros.
    if sum(headers[name].n_bytes for name in needed) > memory_limit():
        raise too_large(path)
    arrays = {name: _array(path, name, headers[name].member) for name in needed}
    frames = frames_from_variables(arrays, where=str(path), layout=layout)
    return replace(
        frames,
        left_out=frames.left_out | {name: why for name, why in reasons.items() if why is not None and is_plain(name)},
    )


def read_pairs_npz(path: Path) -> np.ndarray:
    """Read the one array of two columns, ``(n, 2)``; nothing else of the file is read.

    Raises:
        OdevaeError: if the file is damaged or there is not exactly one such array.
    """
    headers = _headers(path)
    name = only_pairs(shapes_of_npz(path), str(path))
    if headers[name].n_bytes > memory_limit():
        raise too_large(path)
    return _array(path, name, headers[name].member)


def shapes_of_npz(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each array of an archive, by name; none is read.

    Raises:
        OdevaeError: if the file is damaged.
    """
    return {name: (header.shape, header.dtype) for name, header in _headers(path).items() if header.dtype is not None}


@dataclass(frozen=True)
class _Header:
    """What an archive says of an array before it is read; the type is None where that cannot be read."""

    member: str
    n_bytes: int
    shape: tuple[int, ...] = ()
    dtype: np.dtype | None = None


def _headers(path: Path) -> dict[str, _Header]:
    # numpy.load takes whatever is no zip archive for a pickle, which would give a misleading message.
    if not zipfile.is_zipfile(path):
        raise OdevaeError(
            f"{path}: not a whole .npz file (cut short, damaged, or of another format); copy it again or save it with "
            "numpy.savez."
        )
    headers = {}
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        # A damaged directory of an archive ends in errors of many kinds.
        raise OdevaeError(f"{path}: is damaged ({type(error).__name__}); copy it again.") from error
    with archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            try:
                with archive.open(member) as file:
                    start = io.BytesIO(file.read(HEADER_BYTES))
            except Exception as error:
                # zipfile and what decompresses for it each raise their own kinds.
                raise _damaged(path, name, type(error).__name__) from error
            headers[name] = _Header(member.filename, member.file_size)
            # A member that is no array of a common version stays without a type.
            with suppress(Exception):
                shape, _, dtype = HEADER_READERS[np.lib.format.read_magic(start)](start)
                n_bytes = max(member.file_size, FLOAT64_BYTES * math.prod(shape))
                headers[name] = _Header(member.filename, n_bytes, shape, dtype)
    return headers


def _array(path: Path, name: str, member: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file[member]
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(path, name, type(error).__name__) from error


def _damaged(path: Path, name: str, why: str) -> OdevaeError:
    shown = name if is_plain(name) else ascii(name[:LONGEST_NAME])
    return OdevaeError(f"{path}: the array {shown} is damaged ({why}); copy the file again or save it again.")
