"""One study in the store: an experiment, its parent run, and a child run for each record."""

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException, RestException
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from odevae.errors import OdevaeError
from odevae.tracking.address import absolute, is_server
from odevae.tracking.records import NOTE_TAG, ROW_TAG, Record, Table, digest_of, flat, require_plain, texts
from odevae.tracking.store import follow_folder, locked, open_store, require_writable
from odevae.tracking.studies import TrackedStudy
from odevae.tracking.views import tags_of_views

# The most metrics that MLflow takes in one call.
MAX_METRICS = 1000

RUN_TAG = "odevae.run"
ATTEMPT_TAG = "odevae.attempt"
ARTIFACTS_TAG = "odevae.artifacts"
PROJECT_TAG = "odevae.project"
# Of an experiment: it is ours, and not one that somebody made by hand.
STUDY_TAG = "odevae.study"
# When its table was written, in milliseconds since 1970; the start page opens the newest.
TABULATED_TAG = "odevae.tabulated"
# What the UI reads to find the tables of a run.
TABLES_TAG = "mlflow.loggedArtifacts"
MODEL_TYPE = "ODE-VAE"
PARENT_NAME = "study"
# How long a job waits for the parent run of an experiment that another job has created.
PARENT_WAIT_S = 20

# For what may be done twice: a server refuses one of two jobs that bring in the same tag or data set at once, and a run
# that another job has deleted. A server that does not answer raises another error, which is not tried again here.
# Waits grow, so that many jobs that meet in one run get out of each other's way.
patiently = retry(
    retry=retry_if_exception_type(RestException),
    stop=stop_after_attempt(10),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    reraise=True,
)


