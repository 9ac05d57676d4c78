"""Get a data file from its address, or from a folder where the network is closed, and check its SHA-256."""

import os
import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch

from odevae.errors import OdevaeError
from odevae.storage.files import sha256_of

TIMEOUT_S = 60
# The rule's own line in the log says the same as pooch's.
pooch.get_logger().setLevel("WARNING")


def fetch(url: str, sha256: str, destination: str | Path, *, folder: str | Path | None = None) -> None:
    """Put the file at `url` into `destination`, whole and with the right checksum, or leave nothing there.

    Args:
        url: an ``https://`` address whose last segment is the file's name.
        sha256: the checksum that the file must have, hexadecimal.
        destination: path of the file to write; its folder is made when it is missing.
        folder: where the file is already, under its name in the address, in this folder or in one below it; nothing is
            downloaded then.

    Raises:
        OdevaeError: if the address is not ``https://``, the file cannot be had, or its checksum is another.
    """
    destination = Path(destination)

    def get(url: str, part: str, _) -> None:
        # pooch makes an empty file that only its owner may read; a new one has the usual permissions.
        Path(part).unlink()
        if folder is None:
            _download(url, part)
        else:
            _copy(_found_in(Path(folder), PurePosixPath(unquote(urlsplit(url).path)).name, sha256), part)
        found = sha256_of(part)
        if found != sha256.lower():
            raise OdevaeError(
                f"{destination}: the file from {folder or url} has the SHA-256 {found} but {sha256} is expected; check "
                "the address and the checksum in the configuration, or get the file again."
            )

    pooch.retrieve(url, sha256, destination.name, destination.parent, downloader=get)


def _download(url: str, part: str) -> None:
    if urlsplit(url).scheme != "https":
        raise OdevaeError(f"{url}: not an https:// address; correct the address in the configuration.")
    try:
        pooch.HTTPDownloader(timeout=TIMEOUT_S)(url, part, None)
    except (OSError, ValueError) as error:
        raise OdevaeError(
            f"{url}: cannot be downloaded ({error}); check the network, or set ODEVAE_DATA_DIR to a folder that holds "
            "the file."
        ) from error


def _found_in(folder: Path, name: str, sha256: str) -> Path:
    """The file of that name in a folder or below it; of several, the first with the right checksum, if one has it.

    Raises:
        OdevaeError: if there is none.
    """
    found = [folder / name] if (folder / name).is_file() else []
    # Sorted, so that the choice does not depend on the file system.
    found += sorted(
        Path(place) / name for place, _, files in os.walk(folder) if name in files and Path(place) != folder
    )
    if not found:
        raise OdevaeError(
            f"{folder / name}: there is no such file, and none in the folders below; put it there, or unset "
            "ODEVAE_DATA_DIR to download it."
        )
    if len(found) == 1:
        return found[0]
    return next((path for path in found if sha256_of(path) == sha256.lower()), found[0])


def _copy(origin: Path, part: str) -> None:
    try:
        shutil.copyfile(origin, part)
    except OSError as error:
        raise OdevaeError(
            f"{origin}: cannot be copied ({error}); check its permissions and the room on disk."
        ) from error
