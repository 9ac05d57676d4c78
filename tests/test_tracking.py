"""The store repeats what is on disk: completely, once, after any accident, and from many jobs at once."""

import json
import math
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import ABOUT
from mirrored_runs import COLUMNS, KEY, histories, put, value_of, whole, write_results, write_run
from tracking_writer import mirror_at_once

from odevae import tracking
from odevae.errors import OdevaeError
from odevae.evaluation.trained_model import load_model
from odevae.storage import run_folder
from odevae.storage.files import write_json
from odevae.tracking import Mirrors
from odevae.tracking.mirror import MAX_METRICS, Mirror
from odevae.tracking.names import names_of_runs
from odevae.tracking.records import HISTORY, record_of_fold, record_of_run
from odevae.tracking.store import open_store
from odevae.tracking.studies import TrackedStudy
from odevae.training.recorder import train

STUDY = "demo"


def content(mirror: Mirror, run_id: str) -> dict:
    """All that the store says about a run but what belongs to this store alone: ids and the time of logging."""
    run = mirror.client.get_run(run_id)
    tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
    names = sorted(run.data.metrics)
    return {
        "params": run.data.params,
        "tags": tags,
        "metrics": {
            name: [(m.step, str(m.value)) for m in mirror.client.get_metric_history(run_id, name)] for name in names
        },
        "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
        "inputs": [(i.dataset.name, i.dataset.digest, i.dataset.source) for i in run.inputs.dataset_inputs],
        "artifacts": artifacts(mirror, run_id),
    }


def artifacts(mirror: Mirror, run_id: str, folder: str | None = None) -> set[str]:
    found = set()
    for item in mirror.client.list_artifacts(run_id, folder):
        found |= artifacts(mirror, run_id, item.path) if item.is_dir else {item.path}
    return found


def active_runs(mirror: Mirror, name=KEY.path) -> list:
    return mirror._search(name)


