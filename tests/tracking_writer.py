"""One job of the parallel test: gets ready, waits for the signal, mirrors one run directory.

Usage: tracking_writer.py <store uri> <artifact root> <run directory> <folder of the signals>
"""

import sys
import time
from pathlib import Path

from odevae.tracking import Mirrors
from odevae.tracking.mirror import Mirror  # noqa: F401  imported now, so that all jobs reach the store together

uri, artifact_root, run_dir, signals = sys.argv[1:]
name = Path(run_dir).name
(Path(signals) / f"{name}.ready").touch()
while not (Path(signals) / "go").exists():
    time.sleep(0.01)
mirrors = Mirrors(uri, artifact_root, {"parallel": {"epochs": 60}})
mirrors.run(run_dir)
sys.exit(0 if mirrors.working else 1)
