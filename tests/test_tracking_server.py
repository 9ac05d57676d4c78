"""A shared MLflow server on PostgreSQL: many jobs at once, and everything that can happen to the server meanwhile."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from conftest import ABOUT
from mirrored_runs import COLUMNS, KEY, histories, put, whole, write_results, write_run
from tracking_server import free_port, running_services
from tracking_writer import mirror_at_once
from workflow_project import RUN_TIMEOUT_S, Project, kill, small_config

from odevae.report.study_table import MEAN_ROWS
from odevae.report.table_files import read_csv
from odevae.storage import run_folder
from odevae.storage.files import read_json
from odevae.storage.run_folder import RunKey, read_history
from odevae.tracking import Mirrors
from odevae.tracking.mirror import PARENT_NAME, RUN_TAG, Mirror
from odevae.tracking.records import HISTORY, record_of_run
from odevae.tracking.studies import TrackedStudy
from odevae.training.recorder import train

pytestmark = pytest.mark.slow

# Three tries of ten seconds each and the pauses between them, on a machine that has other things to do.
HELD_UP_S = 60.0
WRITERS_S = 600


@pytest.fixture(scope="module")
def services():
    with running_services() as both:
        yield both


@pytest.fixture
def postgres(services):
    return services[0]


@pytest.fixture
def server(services):
    return services[1]


@pytest.fixture
def patient(monkeypatch):
    """Sixteen jobs and their server on a busy machine of two cores may take long; that is not what is tested then."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")


def warnings_in(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("warning: ")]


def test_sixteen_jobs_at_once_lose_nothing(postgres, server, patient, tmp_path):
    jobs, epochs = 16, 50
    keys = [RunKey("foraging", "heldout", 0, "v6", 5, "0.01", seed) for seed in range(jobs)]
    folders = [write_run(tmp_path, key, epochs=epochs) for key in keys]
    mirror_at_once(server.uri, tmp_path / "unused", folders, tmp_path / "signals")

    study = "(SELECT experiment_id FROM experiments WHERE name = 'parallel')"
    active = f"SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' AND experiment_id = {study}"
    assert postgres.query("SELECT count(*) FROM experiments WHERE name = 'parallel'") == ["1"]
    assert postgres.query(f"SELECT count(*) FROM runs WHERE run_uuid IN ({active})") == [str(jobs + 1)]
    history = ", ".join(f"'{tracked}'" for tracked, name in HISTORY.items() if name in COLUMNS)
    rows = f"SELECT count(*) FROM metrics WHERE run_uuid IN ({active})"
    assert postgres.query(f"{rows} AND key IN ({history})") == [str(jobs * epochs * len(COLUMNS))]
    # Next to the history, each run has four values of its own: best_r2, final_r2, best_val_loss and best_epoch.
    assert postgres.query(rows) == [str(jobs * (epochs * len(COLUMNS) + 4))]

    mirror = Mirror(server.uri, tmp_path / "unused", TrackedStudy("parallel"))
    (parent,) = mirror._search(PARENT_NAME)
    children = [
        run for run in mirror.client.search_runs([mirror.experiment_id]) if run.info.run_id != parent.info.run_id
    ]
    assert sorted(run.data.tags[RUN_TAG] for run in children) == sorted(key.path for key in keys)
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert histories(mirror, run.info.run_id) == whole(epochs)


def test_of_one_record_from_eight_jobs_at_once_one_run_is_left(server, patient, tmp_path):
    """Of more than two jobs that meet, one may use a run that another deletes; the next job that looks leaves one."""
    record, barrier = record_of_run(write_run(tmp_path, epochs=3)), Barrier(8)

    def job(_) -> str:
        barrier.wait()
        return Mirror(server.uri, tmp_path, TrackedStudy("contested")).put(record)

    with ThreadPoolExecutor(8) as pool:
        run_ids = set(pool.map(job, range(8)))
    print(f"eight jobs were given {len(run_ids)} run ids")
    mirror = Mirror(server.uri, tmp_path, TrackedStudy("contested"))
    run_id = mirror.put(record)
    assert [run.info.run_id for run in mirror._search(KEY.path)] == [run_id]
    assert [run.info.run_id for run in mirror._search(PARENT_NAME)] == [mirror.parent_id]
    assert mirror.client.get_run(run_id).data.tags["mlflow.parentRunId"] == mirror.parent_id
    assert histories(mirror, run_id) == whole(3)