def keep_epochs(folder: Path, n_epochs: int) -> Path:
    """Cut the history after some epochs; gives its file."""
    history = folder / run_folder.HISTORY_FILE
    history.write_text("".join(history.read_text().splitlines(keepends=True)[: 1 + n_epochs]))
    return history


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory) -> bytes:
    """A store with its schema and nothing else; creating one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
def uri(tmp_path, empty_store) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def mirror(uri, tmp_path) -> Mirror:
    return Mirror(
        uri, tmp_path / "artifacts", TrackedStudy(STUDY, settings={"seeds": [1, 2], "data": {"name": "foraging"}})
    )


def test_a_run_is_mirrored_whole(mirror, tmp_path):
    folder = write_run(tmp_path)
    write_results(folder)
    run_id = put(mirror, folder)

    run = mirror.client.get_run(run_id)
    assert run.data.params == {
        **{name: str(value) for name, value in KEY.as_dict().items()},
        **{"encoder": "gru", "width": "64", "layers": "[32, 32]", "observations": "pca-baseline", "threads": "1"},
    }
    tags = run.data.tags
    assert tags["odevae.run"] == tags["mlflow.runName"] == KEY.path, "a run outside the study has no short name"
    assert (tags["stage"], tags["status"], tags["git_dirty"], tags["infinite"]) == ("manifold", "ok", "false", "")
    assert (tags["data_sha256"], tags["git_commit"], tags["version.torch"]) == ("d" * 64, "c" * 40, "2.6")
    assert histories(mirror, run_id) == whole(3)
    summary = {name: value for name, value in run.data.metrics.items() if name not in HISTORY}
    assert math.isnan(summary.pop("score/skill"))
    assert summary == {
        **{"score/best_r2": 0.5, "score/best_epoch": 1.0, "score/best_val_loss": 1.5, "score/final_r2": 0.25},
        **{"score/r2_neuron": 0.1, "score/trivial_r2_neuron": -0.2, "score/test_trials": 2.0},
        **{"score/shared_trials": 0.25, "score/padded_fraction": 0.5, "manifold/trial_stress": 0.2},
    }
    note = tags["mlflow.note.content"]
    assert "r2_neuron 0.100 (best guess -0.200) on 2 trials, 25%" in note and f"`results/{KEY.path}`" in note
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 60_000
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("foraging", "d" * 36)
    files = {"run.json", "history.csv", "metrics.json", "figures/fit.png"}
    assert artifacts(mirror, run_id) == files | {"scores.json"}
    table = json.loads(Path(mirror.client.download_artifacts(run_id, "scores.json")).read_text())
    assert table["columns"][-2:] == ["metric", "value"]
    assert [row[-1] for row in table["data"]] == [0.1, None, -0.2], "JSON has no NaN"

    parent = mirror.client.get_run(tags["mlflow.parentRunId"])
    assert parent.info.run_id == mirror.parent_id
    assert parent.data.tags["study.seeds"] == "[1, 2]"
    assert parent.data.tags["study.data.name"] == "foraging"
    experiment = mirror.client.get_experiment_by_name(STUDY)
    assert experiment.artifact_location == (tmp_path / "artifacts" / STUDY).as_uri()


def test_mirroring_again_changes_nothing(mirror, uri, tmp_path):
    folder = write_run(tmp_path)
    write_results(folder)
    run_id = put(mirror, folder)
    before = content(mirror, run_id)
    again = Mirror(uri, tmp_path / "artifacts", TrackedStudy(STUDY))
    assert (put(again, folder), again.parent_id) == (run_id, mirror.parent_id)
    assert content(mirror, run_id) == before
    assert len(active_runs(mirror)) == len(active_runs(mirror, "study")) == 1


def test_a_new_attempt_supersedes_the_old_run(mirror, tmp_path):
    old = put(mirror, write_run(tmp_path, epochs=5))
    folder = write_run(tmp_path, attempt="b" * 32, epochs=5)
    write_results(folder, attempt="a" * 32)
    new = put(mirror, folder)
    assert [run.info.run_id for run in active_runs(mirror)] == [new] != [old]
    assert mirror.client.get_run(old).info.lifecycle_stage == "deleted"
    assert "score/r2_neuron" not in mirror.client.get_run(new).data.metrics, "left behind by the old attempt"


def test_only_new_epochs_are_appended_while_a_run_grows(mirror, tmp_path, monkeypatch):
    folder = write_run(tmp_path, epochs=2, status="running", finished_at="")
    (folder / run_folder.CHECKPOINT_FILE).write_bytes(b"half")
    run_id = put(mirror, folder)
    run = mirror.client.get_run(run_id)
    assert (run.info.status, run.info.end_time, artifacts(mirror, run_id)) == ("RUNNING", None, set())

    log_batch = Mock(wraps=mirror.client.log_batch)
    monkeypatch.setattr(mirror.client, "log_batch", log_batch)
    write_run(tmp_path, epochs=4, status="running", finished_at="", best_r2=0.6)
    assert put(mirror, folder) == run_id
    logged = [metric for call in log_batch.call_args_list for metrics in call.args[1:] for metric in metrics]
    assert {metric.step for metric in logged if metric.key in HISTORY} == {2, 3}
    assert [metric.value for metric in logged if metric.key not in HISTORY] == [0.6]
    write_run(tmp_path, epochs=4, best_r2=0.6)
    assert put(mirror, folder) == run_id
    run = mirror.client.get_run(run_id)
    assert (run.info.status, run.data.metrics["score/best_r2"]) == ("FINISHED", 0.6)
    assert histories(mirror, run_id) == whole(4)


def test_a_long_history_goes_in_whole_epochs(mirror, tmp_path, monkeypatch):
    columns = [*HISTORY.values(), "seconds"]
    log_batch = Mock(wraps=mirror.client.log_batch)
    monkeypatch.setattr(mirror.client, "log_batch", log_batch)
    run_id = put(mirror, write_run(tmp_path, epochs=170, columns=columns))
    assert histories(mirror, run_id, columns) == whole(170, columns)
    batches = [metrics for call in log_batch.call_args_list for metrics in call.args[1:]]
    epochs = [{metric.step for metric in batch} for batch in batches if batch and batch[0].key in HISTORY]
    at_once = MAX_METRICS // len(HISTORY)
    assert [len(steps) for steps in epochs] == [at_once, at_once, 170 - 2 * at_once]


def test_redone_epochs_replace_the_run(mirror, tmp_path):
    folder = write_run(tmp_path, epochs=4)
    old = put(mirror, folder)
    run_folder.append_history(keep_epochs(folder, 2), {"epoch": 2} | dict.fromkeys(COLUMNS, 9.0))
    new = put(mirror, folder)
    assert [run.info.run_id for run in active_runs(mirror)] == [new] != [old]
    assert histories(mirror, new)["train_kl"][2] == (2, 9.0)


def test_a_training_that_goes_on_from_a_resume_point_keeps_its_run(mirror, tmp_path):
    """Stopped after seven epochs, it repeats the last two with the same values, as after a preemption."""
    folder = write_run(tmp_path, epochs=7, status="running", finished_at="")
    run_id = put(mirror, folder)
    history = (folder / run_folder.HISTORY_FILE).read_text().splitlines(keepends=True)
    for n_lines in (0, 6):
        (folder / run_folder.HISTORY_FILE).write_text("".join(history[:n_lines]))
        assert put(mirror, folder) == run_id
        assert histories(mirror, run_id) == whole(7)
    for epochs in (6, 8):
        write_run(tmp_path, epochs=epochs, status="running", finished_at="")
        assert put(mirror, folder) == run_id
    write_run(tmp_path, epochs=9)
    assert put(mirror, folder) == run_id
    assert mirror.client.get_run(run_id).info.status == "FINISHED"
    assert histories(mirror, run_id) == whole(9)


def test_a_killed_training_continues_its_run(mirror, tmp_path, monkeypatch, heldout_fold, make_key, tiny):
    """Killed after three epochs with the resume point of the first: the second and third are trained once more."""
    monkeypatch.setattr("odevae.training.recorder.RESUME_EVERY", 1)
    folder, spec, points, run_ids = tmp_path, replace(tiny, epochs=4), [], []
    about = ABOUT | {"versions": {}, "git_dirty": False}

    def on_epoch() -> None:
        run_ids.append(put(mirror, folder))
        points.append((folder / run_folder.RESUME_FILE).read_bytes())
        if len(points) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(heldout_fold, make_key(), spec, folder, about, on_epoch)
    (folder / run_folder.RESUME_FILE).write_bytes(points[0])
    run = train(heldout_fold, make_key(), spec, folder, about, lambda: run_ids.append(put(mirror, folder)))
    run_ids.append(put(mirror, folder))
    assert run["resumed_after"] == [1]
    assert len(run_ids) == 7 and len(set(run_ids)) == 1
    history = run_folder.read_history(folder / run_folder.HISTORY_FILE)
    assert histories(mirror, run_ids[0], HISTORY.values()) == {
        name: [(row["epoch"], row[name]) for row in history] for name in HISTORY.values()
    }
    assert mirror.client.get_run(run_ids[0]).info.status == "FINISHED"


def test_a_training_that_goes_on_with_other_values_replaces_the_run(mirror, tmp_path):
    folder = write_run(tmp_path, epochs=7, status="running", finished_at="")
    old = put(mirror, folder)
    history = keep_epochs(folder, 5)
    assert put(mirror, folder) == old
    run_folder.append_history(history, {"epoch": 5} | dict.fromkeys(COLUMNS, 9.0))
    new = put(mirror, folder)
    assert [run.info.run_id for run in active_runs(mirror)] == [new] != [old]
    assert [step for step, _ in histories(mirror, new)["train_kl"]] == list(range(6))


def test_a_finished_run_holds_no_epoch_that_is_not_on_disk(mirror, tmp_path):
    old = put(mirror, write_run(tmp_path, epochs=7, status="running", finished_at=""))
    keep_epochs(tmp_path / KEY.path, 5)
    new = put(mirror, write_run(tmp_path, epochs=5))
    assert new != old
    assert histories(mirror, new) == whole(5)


def test_a_lost_store_is_restored_from_disk(mirror, uri, tmp_path):
    folder = write_run(tmp_path)
    write_results(folder)
    before = content(mirror, put(mirror, folder))
    # What a job leaves that is killed while it makes the store.
    (tmp_path / "mlflow.db").write_bytes(b"")
    (tmp_path / ".mlflow.db.new").mkdir()
    (tmp_path / ".mlflow.db.new" / "mlflow.db").write_bytes(b"half")
    other = Mirror(uri, tmp_path / "artifacts", TrackedStudy(STUDY))
    assert content(other, put(other, folder)) == before


# A folder that moves


def logged(folder: Path, seed: int = 1):
    """Mirror a run in a project's folder; gives the mirror and the run id."""
    project = Mirror(f"sqlite:///{folder}/mlflow.db", folder / "mlartifacts", TrackedStudy(STUDY))
    run = write_run(folder, replace(KEY, seed=seed))
    write_results(run)
    return project, put(project, run)


