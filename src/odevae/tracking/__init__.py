"""MLflow as a mirror of what is on disk.

A run directory holds everything; the functions here make the store hold the same, however often they are called. A
failure of the store costs one warning, never the job.
"""

import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from odevae.config.studies import study_folds, study_runs
from odevae.jobs.garbage import collector_paused
from odevae.storage.run_folder import RunKey
from odevae.tracking.address import STORE_RECORD, project_of, redacted, store_uri
from odevae.tracking.records import Record, record_of_fit, record_of_fold, record_of_run
from odevae.tracking.studies import TrackedStudy, tracked_study

log = logging.getLogger(__name__)

# Next to the embedded store, in the project's folder.
ARTIFACT_ROOT = "mlartifacts"

# MLflow reads these when it is first imported, so they are set before anything imports it; a user's own setting wins.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that never answers delays a job once, for half a minute; MLflow's own retries: for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # A pooled connection continues to write into a database file that somebody has deleted, and nobody notices.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}.items():
    os.environ.setdefault(_name, _value)


class Mirrors:
    """Mirrors into several studies of one store; after its first failure it warns once and does nothing more.

    Attributes:
        working: false once tracking has failed.
    """

    def __init__(
        self,
        uri: str,
        artifact_root: str | Path,
        studies: Iterable[TrackedStudy],
        store_record: str | Path | None = None,
    ):
        """Open the store.

        Args:
            uri: of the store, ``sqlite:///mlflow.db`` or the address of a server.
            artifact_root: folder for the artifacts of each study, unless a server keeps them.
            studies: each has an experiment of its name.
            store_record: what the rule create_store wrote; a store that it does not name is not touched.
        """
        self.working = True
        self._mirrors = {}
        self._try(self._open, uri, artifact_root, studies, store_record)

    def run(self, run_dir: str | Path, study: str | None = None) -> dict[str, str]:
        """Mirror a run directory into one study or all; gives the run id in each, nothing when that failed."""
        return self._put(study, run_dir, record_of_run)

    def fold(self, fold_dir: str | Path, name: str, study: str | None = None) -> dict[str, str]:
        """The same for the preprocessing of a fold, under `name`."""
        return self._put(study, fold_dir, record_of_fold, name)

    def cell(
        self,
        file: str | Path,
        fits: dict[str, int],
        compared: Callable[[str, dict], str],
        study: str | None = None,
    ) -> list[dict[str, str]]:
        """The same for each fit of a cell of a benchmark.

        Args:
            file: the cell.
            fits: the dimension of each fit by its name.
            compared: see `records.record_of_fit`.
            study: the benchmark.
        """
        return [self._put(study, file, record_of_fit, name, dim, compared) for name, dim in fits.items()]

    def keep(self, study: str, names: Iterable[str]) -> None:
        """Delete the runs of a study in the store that have none of these names."""
        self._try(lambda: self._mirrors[study].keep(names))

    def remove_other_studies(self, names: Iterable[str]) -> list[str]:
        """Delete what the store keeps of this project's studies that have none of these names; gives their names."""
        return self._try(lambda: self._remove_others(names)) or []

    def study(self, study: str, files: Iterable[str | Path], found: str | None = None) -> str | None:
        """Put tables and figures on the parent run of one study, and what was found into its description.

        Args:
            study: its name.
            files: tables and figures.
            found: in Markdown; None leaves the description as it is.

        Returns:
            The id of the parent run, None when tracking is off.
        """
        return self._try(lambda: self._mirrors[study].study(files, found))

    def _open(self, uri, artifact_root, studies, store_record) -> None:
        project = project_of(uri, Path(store_record)) if store_record else ""
        # Importing MLflow takes a second and may fail, so only a job that tracks does it, and does it here. MLflow
        # imports SQLAlchemy when the store is opened.
        with collector_paused():
            from odevae.tracking.mirror import Mirror, remove_other_studies
            from odevae.tracking.store import open_store

            # Also without a study, so that one job makes the store before others need it, or finds that it is away.
            open_store(uri).search_experiments(max_results=1)
            self._mirrors = {study.name: Mirror(uri, artifact_root, study, project) for study in studies}
            self._remove_others = partial(remove_other_studies, uri, Path(artifact_root), project)

    def _put(self, study: str | None, place: str | Path, read: Callable[..., Record], *arguments) -> dict[str, str]:
        if not self.working:
            return {}
        try:
            record = read(place, *arguments)
        except Exception as error:
            # The store and the other folders may still be whole.
            log.warning(f"warning: {place} is left out of the record: {_reason(error)}")
            return {}
        names = self._mirrors if study is None else [study]
        return self._try(lambda: {name: self._mirrors[name].put(record) for name in names}) or {}

    def _try(self, act: Callable, *arguments):
        if not self.working:
            return None
        try:
            return act(*arguments)
        except Exception as error:
            self.working = False
            log.warning(
                f"warning: tracking is off for the rest of this job: {_reason(error)}; "
                "`snakemake sync` brings the record up to date"
            )
            return None


def _reason(error: Exception) -> str:
    """Kind and text of an error on one line, without passwords."""
    return f"{type(error).__name__}: {' '.join(redacted(str(error)).split())[:300]}"


def mirrors_of_run(config: dict, key: RunKey) -> Mirrors:
    """Mirrors into every study that asks for a run, in the store that the configuration names; never raises."""
    return mirrors_of_studies(config, *(study for study in config["studies"] if key in study_runs(config, study)))


def mirrors_of_fold(config: dict, folder: str) -> Mirrors:
    """The same for every study that uses a fold, by its folder below ``results/``."""
    return mirrors_of_studies(config, *(study for study in config["studies"] if folder in study_folds(config, study)))


def mirrors_of_studies(config: dict, *studies: str) -> Mirrors:
    """Mirrors into these studies."""
    return mirrors(config, *(tracked_study(config, study) for study in studies))


def mirrors(config: dict, *studies: TrackedStudy) -> Mirrors:
    """Mirrors into these studies and benchmarks."""
    return Mirrors(store_uri(config), ARTIFACT_ROOT, studies, STORE_RECORD)


def make_store(config: dict) -> bool:
    """Make the store that the configuration names, without experiments; says whether it can be used."""
    return mirrors(config).working
