"""One study in the store: an experiment, its parent run, and a child run for each record."""

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, Run, RunTag

from odevae.tracking.records import Record, digest_of, flat, numbers, record_of_preprocessing, record_of_run, texts
from odevae.tracking.store import absolute, locked, open_store

# The most metrics that MLflow takes in one call.
MAX_METRICS = 1000

RUN_TAG = "odevae.run"
ATTEMPT_TAG = "odevae.attempt"
ARTIFACTS_TAG = "odevae.artifacts"
PARENT_NAME = "study"
# The page of an experiment of this kind opens with its runs and their charts.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


class Mirror:
    """Brings one study in the store up to date with what lies on disk.

    Attributes:
        client: of MLflow, for reading.
        experiment_id, parent_id: the experiment of the study and its parent run.

    Raises:
        Exception: whatever MLflow, SQLite or the file system raises; `odevae.tracking.Mirrors` is the tolerant form.
    """

    def __init__(self, uri: str, artifact_root: str | Path, study: str, study_params: dict | None = None):
        """Open the store; find or create the experiment and its one parent run.

        The settings of the study are tags of the parent, because a study may be extended and MLflow never lets a
        parameter change.
        """
        self._uri = absolute(uri)
        self.client = open_store(uri)
        settings = {f"{PARENT_NAME}.{name}": value for name, value in flat(study_params or {}).items()}
        with locked(self._uri):
            self.experiment_id = self._find_experiment(study, Path(artifact_root).resolve() / study)
            parent = next(iter(self._search(PARENT_NAME)), None) or self.client.create_run(
                self.experiment_id, tags={RUN_TAG: PARENT_NAME}, run_name=study
            )
            self.parent_id = parent.info.run_id
            self._log_tags(parent, texts(settings))

    def run(self, run_dir: str | Path) -> str:
        """Mirror a run directory at whatever stage it is; gives the run id. Cheap when little is new."""
        return self._put(record_of_run(run_dir))

    def preprocessing(self, fold_dir: str | Path, name: str) -> str:
        """Mirror the settings and the audit of a preprocessing; gives the run id."""
        return self._put(record_of_preprocessing(fold_dir, name))

    def study(self, table_files: Iterable[str | Path], metrics: dict[str, float]) -> str:
        """Put tables and metrics on the parent run and finish it; gives its run id."""
        with locked(self._uri):
            parent = self.client.get_run(self.parent_id)
            self._log_summary(parent, numbers(metrics))
            self.client.set_terminated(self.parent_id, "FINISHED")
        self._copy_artifacts(parent, {f"tables/{Path(file).name}": Path(file) for file in table_files})
        return self.parent_id

    def _put(self, record: Record) -> str:
        with locked(self._uri):
            run, stored_epochs = self._find_or_create(record)
            self._log_params(run, record.params)
            self._log_tags(run, record.tags | {"mlflow.parentRunId": self.parent_id})
            self._log_history(run, record, stored_epochs)
            self._log_summary(run, record.summary)
            self._log_dataset(run, record.dataset)
            self._set_status(run, record)
        self._copy_artifacts(run, record.artifacts)
        return run.info.run_id

    def _find_experiment(self, name: str, artifacts: Path) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            return self.client.create_experiment(name, artifact_location=artifacts.as_uri(), tags=EXPERIMENT_TAGS)
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            # A deleted experiment keeps its name occupied, so there is no other way to go on.
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def _search(self, name: str) -> list[Run]:
        return self.client.search_runs(
            [self.experiment_id], f"tags.`{RUN_TAG}` = '{name}'", order_by=["attributes.start_time ASC"]
        )

    def _find_or_create(self, record: Record) -> tuple[Run, set[int]]:
        """The one run of this record and the epochs that it holds; runs that say something else are deleted."""
        found = None
        for run in self._search(record.name):
            epochs = self._epochs_if_agreeing(run, record)
            if found is None and epochs is not None:
                found = run, epochs
            else:
                self.client.delete_run(run.info.run_id)
        if found is not None:
            return found
        tags = {RUN_TAG: record.name, ATTEMPT_TAG: record.attempt, "mlflow.parentRunId": self.parent_id}
        return self.client.create_run(self.experiment_id, record.start_ms, tags, record.name), set()

    def _epochs_if_agreeing(self, run: Run, record: Record) -> set[int] | None:
        """Epochs that the run holds; None if it holds anything that is not on disk, for the store cannot unsay it."""
        data, columns = run.data, record.columns
        if (
            data.tags.get(ATTEMPT_TAG) != record.attempt
            or any(record.params.get(name) != value for name, value in data.params.items())
            or data.metrics.keys() - record.summary.keys() - set(columns)
        ):
            return None
        if not columns:
            return set()
        # Epochs are written whole, so one column tells which are there, and whether a resumed training redid them.
        column = columns[0]
        stored = {metric.step: metric.value for metric in self.client.get_metric_history(run.info.run_id, column)}
        for epoch, value in stored.items():
            if epoch not in record.history or not _same(value, record.history[epoch][column]):
                return None
        return set(stored)

    def _log_params(self, run: Run, params: dict[str, str]) -> None:
        missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
        self.client.log_batch(run.info.run_id, params=missing)

    def _log_tags(self, run: Run, tags: dict[str, str]) -> None:
        changed = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
        self.client.log_batch(run.info.run_id, tags=changed)

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
        metrics = [
            Metric(name, value, now_ms, 0)
            for name, value in summary.items()
            if name not in stored or not _same(stored[name], value)
        ]
        self.client.log_batch(run.info.run_id, metrics)

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
        with locked(self._uri):
            self.client.set_tag(run.info.run_id, ARTIFACTS_TAG, digest)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