def test_a_store_follows_a_folder_that_was_moved(tmp_path, empty_store, caplog):
    home = tmp_path / "old 100%_place"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_store)
    before, run_id = logged(home)
    files = artifacts(before, run_id)
    home = home.rename(tmp_path / "neu_ä")
    after, second = logged(home, seed=2)
    assert caplog.text.count("this project was at") == 1 and "old 100%_place" in caplog.text
    assert artifacts(after, run_id) == files and artifacts(after, second) == files
    assert not (tmp_path / "old 100%_place").exists()
    caplog.clear()
    logged(home, seed=3)
    assert "this project was" not in caplog.text


def test_a_copy_writes_nothing_into_the_original(tmp_path, empty_store):
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    (original / "mlflow.db").write_bytes(empty_store)
    first, run_id = logged(original)
    shutil.copytree(original, copy)
    before = sorted(original.rglob("*"))
    mirror, second = logged(copy, seed=2)
    assert sorted(original.rglob("*")) == before
    assert artifacts(mirror, second) == artifacts(mirror, run_id) == artifacts(first, run_id)
    # The original still finds its own.
    assert first.client.get_run(run_id).info.artifact_uri.startswith(original.as_uri() + "/")


def test_a_store_that_two_projects_share_is_not_taken_from_the_other(tmp_path, empty_store):
    (tmp_path / "shared.db").write_bytes(empty_store)
    uri, (one, other) = f"sqlite:///{tmp_path}/shared.db", (tmp_path / name for name in ("one", "other"))
    one.mkdir(), other.mkdir()
    Mirror(uri, one / "mlartifacts", TrackedStudy(STUDY))
    with pytest.raises(OdevaeError, match=r"keeps its artifacts in .*/one/mlartifacts/.*give the project a store of"):
        Mirror(uri, other / "mlartifacts", TrackedStudy(STUDY))
    one.rename(other / "moved")
    Mirror(uri, other / "moved" / "mlartifacts", TrackedStudy(STUDY))


