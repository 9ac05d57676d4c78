"""Which files a recording is read from: one, or those of a folder that a reader opens."""

from pathlib import Path

from odevae.errors import OdevaeError

SUITE2P, MINIAN = "suite2p", "minian"
# Arrays of one plane. The other files of suite2p (ops.npy, stat.npy) are pickles and are never opened.
SUITE2P_FILES = ("F.npy", "Fneu.npy", "spks.npy", "iscell.npy")


def source_files(path: str | Path, format: str | None) -> list[Path]:
    """The files that reading opens, in a fixed order.

    Args:
        path: a file, or a folder of a format that is one.
        format: ``read.format`` of the data set; None if it has no ``read``.

    Raises:
        OdevaeError: if there is no such file, or the folder holds none of the format.
    """
    path = Path(path)
    if not path.exists():
        raise OdevaeError(f"{path}: there is no such file; check the path of the recording.")
    if format == SUITE2P:
        return [plane / name for plane in suite2p_planes(path) for name in SUITE2P_FILES if (plane / name).is_file()]
    if format == MINIAN:
        found = sorted(file for file in path.rglob("*") if file.is_file())
        if not found:
            raise OdevaeError(
                f"{path}: holds no files; give the folder in which Minian saved A.zarr, C.zarr and S.zarr."
            )
        return found
    if path.is_dir():
        raise OdevaeError(
            f"{path}: is a folder; say in read.format what it holds ({SUITE2P} or {MINIAN}), or give a file "
            f"(odevae inspect {path} prints the lines)."
        )
    return [path]


def suite2p_planes(path: Path) -> list[Path]:
    """The folders of planes in a folder of suite2p, or that folder itself if it is one.

    Raises:
        OdevaeError: if there is none.
    """
    if (path / "F.npy").is_file():
        return [path]
    planes = [folder for folder in path.glob("plane*") if (folder / "F.npy").is_file()]
    if not planes:
        raise OdevaeError(
            f"{path}: holds no F.npy and no folder plane0 with one; give the folder that suite2p wrote, such as "
            "suite2p or suite2p/plane0."
        )
    return sorted(planes, key=lambda folder: (len(folder.name), folder.name))