@pytest.mark.parametrize("moment", ["before_it_is_created", "after_it_is_created"])
def test_a_run_that_a_job_uses_survives_a_job_that_creates_the_same(moment, server, tmp_path, monkeypatch):
    """As when `sync` runs next to a training or to `sync_study`, or SLURM starts a job again while the first runs."""
    one, other = (Mirror(server.uri, tmp_path, TrackedStudy(moment)) for _ in range(2))
    assert one.parent_id == other.parent_id
    create_run, used = one.client.create_run, []

    def cross(*arguments):
        if moment == "before_it_is_created":
            used.append(put(other, folder))
            return create_run(*arguments)
        run = create_run(*arguments)
        used.append(put(other, folder))
        return run

    monkeypatch.setattr(one.client, "create_run", cross)
    # Several, because the order of the random ids must not matter.
    for seed in range(6):
        key = RunKey("foraging", "heldout", 0, "v6", 5, "0.01", seed)
        folder = write_run(tmp_path, key, epochs=2, status="running", finished_at="")
        run_id = put(one, folder)
        assert used == [run_id]
        used.clear()
        write_run(tmp_path, key, epochs=4)
        assert [put(mirror, folder) for mirror in (one, other)] == [run_id] * 2
        assert [run.info.run_id for run in one._search(key.path)] == [run_id]
        assert histories(one, run_id) == whole(4)
        assert one.client.get_run(run_id).info.status == "FINISHED"


def test_two_jobs_that_create_a_run_at_the_same_time_use_one(server, tmp_path, monkeypatch):
    mirrors = [Mirror(server.uri, tmp_path, TrackedStudy("same_time")) for _ in range(2)]
    record, barrier, created = record_of_run(write_run(tmp_path)), Barrier(2), []
    for mirror in mirrors:

        def create_together(*arguments, create_run=mirror.client.create_run):
            first = len(created) < 2
            if first:
                barrier.wait(WRITERS_S)
            run = create_run(*arguments)
            created.append(run.info.run_id)
            if first:
                barrier.wait(WRITERS_S)
            return run

        monkeypatch.setattr(mirror.client, "create_run", create_together)
    with ThreadPoolExecutor(2) as pool:
        run_ids = set(pool.map(lambda mirror: mirror.put(record), mirrors))
    assert len(created) > 2
    assert {run.info.run_id for run in mirrors[0]._search(KEY.path)} == run_ids
    (run_id,) = run_ids
    assert histories(mirrors[0], run_id) == whole(3)


def test_a_run_that_another_job_deletes_is_written_again(server, tmp_path, monkeypatch):
    mirror = Mirror(server.uri, tmp_path, TrackedStudy("deleted"))
    folder = write_run(tmp_path)
    write_results(folder)
    log_history, lost = mirror._log_history, []

    def lose_the_run(run, *arguments):
        if not lost:
            mirror.client.delete_run(run.info.run_id)
            lost.append(run.info.run_id)
        log_history(run, *arguments)

    monkeypatch.setattr(mirror, "_log_history", lose_the_run)
    run_id = put(mirror, folder)
    assert [run.info.run_id for run in mirror._search(KEY.path)] == [run_id] != lost
    assert histories(mirror, run_id) == whole(3)


def test_projects_with_the_same_study_leave_each_other_alone(server, tmp_path):
    one, other = (Mirror(server.uri, tmp_path, TrackedStudy("both"), project=name) for name in ("ann-1", "ben-2"))
    assert (one.experiment_id, one.parent_id) != (other.experiment_id, other.parent_id)
    assert one.experiment_id == other.experiment_id
    kept = put(one, write_run(tmp_path / "one"))
    assert put(other, write_run(tmp_path / "other", attempt="b" * 32)) != kept
    assert [run.info.run_id for run in one._search(KEY.path)] == [kept]


def test_the_server_keeps_the_artifacts(server, tmp_path):
    mirror = Mirror(server.uri, tmp_path / "unused", TrackedStudy("artifacts"))
    folder = write_run(tmp_path)
    write_results(folder)
    run_id = put(mirror, folder)
    assert mirror.client.get_experiment(mirror.experiment_id).artifact_location.startswith("mlflow-artifacts:")
    (copy,) = server.artifacts.rglob(f"{run_id}/artifacts/run.json")
    assert copy.read_bytes() == (folder / "run.json").read_bytes()
    (model,) = mirror.client.search_logged_models([mirror.experiment_id])
    (copy,) = server.artifacts.rglob(f"{model.model_id}/artifacts/checkpoint.pt")
    assert copy.read_bytes() == b"weights"
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("accident", ["server killed", "database killed", "server hangs"])
def test_an_outage_costs_a_training_one_warning_and_half_a_minute(
    accident, postgres, server, tmp_path, caplog, heldout_fold, make_key, tiny
):
    """The training ends with the same bits as without tracking; afterwards its record is completed from the disk."""
    begin, end = {
        "server killed": (server.kill, server.start),
        "database killed": (postgres.kill, postgres.start),
        "server hangs": (partial(server.signal, signal.SIGSTOP), partial(server.signal, signal.SIGCONT)),
    }[accident]
    study, key = accident.replace(" ", "_"), make_key()
    plain = tmp_path / "plain"
    plain.mkdir()
    train(heldout_fold, key, tiny, plain, ABOUT)
    mirrors = Mirrors(server.uri, tmp_path / "unused", [TrackedStudy(study)])
    folder = tmp_path / key.path
    folder.mkdir(parents=True)
    held_up = []

    def on_epoch() -> None:
        if len(held_up) == 1:
            begin()
        started = time.monotonic()
        mirrors.run(folder)
        held_up.append(time.monotonic() - started)

    about = ABOUT | {"versions": {}, "git_dirty": False}
    try:
        train(heldout_fold, key, tiny, folder, about, on_epoch=on_epoch)
        mirrors.run(folder)
    finally:
        end()
    print(f"{accident}: epochs held up by {', '.join(f'{seconds:.2f}' for seconds in held_up)} s")
    assert held_up[1] < HELD_UP_S
    assert not mirrors.working
    (warning,) = warnings_in(caplog.messages)
    assert warning.startswith("warning: tracking is off for the rest of this job: ")
    assert scores(folder) == scores(plain)

    again = Mirrors(server.uri, tmp_path / "unused", [TrackedStudy(study)])
    (run_id,) = again.run(folder).values()
    assert again.working
    mirror = again._mirrors[study]
    assert [run.info.run_id for run in mirror._search(key.path)] == [run_id]
    assert mirror.client.get_run(run_id).info.status == "FINISHED"
    losses = [(point.step, point.value) for point in mirror.client.get_metric_history(run_id, "train/loss")]
    assert sorted(losses) == [
        (row["epoch"], row["train_loss"]) for row in read_history(folder / run_folder.HISTORY_FILE)
    ]