def test_what_left_the_study_leaves_the_experiment(mirror, tmp_path):
    kept, removed = KEY, replace(KEY, seed=9)
    for key in (kept, removed):
        put(mirror, write_run(tmp_path, key))
    own = mirror.client.create_run(mirror.experiment_id, run_name="made by hand").info.run_id
    mirror.keep([kept.path])
    assert active_runs(mirror, kept.path) and not active_runs(mirror, removed.path)
    assert active_runs(mirror, "study") and mirror.client.get_run(own).info.lifecycle_stage == "active"
    # It comes back with its seed.
    put(mirror, write_run(tmp_path, removed))
    assert active_runs(mirror, removed.path)


def test_a_finished_run_has_one_model_that_loads_again(
    mirror, uri, tmp_path, monkeypatch, heldout_fold, make_key, tiny
):
    folder = tmp_path / make_key().path
    folder.mkdir(parents=True)
    about = ABOUT | {"versions": {}, "git_dirty": False, "data_sha256": "d" * 64}
    run = train(heldout_fold, make_key(), replace(tiny, epochs=2), folder, about)
    write_results(folder, run["attempt"], fold=run["observations"])
    run_id = put(mirror, folder)
    assert put(mirror, folder) == run_id
    (model,) = mirror.client.search_logged_models([mirror.experiment_id])
    assert (model.source_run_id, model.status, model.params["latent_dim"]) == (run_id, "READY", "2")
    scores = {metric.key: (metric.value, metric.dataset_name) for metric in model.metrics}
    assert scores["score/r2_neuron"] == (0.1, make_key().dataset)
    assert len(mirror.client.get_metric_history(run_id, "score/r2_neuron")) == 1

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    observed, mask = map(torch.from_numpy, heldout_fold.sequences("test"))
    arguments = observed, mask, torch.from_numpy(heldout_fold.times), False
    with torch.no_grad():
        from_store, from_disk = (load_model(place)(*arguments) for place in (f"models:/{model.model_id}", folder))
    assert torch.equal(from_store.reconstruction, from_disk.reconstruction)
    assert from_store.reconstruction.shape == observed.shape

    # Trained again: the old model goes with the old run.
    write_json(folder / run_folder.RUN_FILE, run | {"attempt": "b" * 32})
    write_results(folder, "b" * 32, fold=run["observations"])
    new = put(mirror, folder)
    assert [found.source_run_id for found in mirror.client.search_logged_models([mirror.experiment_id])] == [new]
    with pytest.raises(
        OdevaeError, match=r"models:/m-nothing: cannot be loaded from .*copy the id from the Models tab"
    ):
        load_model("models:/m-nothing")