class Mirror:
    """Brings one study in the store up to date with what is on disk.

    Attributes:
        client: of MLflow, for reading.
        experiment_id, parent_id: the experiment of the study and its parent run.

    Raises:
        Exception: whatever MLflow, SQLite or the file system raises; `odevae.tracking.Mirrors` is the tolerant form.
    """

    def __init__(self, uri: str, artifact_root: str | Path, study: TrackedStudy, project: str = ""):
        """Open the store; find or create the experiment with its views, and its one parent run.

        The settings of the study are tags of the parent: a study may be extended, and MLflow's parameters never change.
        With a `project`, only its runs are used: other projects on the server may have a study of the same name.
        """
        self._uri = absolute(uri)
        self._project_tags = {PROJECT_TAG: project} if project else {}
        self._study = study
        self.client = open_store(uri)
        with self._writing():
            # A server has its own place for artifacts.
            root = Path(artifact_root).resolve()
            follow_folder(self._uri, root)
            place = None if is_server(uri) else (root / study.name).as_uri()
            self.experiment_id, created = self._find_experiment(study.name, place)
            self._put_experiment_tags(self._tags_of_experiment())
            if is_server(uri) and not created:
                self._wait_for_parent()
            settings = {f"{PARENT_NAME}.{name}": value for name, value in flat(study.settings).items()}
            self.parent_id = self._put_parent(study.name, texts(settings))

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
            self._log_texts(run, record.tags | self._place_in_study(record), record.params)
            self._log_history(run, record, stored_epochs)
            self._log_summary(run, record)
            self._log_dataset(run, record.dataset)
            self._set_status(run, record)
        self._copy_artifacts(run, record.artifacts, record.tables)
        self._put_model(run, record)
        return run.info.run_id

    def study(self, files: Iterable[str | Path], found: str | None) -> str:
        """Put tables and figures on the parent run and finish it, and say on the experiment what was found.

        Args:
            files: tables and figures.
            found: in Markdown; None leaves the description as it is.

        Returns:
            The id of the parent run.
        """
        with self._writing():
            parent = self.client.get_run(self.parent_id)
            if found is not None:
                note = self._study.description(found, self.parent_id)
                self._log_texts(parent, {NOTE_TAG: note}, {})
                written_ms = max(Path(file).stat().st_mtime_ns // 1_000_000 for file in files)
                self._put_experiment_tags({NOTE_TAG: note, TABULATED_TAG: str(written_ms)})
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
                    self._delete(run.info.run_id)

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
                # With all tags: jobs that meet in a new experiment find nothing to set.
                tags = self._tags_of_experiment() | {NOTE_TAG: self._study.description()}
                return self.client.create_experiment(name, artifact_location=artifacts, tags=tags), True
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
                    self._delete(run.info.run_id)
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

    def _log_summary(self, run: Run, record: Record) -> None:
        stored = run.data.metrics
        new = {name: value for name, value in record.summary.items() if not _same(stored.get(name), value)}
        self.client.log_batch(
            run.info.run_id, [Metric(name, value, record.moment_ms(name), 0) for name, value in new.items()]
        )

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

    def _copy_artifacts(self, run: Run, files: dict[str, Path], tables: dict[str, Table] | None = None) -> None:
        """Copy files and write tables if any file has changed; outside the lock, because they may be large."""
        if not files:
            return
        digest = digest_of(files)
        if run.data.tags.get(ARTIFACTS_TAG) == digest:
            return
        for name, file in files.items():
            folder = Path(name).parent.as_posix()
            self.client.log_artifact(run.info.run_id, str(file), None if folder == "." else folder)
        tags = [RunTag(ARTIFACTS_TAG, digest)]
        for name, (columns, rows) in (tables or {}).items():
            # JSON has no NaN.
            data = [
                [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in row] for row in rows
            ]
            self.client.log_dict(run.info.run_id, {"columns": list(columns), "data": data}, name)
        if tables:
            tags.append(RunTag(TABLES_TAG, json.dumps([{"path": name, "type": "table"} for name in tables])))
        with self._writing():
            self.client.log_batch(run.info.run_id, tags=tags)

    def _put_model(self, run: Run, record: Record) -> None:
        """Let the run have one model, with the run's parameters and scores; what an earlier attempt left goes."""
        if not record.model:
            return
        digest = digest_of(record.model)
        found = self._models_of(run.info.run_id)
        if [model.tags.get(ARTIFACTS_TAG) for model in found] == [digest]:
            return
        with self._writing():
            for model in found:
                self.client.delete_logged_model(model.model_id)
            model = self.client.create_logged_model(
                self.experiment_id,
                # MLflow refuses these characters in the name of a model.
                name=re.sub(r"[/:.%\"']", "_", self._study.labels.get(record.name, record.name)),
                source_run_id=run.info.run_id,
                tags={RUN_TAG: record.name, **self._project_tags},
                params=record.params,
                model_type=MODEL_TYPE,
            )
        for file in record.model.values():
            self.client.log_model_artifact(model.model_id, str(file))
        dataset, digest_of_data, _ = record.dataset
        # The metrics of the run, with the same moment and step: there they stay one.
        scores = [
            Metric(
                *(name, value, record.moment_ms(name), 0),
                model_id=model.model_id,
                dataset_name=dataset,
                dataset_digest=digest_of_data,
                run_id=run.info.run_id,
            )
            for name, value in record.summary.items()
        ]
        with self._writing():
            self.client.log_batch(run.info.run_id, scores)
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            self.client.set_logged_model_tags(model.model_id, {ARTIFACTS_TAG: digest})

    def _models_of(self, run_id: str) -> list[LoggedModel]:
        return list(self.client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'"))

    def _delete(self, run_id: str) -> None:
        for model in self._models_of(run_id):
            self.client.delete_logged_model(model.model_id)
        self.client.delete_run(run_id)

    def _place_in_study(self, record: Record) -> dict[str, str]:
        """Tags that show a run below its parent, under a short name, in the order of the study's table."""
        labels = self._study.labels
        tags = {"mlflow.parentRunId": self.parent_id, "mlflow.runName": labels.get(record.name, record.name)}
        if record.name in labels:
            tags[ROW_TAG] = f"{list(labels).index(record.name):0{len(str(len(labels)))}}"
        return tags

    def _tags_of_experiment(self) -> dict[str, str]:
        return {STUDY_TAG: self._study.name, **tags_of_views(self._study)}

    @patiently
    def _put_experiment_tags(self, tags: dict[str, str]) -> None:
        stored = self.client.get_experiment(self.experiment_id).tags
        for name, value in tags.items():
            if stored.get(name) != value:
                self.client.set_experiment_tag(self.experiment_id, name, value)


def remove_other_studies(uri: str, artifact_root: Path, project: str, names: Iterable[str]) -> list[str]:
    """Delete what this project keeps of studies that have none of these names; gives the names of those studies.

    An experiment goes when it holds no run of another project. MLflow keeps what is deleted, and a study that comes
    back gets its experiment back.

    Raises:
        Exception: as `Mirror` does.
    """
    uri, client, removed = absolute(uri), open_store(uri), []
    with locked(uri):
        require_writable(uri)
        for experiment in client.search_experiments(filter_string=f"tags.`{STUDY_TAG}` LIKE '%'"):
            own = is_server(uri) or experiment.artifact_location.startswith(f"{artifact_root.resolve().as_uri()}/")
            if experiment.name in names or not own:
                continue
            runs = client.search_runs([experiment.experiment_id])
            ours = [run for run in runs if not project or run.data.tags.get(PROJECT_TAG) == project]
            for run in ours if len(ours) < len(runs) else ():
                client.delete_run(run.info.run_id)
            if len(ours) == len(runs):
                client.delete_experiment(experiment.experiment_id)
            if ours or not runs:
                removed.append(experiment.name)
    return removed


def _same(stored: float | None, value: float) -> bool:
    return stored == value or (stored is not None and math.isnan(stored) and math.isnan(value))