def scores(folder: Path) -> list[dict[str, float]]:
    history = read_history(folder / run_folder.HISTORY_FILE)
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def test_a_sweep_survives_an_outage_and_its_record_is_completed(server, postgres, tmp_path):
    config = small_config()
    config["models"]["quick"]["epochs"] = 6
    config["studies"]["small"] |= {"protocols": ["heldout"], "seeds": [1]}
    config["tracking"] = {"uri": server.uri}
    project = Project.create(tmp_path / "project", config)
    names = ["disc/heldout/split0/quick/d2_ls5e-4_seed1"]
    results = project.root / "results"

    sweep = project.start()
    try:
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while not any(read_history(results / name / run_folder.HISTORY_FILE) for name in names):
            assert sweep.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        server.kill()
        output, _ = sweep.communicate(timeout=RUN_TIMEOUT_S)
        assert sweep.returncode == 0, output
        rows = [row for row in read_csv(results / "tables/small.csv") if row["seed"] not in MEAN_ROWS]
        assert [(row["status"], row["mlflow_run_id"]) for row in rows] == [("ok", None)]
        logs = {path: warnings_in(path.read_text().splitlines()) for path in (project.root / "logs").rglob("*.log")}
        assert all(len(lines) <= 1 for lines in logs.values()), logs
        assert len(logs[project.root / "logs/sync_study/small.log"]) == 1

        failed = project.snakemake("sync")
        assert failed.code == 1 and "the record is not complete" in failed.output
    finally:
        kill(sweep)
        if server.process.poll() is not None:
            server.start()
    assert "small: 2 of 2 folds and runs on disk are in the record" in project.run("sync")
    check_record(server, postgres, project, names)

    # The table gets its run ids when the workflow runs again, which then has nothing more to do.
    project.run()
    rows = [row for row in read_csv(results / "tables/small.csv") if row["seed"] not in MEAN_ROWS]
    ids = check_record(server, postgres, project, names)
    assert [row["mlflow_run_id"] for row in rows] == ids
    assert "Nothing to be done" in project.snakemake().output


def check_record(server, postgres, project: Project, names: list[str]) -> list[str]:
    """Each run once, finished, with every epoch of the disk; gives the ids."""
    project_name = read_json(project.root / "results/mlflow/store.json")["project"]
    mirror = Mirror(server.uri, project.root, TrackedStudy("small"), project=project_name)
    ids = []
    for name in names:
        (run,) = mirror._search(name)
        assert run.info.status == "FINISHED"
        history = read_history(project.root / "results" / name / run_folder.HISTORY_FILE)
        assert len(history) == 6
        for tracked, column in (("train/loss", "train_loss"), ("validation/r2", "val_r2")):
            points = mirror.client.get_metric_history(run.info.run_id, tracked)
            assert sorted((point.step, point.value) for point in points) == [
                (row["epoch"], row[column]) for row in history
            ]
        count = f"SELECT count(*) FROM metrics WHERE run_uuid = '{run.info.run_id}' AND key = 'train/loss'"
        assert postgres.query(count) == ["6"]
        ids.append(run.info.run_id)
    return ids


def test_a_server_that_is_not_there_is_given_up_quickly(tmp_path, caplog):
    started = time.monotonic()
    mirrors = Mirrors(
        f"http://ann:secret@127.0.0.1:{free_port()}", tmp_path, [TrackedStudy("one"), TrackedStudy("two")]
    )
    assert not mirrors.working
    assert time.monotonic() - started < HELD_UP_S
    (warning,) = warnings_in(caplog.messages)
    assert "secret" not in warning and re.search(r"127\.0\.0\.1", warning)