def test_a_corrected_score_replaces_a_better_one(mirror, tmp_path):
    """MLflow shows the larger of two values of the same moment."""
    folder = write_run(tmp_path)
    write_results(folder)
    run_id = put(mirror, folder)
    time.sleep(0.01)
    write_results(folder, r2_neuron=0.05)
    assert put(mirror, folder) == run_id
    assert mirror.client.get_run(run_id).data.metrics["score/r2_neuron"] == 0.05


def test_runs_have_short_names_in_the_order_of_the_table(uri, tmp_path):
    keys = [replace(KEY, seed=seed) for seed in (7, 3)]
    study = TrackedStudy(STUDY, labels=names_of_runs(keys))
    mirror = Mirror(uri, tmp_path / "artifacts", study)
    for key in reversed(keys):
        put(mirror, write_run(tmp_path, key))
    runs = mirror.client.search_runs([mirror.experiment_id], "params.model != ''", order_by=["tags.`odevae.row`"])
    assert [run.info.run_name for run in runs] == ["v6 D5 seed 7 heldout", "v6 D5 seed 3 heldout"]
    # The study gets a second lambda: names change.
    study = replace(study, labels=names_of_runs([*keys, replace(keys[0], lambda_smooth="5e-4")]))
    run_id = put(Mirror(uri, tmp_path / "artifacts", study), tmp_path / keys[0].path)
    assert mirror.client.get_run(run_id).info.run_name == study.labels[keys[0].path] != "v6 D5 seed 7 heldout"


def test_experiments_of_studies_that_are_gone_go_too(uri, tmp_path):
    root = tmp_path / "artifacts"
    kept, gone = (Mirror(uri, root, TrackedStudy(name)) for name in ("kept", "gone"))
    put(gone, write_run(tmp_path))
    by_hand = kept.client.create_experiment("by hand")
    elsewhere = kept.client.create_experiment(
        "of another project", (tmp_path / "other").as_uri(), tags={"odevae.study": "of another project"}
    )
    assert Mirrors(uri, root, []).remove_other_studies(["kept"]) == ["gone"]
    active = {experiment.experiment_id for experiment in kept.client.search_experiments()}
    assert active == {"0", kept.experiment_id, by_hand, elsewhere}
    # It comes back with the configuration, once.
    again = Mirror(uri, root, TrackedStudy("gone"))
    put(again, tmp_path / KEY.path)
    assert again.experiment_id == gone.experiment_id and len(active_runs(again)) == 1


def test_an_experiment_has_its_views_and_says_what_it_asks(uri, tmp_path):
    study = TrackedStudy(STUDY, asks="What can be known?", varied=("seed",))
    mirror = Mirror(uri, tmp_path / "artifacts", study)
    tags = mirror.client.get_experiment(mirror.experiment_id).tags
    assert tags["mlflow.note.content"].startswith("What can be known?")
    names = {json.loads(text)["name"] for tag, text in tags.items() if tag.startswith("mlflow.sharedViewState.")}
    assert names == {"Scores", "Learning curves", "Sweep"}
    # What somebody changed in the browser comes back.
    mirror.client.set_experiment_tag(mirror.experiment_id, "mlflow.sharedViewState.scores", "{}")
    Mirror(uri, tmp_path / "artifacts", study)
    assert mirror.client.get_experiment(mirror.experiment_id).tags == tags


def test_a_diverged_run_says_so(mirror, tmp_path):
    folder = write_run(tmp_path, epochs=1, status="diverged", reason="loss is nan", best_val_loss=math.inf)
    last = (1, math.nan, math.inf, 0.1, 1.0)
    run_folder.append_history(folder / run_folder.HISTORY_FILE, dict(zip(("epoch", *COLUMNS), last, strict=True)))
    run_id = put(mirror, folder)
    before = content(mirror, run_id)["metrics"].keys()
    assert put(mirror, folder) == run_id
    run = mirror.client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["status"] == "diverged"
    assert run.data.tags["reason"] == "loss is nan"
    assert run.data.tags["infinite"] == "score/best_val_loss, validation/loss"
    assert math.isnan(run.data.metrics["score/best_val_loss"])
    assert run.data.metrics.keys() == before
    values = {name: [value for _, value in pairs] for name, pairs in histories(mirror, run_id).items()}
    assert all(len(series) == 2 for series in values.values())
    assert math.isnan(values["train_loss"][1])
    assert math.isnan(values["val_loss"][1])


