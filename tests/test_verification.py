import shutil

import numpy as np
import pytest
from conftest import ABOUT

from odevae.errors import OdevaeError
from odevae.evaluation.run_scores import evaluate
from odevae.protocols.audit import audit
from odevae.protocols.fold import load_fold, save_fold
from odevae.report.study_table import READABLE, results_of_study, study_table
from odevae.report.table_files import write_table
from odevae.report.verification import verify_run, verify_table
from odevae.storage.files import read_arrays, read_json, write_arrays, write_json
from odevae.storage.run_folder import (
    AUDIT_FILE,
    CHECKPOINT_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    TRIALS_FILE,
    write_predictions,
)
from odevae.storage.scores import Score
from odevae.training.recorder import train

FOLD = "small/heldout/split0/pca"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small, heldout_fold, tiny, make_key):
    """A folder ``results`` with one run, and the run's folder below it."""
    results = tmp_path_factory.mktemp("results")
    fold_folder, folder = results / FOLD, results / make_key().path
    fold_folder.mkdir(parents=True)
    folder.mkdir(parents=True)
    seal = save_fold(heldout_fold, fold_folder)
    write_json(fold_folder / AUDIT_FILE, audit(heldout_fold, small) | {"fold_sha256": seal})
    train(load_fold(fold_folder), make_key(), tiny, folder, ABOUT | {"fold_sha256": seal})
    metrics, predictions = evaluate(load_fold(fold_folder), folder)
    write_predictions(folder, metrics, predictions)
    write_json(folder / METRICS_FILE, metrics)
    return results, make_key().path


@pytest.fixture
def run(finished, tmp_path):
    """A copy to break: the run's folder and its fold's."""
    results, path = finished
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results" / path, tmp_path / "results" / FOLD


def refused(run, match: str) -> None:
    with pytest.raises(OdevaeError, match=match):
        verify_run(*run)


def test_an_untouched_run_agrees_with_itself(run):
    assert verify_run(*run) == len(read_json(run[0] / METRICS_FILE)["scores"]) > 100


@pytest.mark.parametrize("name", [RUN_FILE, METRICS_FILE, PREDICTIONS_FILE, CHECKPOINT_FILE, HISTORY_FILE])
@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_file_is_named(run, name, how):
    path = run[0] / name
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes(flipped if how == "flipped" else content[:middle])
    if how == "missing":
        path.unlink()
    refused(run, f"{name}: .* run the workflow again")


def test_a_forged_score_is_found_even_with_a_valid_seal(run):
    metrics = read_json(run[0] / METRICS_FILE)
    name = "test/raw/onset/best/mean/r2_neuron"
    row = next(row for row in metrics["scores"] if Score(**row).name == name)
    row["value"] += 0.01
    write_json(run[0] / METRICS_FILE, metrics)
    refused(run, f"metrics.json: {name} is .* but the run's files give")
    metrics["scores"].remove(row)
    write_json(run[0] / METRICS_FILE, metrics)
    refused(run, f"metrics.json: {name} is missing")
    write_json(run[0] / METRICS_FILE, {key: value for key, value in metrics.items() if key != "scores"})
    refused(run, "holds no rows of scores, so another version of odevae wrote it")


def test_forged_predictions_are_found_even_with_a_valid_seal(run):
    arrays, _ = read_arrays(run[0] / PREDICTIONS_FILE)
    write_arrays(run[0] / PREDICTIONS_FILE, arrays | {"test_best": np.zeros_like(arrays["test_best"])})
    refused(run, r"metrics.json: test/pca/onset/best/mean/")


def test_a_forged_summary_is_found(run):
    record = read_json(run[0] / RUN_FILE)
    write_json(run[0] / RUN_FILE, record | {"best_r2": 0.99})
    refused(run, r"run.json: best_r2 is 0.99, but the run's files give")


def test_files_of_another_training_run_or_fold_are_found(run, finished, heldout_fold):
    folder, fold_folder = run
    record = read_json(folder / RUN_FILE)
    for changes, said in (
        ({"attempt": "another"}, "metrics.json: was made from another training"),
        ({"fold_sha256": "another"}, "run.json: was made from another fold"),
        ({"run": "other/run"}, "run.json: belongs to the run other/run"),
    ):
        write_json(folder / RUN_FILE, record | changes)
        refused(run, said)
    write_json(folder / RUN_FILE, record)
    arrays, _ = read_arrays(folder / PREDICTIONS_FILE)
    write_arrays(folder / PREDICTIONS_FILE, arrays | {"attempt": np.array("another")})
    refused(run, r"predictions.npz: was made from another training")
    write_arrays(folder / PREDICTIONS_FILE, arrays)
    arrays, _ = read_arrays(fold_folder / TRIALS_FILE)
    write_arrays(fold_folder / TRIALS_FILE, arrays | {"raw": arrays["raw"] + 1})
    refused(run, r"trials.npz: does not belong to preprocessing.json")


def test_a_table_that_says_something_else_is_found(run, finished):
    results = run[1].parents[3]
    path = finished[1]
    expected = study_table(results_of_study(results, {path: FOLD}, {path: "id"}, {}), 0)
    table = results / "table.csv"
    write_table(expected, READABLE, table)
    assert verify_table(table, expected) == 3
    text = table.read_text()
    table.write_text(text.replace("ok", "OK", 1))
    with pytest.raises(OdevaeError, match=r"table.csv: line 2 is .* but the files on disk give"):
        verify_table(table, expected)
    table.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(OdevaeError, match="3 lines, but the files on disk give 4"):
        verify_table(table, expected)
    table.unlink()
    with pytest.raises(OdevaeError, match="cannot be read"):
        verify_table(table, expected)


def test_a_foreign_metric_never_reaches_a_table(run, finished):
    metrics = read_json(run[0] / METRICS_FILE)
    write_json(run[0] / METRICS_FILE, metrics | {"attempt": "of somebody else"})
    with pytest.raises(OdevaeError, match="another training"):
        results_of_study(run[1].parents[3], {finished[1]: FOLD}, {}, {})
