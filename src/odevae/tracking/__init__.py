"""MLflow as a mirror of what lies on disk.

A run directory holds everything; the functions here read it and make the tracking store say the same, however often
they are called. Whatever goes wrong with the store costs one warning, never the job.

* `records` reads the disk and says what the store should hold,
* `store` opens the store, also when many jobs do so at once,
* `mirror` brings one study in the store up to date.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from odevae.runs import RunKey
from odevae.studies import study_folds, study_runs

# MLflow reads these when it is first imported, so they stand before anything that does; a user's own setting wins.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Seven retries with growing pauses would hold a training up for minutes when the server is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    # A pooled connection goes on writing into a database file that somebody has deleted, and nobody notices.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}.items():
    os.environ.setdefault(_name, _value)


# Beside the embedded store, in the project's folder.
ARTIFACT_ROOT = "mlartifacts"


class Mirrors:
    """Mirrors into several studies of one store; after the first failure it warns once and does nothing any more.

    Attributes:
        working: false once tracking has failed.
    """

    def __init__(self, uri: str, artifact_root: str | Path, studies: dict[str, dict]):
        """Open the store.

        Args:
            uri: of the store, ``sqlite:///mlflow.db`` or the address of a server.
            artifact_root: folder below which each study keeps its artifacts.
            studies: name of each study and its settings, which become tags of its parent run.
        """
        self.working = True
        self._mirrors = {}
        self._try(self._open, uri, artifact_root, studies)

    def run(self, run_dir: str | Path) -> dict[str, str]:
        """Mirror a run directory; gives the run id in each study, nothing when tracking is off."""
        return self._each(lambda mirror: mirror.run(run_dir))

    def preprocessing(self, fold_dir: str | Path, name: str) -> dict[str, str]:
        """Mirror a preprocessing under `name`; gives the run id in each study, nothing when tracking is off."""
        return self._each(lambda mirror: mirror.preprocessing(fold_dir, name))

    def study(self, study: str, table_files: Iterable[str | Path], metrics: dict[str, float]) -> str | None:
        """Finish the parent run of one study; gives its run id, None when tracking is off."""
        return self._try(lambda: self._mirrors[study].study(table_files, metrics))

    def _open(self, uri, artifact_root, studies) -> None:
        # Importing MLflow takes seconds and may fail, so only a job that tracks does it, and does it here.
        from odevae.tracking.mirror import Mirror

        self._mirrors = {study: Mirror(uri, artifact_root, study, settings) for study, settings in studies.items()}

    def _each(self, act: Callable) -> dict[str, str]:
        return self._try(lambda: {study: act(mirror) for study, mirror in self._mirrors.items()}) or {}

    def _try(self, act: Callable, *arguments):
        if not self.working:
            return None
        try:
            return act(*arguments)
        except Exception as error:
            self.working = False
            reason = " ".join(str(error).split())[:300]
            print(
                f"warning: tracking is off for the rest of this job: {type(error).__name__}: {reason}; "
                "`snakemake sync` brings the record up to date",
                file=sys.stderr,
                flush=True,
            )
            return None


def mirrors_of_run(config: dict, key: RunKey) -> Mirrors:
    """Mirrors into every study that asks for a run, in the store that the configuration names; never raises."""
    return _mirrors(config, [study for study in config["studies"] if key in study_runs(config, study)])


def mirrors_of_fold(config: dict, folder: str) -> Mirrors:
    """The same for every study that uses a fold, by its folder below ``results/``."""
    return _mirrors(config, [study for study in config["studies"] if folder in study_folds(config, study)])


def mirrors_of_study(config: dict, study: str) -> Mirrors:
    """The same for one study."""
    return _mirrors(config, [study])


def _mirrors(config: dict, studies: list[str]) -> Mirrors:
    return Mirrors(config["tracking"]["uri"], ARTIFACT_ROOT, {study: config["studies"][study] for study in studies})