def test_an_unfinished_run_directory_is_mirrored(mirror, tmp_path):
    run = mirror.client.get_run(put(mirror, write_run(tmp_path, epochs=0, status="running", finished_at="")))
    assert (run.info.status, run.data.tags["stage"]) == ("RUNNING", "train")


def test_preprocessing_is_mirrored(mirror, tmp_path):
    fold = tmp_path / "fold"
    fold.mkdir()
    write_json(fold / run_folder.PREPROCESSING_FILE, {"scaling": {"kind": "zscore"}, "text": "x" * 9000})
    write_json(fold / run_folder.AUDIT_FILE, {"shared_trials": 0.25, "padding": {"share": math.nan}, "note": "words"})
    run_id = mirror.put(record_of_fold(fold, "foraging/heldout/split0/pca"))
    assert mirror.put(record_of_fold(fold, "foraging/heldout/split0/pca")) == run_id
    run = mirror.client.get_run(run_id)
    assert run.data.params == {"scaling.kind": "zscore", "text": "x" * 6000}
    assert run.data.metrics["audit/shared_trials"] == 0.25
    assert math.isnan(run.data.metrics["audit/padding.share"])
    assert run.data.tags["stage"] == "preprocessing"
    assert artifacts(mirror, run_id) == {run_folder.PREPROCESSING_FILE, run_folder.AUDIT_FILE}
    write_json(fold / run_folder.AUDIT_FILE, {"shared_trials": 0.0})
    assert mirror.put(record_of_fold(fold, "foraging/heldout/split0/pca")) != run_id
    assert len(active_runs(mirror, "foraging/heldout/split0/pca")) == 1


def test_the_study_is_finished_with_its_tables_and_figures(mirror, tmp_path):
    table, figure = tmp_path / "scores.csv", tmp_path / "scores.png"
    table.write_text("model,r2\n")
    figure.write_bytes(b"pixels")
    for _ in range(2):
        assert mirror.study([table, figure], "- It wins.") == mirror.parent_id
    mirror.study([figure], None)
    parent = mirror.client.get_run(mirror.parent_id)
    assert parent.info.status == "FINISHED"
    experiment = mirror.client.get_experiment(mirror.experiment_id)
    assert "- It wins." in parent.data.tags["mlflow.note.content"] == experiment.tags["mlflow.note.content"]
    assert artifacts(mirror, mirror.parent_id) == {"tables/scores.csv", "figures/scores.png"}


