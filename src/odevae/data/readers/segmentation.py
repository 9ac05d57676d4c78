"""What programs that find neurons in calcium movies save, through roiextractors: CaImAn, CNMF-E, EXTRACT and Minian."""

from pathlib import Path

import numpy as np

from odevae.data.frames import Frames
from odevae.data.readers.arrays import assemble, listed
from odevae.data.readers.extras import library
from odevae.data.readers.hdf5 import opened_hdf5
from odevae.errors import OdevaeError

# What roiextractors calls the traces of each program, the most usual one first, and what the program saves.
PROGRAMS = {
    "caiman": (("denoised", "deconvolved", "dff", "raw"), "what CaImAn saves with cnm.save('results.hdf5')"),
    "cnmfe": (("raw",), "CNMF-E's output with extractedSignals, extractedImages, Cn and time in a struct (MATLAB 7.3)"),
    "extract": (("dff", "raw"), "the output of EXTRACT in a struct (MATLAB 7.3)"),
    "minian": (("denoised", "deconvolved"), "a folder of Minian with A.zarr, C.zarr, S.zarr, b.zarr and f.zarr"),
}


def read_segmentation(
    path: Path, program: str, *, activity: str | None = None, cells: str = "accepted", rate_hz: float | None = None
) -> Frames:
    """Read the traces of all neurons that a program found.

    Args:
        path: its file, or for Minian its folder.
        program: a key of `PROGRAMS`.
        activity: which traces, in the words of roiextractors: ``raw``, ``dff``, ``denoised`` or ``deconvolved``; None
            for the first of `PROGRAMS` that the file has.
        cells: of CaImAn, ``accepted`` for the components that its evaluation accepted (all, if there was none), or
            ``all``.
        rate_hz: frames in a second; None takes it from the file.

    Raises:
        OdevaeError: if roiextractors is not installed, the file is damaged or not what the program saves, or it has no
            such traces or no frame rate.
    """
    extractors = library("roiextractors", str(path))
    if program == "minian":
        _refuse_pickles()
    else:
        opened_hdf5(path).close()
    usual, what = PROGRAMS[program]
    try:
        extractor = _extractor(extractors, path, program, rate_hz)
        traces = {name: trace for name, trace in extractor.get_traces_dict().items() if trace is not None}
        known = [name for name in usual if name in traces]
    except MemoryError:
        raise
    except Exception as error:
        # roiextractors lets through what h5py and zarr raise where something is missing.
        raise OdevaeError(
            f"{path}: not {what} ({type(error).__name__} while reading: {listed([str(error)])}); save it again, or "
            "name its arrays with read.format: arrays."
        ) from error
    chosen = activity or (known[0] if known else usual[0])
    if chosen not in known:
        raise OdevaeError(f"{path}: has no {chosen} traces; set read.activity to one of {', '.join(known) or 'none'}.")
    values = np.asarray(traces[chosen][:])
    if cells == "accepted" and program == "caiman":
        values = values[:, np.asarray(extractor.get_property("is_accepted", extractor.get_roi_ids()), dtype=bool)]
    return assemble(
        values,
        trial=None,
        time=_time(extractor, program, len(values), rate_hz, path),
        covariates={},
        rows_are_frames=True,
        where=str(path),
    )


def _extractor(extractors, path: Path, program: str, rate_hz: float | None):
    match program:
        case "caiman":
            return extractors.CaimanSegmentationExtractor(path)
        case "cnmfe":
            return extractors.CnmfeSegmentationExtractor(path)
        case "extract":
            # Older files of EXTRACT hold the rate, newer ones do not.
            return extractors.ExtractSegmentationExtractor(path, sampling_frequency=rate_hz or np.nan)
        case "minian":
            # Any rate if there is a table of times, which is taken below.
            return extractors.MinianSegmentationExtractor(path, sampling_frequency=rate_hz or np.nan)
    raise ValueError(program)


def _time(extractor, program: str, n_frames: int, rate_hz: float | None, path: Path) -> np.ndarray:
    """The time of each frame, s: by the given rate, the file's own times, or its rate."""
    if rate_hz is None and program == "minian" and (path / "timeStamps.csv").is_file():
        try:
            return np.asarray(extractor.get_native_timestamps())
        except Exception as error:
            raise OdevaeError(
                f"{path}/timeStamps.csv: lacks the columns Frame Number and Time Stamp (ms) of the Miniscope's table "
                f"({type(error).__name__} while reading); correct it, or set read.rate_hz."
            ) from error
    rate = float(rate_hz or extractor.get_sampling_frequency())
    if not (np.isfinite(rate) and rate > 0):
        raise OdevaeError(f"{path}: does not say how many frames a second has; set read.rate_hz.")
    return np.arange(n_frames) / rate


def _refuse_pickles() -> None:
    """Arrays of Zarr may name a codec that unpickles; for this process there is none."""
    from numcodecs import registry

    class Refused:
        @classmethod
        def from_config(cls, config):
            raise ValueError("a pickle, which is never loaded")

    registry.register_codec(Refused, codec_id="pickle")
