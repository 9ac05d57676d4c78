"""A continuous session without trials, from its file to audits under both protocols and to a page."""

import numpy as np
import pytest
from workflow_project import Project, small_config

from odevae.storage.files import read_json

N_FRAMES, N_TRIALS = 900, 14
FOLDS = ("published/split1", "heldout/split0")


def write_table(project: Project, length: float) -> None:
    rows = "".join(f"{2 * k},{2 * k + length},{k % 2}\n" for k in range(N_TRIALS))
    (project.root / "trials.csv").write_text("start,stop,side\n" + rows, encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("session") / "project")
    phase = np.arange(N_FRAMES)[:, None] / (5.0 + np.arange(6))
    activity = np.sin(phase) + np.random.default_rng(0).normal(0, 0.1, phase.shape)
    # 30 Hz in ms, and nothing known of the last half second between two trials.
    time = 1000 / 30 * np.arange(N_FRAMES)
    activity[time % 2000 > 1600] = np.nan
    np.savez(project.root / "session.npz", roi=activity, Time=time)
    write_table(project, length=1.0)
    config = small_config()
    session = {"file": "session.npz", "time_unit": "ms", "trials": {"table": "trials.csv"}, "colour_by": ["side"]}
    config["datasets"] = {"session": session}
    config["studies"]["small"] |= {"datasets": ["session"], "seeds": [1]}
    config["benchmark_models"] = {"pca": {"class": "linear.PCA", "latent_dims": "any"}}
    config["benchmarks"] = {"tiny": {"datasets": {"session": [2]}, "splits": [0]}}
    project.write_config(config)
    project.run(*(f"results/session/{fold}/pca/audit.json" for fold in FOLDS), "results/report/tiny.html")
    return project


@pytest.mark.slow
def test_a_session_is_warned_of_in_log_audits_and_page(finished):
    log = (finished.root / "logs/read_recording/session.log").read_text(encoding="utf-8")
    assert "14 trials of the table trials.csv" in log and "30 Hz" in log
    (warning,) = [line for line in log.splitlines() if "is unusual" in line]
    assert "session is unusual, so check the file and its settings: it has 14 trials" in warning
    for fold in FOLDS:
        found = read_json(finished.root / f"results/session/{fold}/pca/audit.json")
        assert found["unusual"] == warning and found["trials_from"] == "14 trials of the table trials.csv"
        assert found["frames_outside_trials"] == N_FRAMES - 14 * 30
    assert "session is unusual" in (finished.root / "results/report/tiny.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_another_table_reads_the_recording_again(finished, tmp_path):
    project = finished.copy(tmp_path / "copy")
    assert project.planned("results/session/recording.npz") == {}
    write_table(project, length=1.2)
    assert project.planned("results/session/recording.npz") == {"read_recording": 1}


@pytest.mark.slow
def test_a_session_without_trials_is_refused_before_any_training(finished, tmp_path):
    project = finished.copy(tmp_path / "copy")
    config = project.root / "config/config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("    trials:\n      table: trials.csv\n", ""), encoding="utf-8")
    outcome = project.snakemake("results/session/recording.npz")
    assert outcome.code == 1 and "Traceback" not in outcome.output
    assert "error: session: the file has no Trial" in outcome.output