def test_a_run_id_in_the_environment_does_not_disturb(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    mirrors = Mirrors(uri, tmp_path / "artifacts", [TrackedStudy("one"), TrackedStudy("two")])
    run_ids = mirrors.run(write_run(tmp_path))
    assert set(run_ids) == {"one", "two"}
    assert "f" * 32 not in run_ids.values()
    assert mirrors.working


def test_an_unchanged_run_is_cheap(mirror, tmp_path):
    folder = write_run(tmp_path, epochs=300)
    put(mirror, folder)
    started = time.perf_counter()
    put(mirror, folder)
    assert time.perf_counter() - started < 1.0, "a training calls this every few seconds; usual is below 0.1 s"


@pytest.mark.parametrize("accident", ["corrupt", "no folder", "file store", "lost meanwhile", "corrupt meanwhile"])
def test_a_broken_store_costs_one_warning(accident, uri, tmp_path, capfd, caplog):
    database = tmp_path / "mlflow.db"
    if accident == "corrupt":
        database.write_bytes(b"this is no database" * 100)
    if accident == "no folder":
        (tmp_path / "file").touch()
        uri = f"sqlite:///{tmp_path}/file/mlflow.db"
    if accident == "file store":
        uri = f"file://{tmp_path}/mlruns"
    folder = write_run(tmp_path)
    mirrors = Mirrors(uri, tmp_path / "artifacts", [TrackedStudy(STUDY)])
    if accident == "lost meanwhile":
        database.unlink()
    if accident == "corrupt meanwhile":
        database.write_bytes(b"this is no database" * 100)
    assert mirrors.run(folder) == mirrors.fold(folder, "name") == {}
    assert mirrors.study(STUDY, []) is None
    assert capfd.readouterr() == ("", "")
    (line,) = caplog.messages
    assert line.startswith("warning: tracking is off for the rest of this job: ")
    assert "snakemake sync" in line
    assert database.exists() == (accident != "lost meanwhile")


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_a_database_that_another_program_holds_costs_one_warning_and_seconds(moment, uri, tmp_path, caplog):
    hold = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print('held')"
    command = [sys.executable, "-c", f"{hold}; sys.stdout.flush(); time.sleep(600)", tmp_path / "mlflow.db"]
    folder = write_run(tmp_path)
    mirrors = Mirrors(uri, tmp_path / "artifacts", [TrackedStudy(STUDY)]) if moment == "meanwhile" else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            started = time.monotonic()
            mirrors = mirrors or Mirrors(uri, tmp_path / "artifacts", [TrackedStudy(STUDY)])
            assert mirrors.run(folder) == mirrors.run(folder) == {}
            assert time.monotonic() - started < 4 * tracking.store.BUSY_S
        finally:
            holder.kill()
    (line,) = caplog.messages
    assert "database is locked" in line
    again = Mirrors(uri, tmp_path / "artifacts", [TrackedStudy(STUDY)])
    assert again.run(folder).keys() == {STUDY}


@pytest.mark.parametrize("damage", ["no JSON", "no key", "history of words", "quotes in the name"])
def test_one_damaged_run_does_not_stop_the_others(damage, uri, tmp_path, caplog):
    folder, other = (write_run(tmp_path, replace(KEY, seed=seed)) for seed in (1, 2))
    if damage == "no JSON":
        (folder / run_folder.RUN_FILE).write_text("{")
    if damage == "no key":
        write_json(folder / run_folder.RUN_FILE, {"status": "ok"})
    if damage == "history of words":
        (folder / run_folder.HISTORY_FILE).write_text("epoch,train_loss\none,two\n")
    if damage == "quotes in the name":
        write_run(tmp_path, run="x' or tags.a = 'b")
    mirrors = Mirrors(uri, tmp_path / "artifacts", [TrackedStudy(STUDY)])
    assert mirrors.run(folder) == {}
    assert mirrors.working
    assert mirrors.run(other).keys() == {STUDY}
    (line,) = caplog.messages
    assert line.startswith(f"warning: {folder} is left out of the record: ")


def test_a_lock_that_is_never_released_is_given_up(uri, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("odevae.tracking.store.LOCK_WAIT_S", 0.1)
    mirrors = Mirrors(uri, tmp_path / "artifacts", [TrackedStudy(STUDY)])
    with tracking.store.locked(uri):
        assert mirrors.run(write_run(tmp_path)) == {}
    (line,) = caplog.messages
    assert f"The file lock '{tmp_path}/mlflow.db.lock' could not be acquired." in line


def test_reading_a_run_needs_no_store(tmp_path):
    record = record_of_run(write_run(tmp_path, epochs=2))
    shown = {tracked: name for tracked, name in HISTORY.items() if name in COLUMNS}
    assert record.history == {
        epoch: {tracked: value_of(epoch, name) for tracked, name in shown.items()} for epoch in range(2)
    }


def test_eight_jobs_at_once_on_a_missing_store_lose_nothing(tmp_path):
    jobs, epochs, columns = 8, 60, list(HISTORY.values())
    keys = [replace(KEY, seed=seed) for seed in range(jobs)]
    folders = [write_run(tmp_path, key, epochs=epochs, columns=columns) for key in keys]
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mirror_at_once(uri, tmp_path / "artifacts", folders, tmp_path / "signals")

    mirror = Mirror(uri, tmp_path / "artifacts", TrackedStudy("parallel"))
    client = mirror.client
    assert {experiment.name for experiment in client.search_experiments()} == {"Default", "parallel"}
    children = [run for run in client.search_runs([mirror.experiment_id]) if run.info.run_id != mirror.parent_id]
    assert sorted(run.info.run_name for run in children) == sorted(key.path for key in keys)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {mirror.parent_id}
    assert len(active_runs(mirror, "study")) == 1
    for run in children:
        assert histories(mirror, run.info.run_id, columns) == whole(epochs, columns)
