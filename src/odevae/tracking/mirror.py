"""One study in the store: an experiment, its parent run, and a child run for each record."""

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException, RestException
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from odevae.errors import OdevaeError
from odevae.tracking.address import absolute, is_server
from odevae.tracking.records import Record, digest_of, flat, numbers, require_plain, texts
from odevae.tracking.store import follow_folder, locked, open_store, require_writable

# The most metrics that MLflow takes in one call.
MAX_METRICS = 1000

RUN_TAG = "odevae.run"
ATTEMPT_TAG = "odevae.attempt"
ARTIFACTS_TAG = "odevae.artifacts"
PROJECT_TAG = "odevae.project"
PARENT_NAME = "study"
# How long a job waits for the parent run of an experiment that another job has created.
PARENT_WAIT_S = 20
# The page of an experiment of this kind opens with its runs and their charts.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

# For what may be done twice: a server refuses one of two jobs that bring in the same tag or data set at once, and a run
# that another job has deleted. A server that does not answer raises another error, which is not tried again here.
patiently = retry(
    retry=retry_if_exception_type(RestException), stop=stop_after_attempt(5), wait=wait_random(0.05, 0.5), reraise=True
)


class Mirror:
    """Brings one study in the store up to date with what is on disk.

    Attributes:
        client: of MLflow, for reading.
        experiment_id, parent_id: the experiment of the study and its parent run.

    Raises:
        Exception: whatever MLflow, SQLite or the file system raises; `odevae.tracking.Mirrors` is the tolerant form.
    """

    def __init__(
        self, uri: str, artifact_root: str | Path, study: str, study_params: dict | None = None, project: str = ""
    ):
        """Open the store; find or create the experiment and its one parent run.

        The settings of the study are tags of the parent: a study may be extended, and MLflow's parameters never change.
        With a `project`, only its runs are used: other projects on the server may have a study of the same name.
        """
        self._uri = absolute(uri)
        self._project_tags = {PROJECT_TAG: project} if project else {}
        self.client = open_store(uri)
        with self._writing():
            # A server has its own place for artifacts.
            root = Path(artifact_root).resolve()
            follow_folder(self._uri, root)
            place = None if is_server(uri) else (root / study).as_uri()
            self.experiment_id, created = self._find_experiment(study, place)
            if is_server(uri) and not created:
                self._wait_for_parent()
            settings = {f"{PARENT_NAME}.{name}": value for name, value in flat(study_params or {}).items()}
            self.parent_id = self._put_parent(study, texts(settings))

    def _wait_for_parent(self) -> None:
        """Leave the parent run to the job that created the experiment, because a server has no lock.

        After `PARENT_WAIT_S` that job has died. Jobs of another project that meet in an old experiment can still create
        a parent each; all but one are deleted, and the next job that opens a child names the one that is left.
        """
        deadline = time.monotonic() + PARENT_WAIT_S
        while not self.client.search_runs([self.experiment_id], max_results=1) and time.monotonic() < deadline:
            time.sleep(random.uniform(0.05, 0.5))

    @patiently
    def _put_parent(self, study: str, settings: dict[str, str]) -> str:
        parent, _ = self._one_run(PARENT_NAME, lambda run: set(), None, {}, run_name=study)
        self._log_texts(parent, settings, {})
        return parent.info.run_id

    @patiently
    def put(self, record: Record) -> str:
        """Make the store hold what a record holds; gives the run id. Cheap when little is new."""
        with self._writing():
            run, stored_epochs = self._one_run(
                record.name,
                lambda run: self._epochs_if_agreeing(run, record),
                record.start_ms,
                {ATTEMPT_TAG: record.attempt, "mlflow.parentRunId": self.parent_id},
            )
            self._log_texts(run, record.tags | {"mlflow.parentRunId": self.parent_id}, record.params)
            self._log_history(run, record, stored_epochs)
            self._log_summary(run, record.summary)
            self._log_dataset(run, record.dataset)
            self._set_status(run, record)
        self._copy_artifacts(run, record.artifacts)
        return run.info.run_id

    def study(self, files: Iterable[str | Path], metrics: dict[str, float]) -> str:
        """Put tables, figures and metrics on the parent run and finish it; gives its run id."""
        with self._writing():
            parent = self.client.get_run(self.parent_id)
            self._log_summary(parent, numbers(metrics))
            self.client.set_terminated(self.parent_id, "FINISHED")
        folders = {file: "figures" if file.suffix == ".png" else "tables" for file in map(Path, files)}
        self._copy_artifacts(parent, {f"{folder}/{file.name}": file for file, folder in folders.items()})
        return self.parent_id

    def keep(self, names: Iterable[str]) -> None:
        """Delete the runs of the study, other than its parent, that have none of these names: they left the study."""
        names = {PARENT_NAME, *names}
        with self._writing():
            for run in self._search():
                if run.data.tags[RUN_TAG] not in names:
                    self.client.delete_run(run.info.run_id)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with locked(self._uri):
            require_writable(self._uri)
            yield

    def _find_experiment(self, name: str, artifacts: str | None) -> tuple[str, bool]:
        """The id of the experiment, and whether it was created now, which one job only can do."""
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return self.client.create_experiment(name, artifact_location=artifacts, tags=EXPERIMENT_TAGS), True
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            # Another job was faster; names of experiments are unique.
            experiment = self.client.get_experiment_by_name(name)
        if artifacts and experiment.artifact_location != artifacts:
            raise OdevaeError(
                f"the experiment {name} of this store keeps its artifacts in {experiment.artifact_location}, outside "
                "this project; give the project a store of its own (tracking.uri in the configuration)."
            )
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            # The name of a deleted experiment cannot be used again.
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id, False

    def _search(self, name: str | None = None) -> list[Run]:
        """Our runs, of a name or all, always in the same order."""
        tags = self._project_tags | ({RUN_TAG: name} if name else {})
        conditions = [f"tags.`{tag}` = '{require_plain(value)}'" for tag, value in tags.items()]
        conditions += [] if name else [f"tags.`{RUN_TAG}` LIKE '%'"]
        runs, page = [], None
        while page != "":
            found = self.client.search_runs([self.experiment_id], " and ".join(conditions), page_token=page)
            runs, page = [*runs, *found], found.token or ""
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def _one_run(
        self,
        name: str,
        epochs_if_agreeing: Callable[[Run], set[int] | None],
        start_ms: int | None,
        tags: dict[str, str],
        run_name: str | None = None,
    ) -> tuple[Run, set[int]]:
        """The first run of a name that agrees and the epochs that it holds; all others of that name are deleted.

        If none agrees, one is created. On a server another job can do so at the same time, so this one searches again
        and deletes its own run if there are two.
        """
        own = None
        while True:
            runs = self._search(name)
            if own and len(runs) > 1:
                self.client.delete_run(own)
                own = None
                # The other job may have deleted its run too. After different waits they do not meet again.
                time.sleep(random.uniform(0.05, 0.5))
                continue
            found = None
            for run in runs:
                epochs = None if found else epochs_if_agreeing(run)
                if epochs is None:
                    self.client.delete_run(run.info.run_id)
                else:
                    found = run, epochs
            if found:
                return found
            all_tags = {RUN_TAG: name, **self._project_tags, **tags}
            own = self.client.create_run(self.experiment_id, start_ms, all_tags, run_name or name).info.run_id

    def _epochs_if_agreeing(self, run: Run, record: Record) -> set[int] | None:
        """Epochs that the run holds; None if it holds anything that is not on disk, because MLflow cannot take it back.

        A stopped training repeats epochs with the same bits, so while it runs the store may be ahead of the disk.
        """
        data, columns, running = run.data, record.columns, record.status == "RUNNING"
        if data.tags.get(ATTEMPT_TAG) != record.attempt or data.params.items() - record.params.items():
            return None
        if not columns and running:
            return set()
        if data.metrics.keys() - record.summary.keys() - set(columns):
            return None
        if not columns:
            return set()
        # Epochs are written whole, so one column shows which are there, and whether they are the same.
        column = columns[0]
        stored = {metric.step: metric.value for metric in self.client.get_metric_history(run.info.run_id, column)}
        for epoch, value in stored.items():
            if not (_same(value, record.history[epoch][column]) if epoch in record.history else running):
                return None
        return set(stored)

    def _log_texts(self, run: Run, tags: dict[str, str], params: dict[str, str]) -> None:
        missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
        changed = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
        self.client.log_batch(run.info.run_id, params=missing, tags=changed)

    def _log_history(self, run: Run, record: Record, stored_epochs: set[int]) -> None:
        missing = [(epoch, row) for epoch, row in record.history.items() if epoch not in stored_epochs]
        # One call is one transaction: a killed job never leaves half an epoch.
        step = max(1, MAX_METRICS // max(1, len(record.columns)))
        for start in range(0, len(missing), step):
            metrics = [
                Metric(name, value, record.history_ms, epoch)
                for epoch, row in missing[start : start + step]
                for name, value in row.items()
            ]
            self.client.log_batch(run.info.run_id, metrics)

    def _log_summary(self, run: Run, summary: dict[str, float]) -> None:
        now_ms, stored = time.time_ns() // 1_000_000, run.data.metrics
        new = {name: value for name, value in summary.items() if not _same(stored.get(name), value)}
        self.client.log_batch(run.info.run_id, [Metric(name, value, now_ms, 0) for name, value in new.items()])

    def _log_dataset(self, run: Run, dataset: tuple[str, str, str] | None) -> None:
        if dataset is None or run.inputs.dataset_inputs:
            return
        name, digest, place = dataset
        source = Dataset(name, digest, source_type="local", source=json.dumps({"uri": place}))
        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(run.info.run_id, [DatasetInput(source, tags)])

    def _set_status(self, run: Run, record: Record) -> None:
        if record.status == "RUNNING":
            if run.info.status != "RUNNING":
                self.client.update_run(run.info.run_id, "RUNNING")
        elif (run.info.status, run.info.end_time) != (record.status, record.end_ms):
            self.client.set_terminated(run.info.run_id, record.status, record.end_ms)

    def _copy_artifacts(self, run: Run, files: dict[str, Path]) -> None:
        """Copy the files if any of them has changed; outside the lock, because they may be large."""
        if not files:
            return
        digest = digest_of(files)
        if run.data.tags.get(ARTIFACTS_TAG) == digest:
            return
        for name, file in files.items():
            folder = Path(name).parent.as_posix()
            self.client.log_artifact(run.info.run_id, str(file), None if folder == "." else folder)
        with self._writing():
            self.client.set_tag(run.info.run_id, ARTIFACTS_TAG, digest)


def _same(stored: float | None, value: float) -> bool:
    return stored == value or (stored is not None and math.isnan(stored) and math.isnan(value))
