"""Jobs that mirror run directories into one store at the same time.

Each job gets ready, waits for the signal and mirrors its directory. Usage of one:
tracking_writer.py <store uri> <artifact root> <run directory> <folder of the signals>
"""

import subprocess
import sys
import time
from pathlib import Path

from odevae.tracking import Mirrors
from odevae.tracking.mirror import Mirror  # noqa: F401  imported now, so that all jobs reach the store together
from odevae.tracking.studies import TrackedStudy

READY_S = FINISHED_S = 600


def mirror_at_once(uri: str, artifact_root: Path, folders: list[Path], signals: Path) -> None:
    """Mirror each run directory in a process of its own; all must succeed and print nothing."""
    signals.mkdir()
    command = [sys.executable, __file__, uri, str(artifact_root)]
    writers = [
        subprocess.Popen(
            [*command, str(folder), str(signals)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for folder in folders
    ]
    try:
        deadline = time.monotonic() + READY_S
        while len(list(signals.glob("*.ready"))) < len(folders) and time.monotonic() < deadline:
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.05)
        (signals / "go").touch()
        printed = [writer.communicate(timeout=FINISHED_S) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    assert printed == [("", "")] * len(folders)
    assert [writer.returncode for writer in writers] == [0] * len(folders)


def main(uri: str, artifact_root: str, run_dir: str, signals: str) -> int:
    (Path(signals) / f"{Path(run_dir).name}.ready").touch()
    while not (Path(signals) / "go").exists():
        time.sleep(0.01)
    mirrors = Mirrors(uri, artifact_root, [TrackedStudy("parallel", settings={"epochs": 60})])
    mirrors.run(run_dir)
    return 0 if mirrors.working else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
