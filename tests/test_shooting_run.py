"""The preset `shooting` as a model of studies: one run on disk, like that of any other preset."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ABOUT, HELDOUT_SMALL
from test_plots import words
from test_run_figures import NAMES, figures

from odevae.benchmark.models.shooting import Shooting
from odevae.errors import OdevaeError
from odevae.evaluation.run_scores import evaluate, task_of
from odevae.evaluation.trained_model import load_model
from odevae.events import DENSE
from odevae.jobs.provenance import provenance
from odevae.metrics import r2_batched
from odevae.models import shooting
from odevae.models.presets import PRESETS, ShootingSpec, model_spec, spec_from
from odevae.protocols.audit import audit
from odevae.protocols.fold import load_fold, save_fold
from odevae.protocols.recipes import heldout
from odevae.report.latent_field import load_latent_field
from odevae.report.verification import verify_run
from odevae.storage.files import read_json, write_json
from odevae.storage.run_folder import (
    AUDIT_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    RESUME_FILE,
    RUN_FILE,
    read_history,
    write_predictions,
)
from odevae.tracking.records import record_of_run
from odevae.training.checkpoints import load_checkpoint
from odevae.training.shooting import CANDIDATES, ShootingSettings, limited
from odevae.training.shooting_run import train_shooting

EPOCHS, DIM, SEED = 5, 2, 7
FOLD = "small/heldout/split0/neurons"
SPEC = ShootingSpec(EPOCHS)


@pytest.fixture(scope="module", autouse=True)
def quick_fits():
    """One setting in place of five; how settings are chosen is tested elsewhere."""
    quick = ShootingSettings(block_frames=4, curved=False, width=16, field_width=16, steps=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CANDIDATES, DENSE, (quick,))
        patch.setattr(shooting, "SMOOTHING_STEPS", 5)
        yield


@pytest.fixture(scope="module")
def key(make_key):
    return make_key(model="shooting", latent_dim=DIM, seed=SEED)


@pytest.fixture(scope="module")
def fold(small):
    return heldout(small, "neurons", split=0, settings=HELDOUT_SMALL)


def trained_in(folder, fold, key):
    folder.mkdir(parents=True, exist_ok=True)
    train_shooting(fold, key, SPEC, folder, ABOUT)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory, small, fold, key):
    """A folder ``results`` with one run that was evaluated; do not change it."""
    root = tmp_path_factory.mktemp("results")
    (root / FOLD).mkdir(parents=True)
    seal = save_fold(fold, root / FOLD)
    write_json(root / FOLD / AUDIT_FILE, audit(fold, small) | {"fold_sha256": seal})
    folder = root / key.path
    folder.mkdir(parents=True)
    train_shooting(load_fold(root / FOLD), key, SPEC, folder, ABOUT | provenance() | {"fold_sha256": seal})
    metrics, predictions = evaluate(load_fold(root / FOLD), folder)
    write_predictions(folder, metrics, predictions)
    write_json(folder / METRICS_FILE, metrics)
    return root


@pytest.fixture(scope="module")
def folder(results, key):
    return results / key.path


@pytest.fixture(scope="module")
def in_benchmark(fold):
    """The same fit as a model of a benchmark."""
    train, validation = (fold.raw.take(fold.parts[part]) for part in ("train", "validation"))
    model = Shooting(DIM, SEED, limited(CANDIDATES[DENSE], EPOCHS, len(train)))
    model.fit(train, validation)
    return model


def test_it_is_the_model_of_the_benchmark(fold, folder, in_benchmark):
    loaded, trials = load_model(folder), fold.raw.take(fold.parts["test"])
    assert loaded.settings == in_benchmark.settings and loaded.smooths == in_benchmark.smooths
    predictions = evaluate(fold, folder)[1]
    for model in (loaded, in_benchmark):
        recorded = fold.preprocessor.inverse(predictions["test_best"])
        np.testing.assert_allclose(recorded, model.reconstruct(trials), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(predictions["test_best_path"], model.infer(trials), rtol=1e-4, atol=1e-5)


def test_the_drawn_path_scatters_about_the_mean(fold, folder):
    """The published definition of R2 draws from the posterior."""
    model, trials = load_model(folder), fold.raw.take(fold.parts["test"])
    torch.manual_seed(0)
    draws = np.stack([model.sampled(trials) for _ in range(20)])[:, trials.recorded]
    mean, sd = draws.mean(axis=0), draws.std(axis=0)
    assert (sd > 0).all()
    # Within the scatter of single draws, which are of one phase of the knots where the answer is the mean of all.
    assert (np.abs(mean - model.reconstruct(trials)[trials.recorded]) < 3 * sd).mean() > 0.9


def test_run_and_history_are_those_of_any_model(folder, fold, key):
    run, rows = read_json(folder / RUN_FILE), read_history(folder / HISTORY_FILE)
    losses = [row["val_loss"] for row in rows]
    best = losses.index(min(losses))
    assert (run["status"], run["epochs"], run["best_epoch"]) == ("ok", len(rows), best + 1)
    assert (run["best_val_loss"], run["best_r2"], run["final_r2"]) == (
        losses[best],
        rows[best]["val_r2"],
        rows[-1]["val_r2"],
    )
    assert spec_from(run["spec"]) == SPEC and spec_from(PRESETS["v5"].as_dict()) == PRESETS["v5"]
    assert run["fitted"]["settings"]["steps"] == EPOCHS * len(fold.parts["train"])
    for row in rows:
        assert row["train_loss"] == pytest.approx(row["train_reconstruction"] + row["train_weighted_kl"])
    # Both checkpoints are there, and the R2 of the best look is that of its path without refinement.
    model, trials = load_model(folder), fold.raw.take(fold.parts["validation"])
    assert set(load_checkpoint(folder, run)) == {"best", "last"}
    model.smooths = False
    # Two phases of the knots in place of five.
    predicted = fold.preprocessor.zscore(model.reconstruct(trials))
    found = r2_batched(fold.truth("validation", "zscore"), predicted, trials.mask, SPEC.batch_size)
    assert run["best_r2"] == pytest.approx(found, abs=0.02)


def test_the_same_seed_gives_the_same_bits_and_no_test_trial_counts(tmp_path, fold, folder, key):
    values = fold.raw.values.copy()
    values[fold.parts["test"]] = np.nan
    again = trained_in(tmp_path / "again", replace(fold, raw=replace(fold.raw, values=values)), key)
    other = trained_in(tmp_path / "other", fold, replace(key, seed=SEED + 1))
    states = [load_checkpoint(each, read_json(each / RUN_FILE))["best"] for each in (folder, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_scores_follow_from_the_files(results, folder):
    assert verify_run(folder, results / FOLD) > 100
    history = folder / HISTORY_FILE
    content = history.read_text()
    try:
        history.write_text(content.replace("1,", "9,", 1))
        with pytest.raises(OdevaeError, match=r"history\.csv"):
            verify_run(folder, results / FOLD)
    finally:
        history.write_text(content)


def test_it_sees_the_whole_trial_and_its_rank_is_reported(results, folder):
    scores = {(row["space"], row["metric"], row["checkpoint"]) for row in read_json(folder / METRICS_FILE)["scores"]}
    assert task_of(SPEC) == read_json(folder / METRICS_FILE)["task"] == "reconstruct"
    assert ("latent", "latent_rank", "best") in scores and ("pca", "r2_batched", "last") in scores


def test_every_figure_is_drawn(fold, folder):
    draw, stress = figures(fold, folder, ["x"])
    assert set(draw) == NAMES | {"manifold_trials_x"} and set(stress)
    for function in draw.values():
        function().draw_without_rendering()
    curves = words(draw["learning_curves"]())
    assert "no finite value" not in curves and "KL" in curves and "reconstruction" in curves


def test_the_field_is_per_second(fold, folder):
    field, model = load_latent_field(fold, folder), load_model(folder).model
    interval = fold.grid_s[1] - fold.grid_s[0]
    with torch.no_grad():
        path = model.solve(torch.randn(5, DIM), 2).double().numpy()
    np.testing.assert_allclose(field(path[:, 1]), (path[:, 2] - path[:, 0]) / (2 * interval), rtol=0.02, atol=1e-3)
    assert (field.quantity, field.unit) == ("velocity", "a.u./s")


def test_the_record_of_a_run_holds_losses_and_scores(results, folder):
    record = record_of_run(folder)
    assert record.params["preset"] == "shooting" and record.status == "FINISHED"
    assert set(next(iter(record.history.values()))) >= {"train/loss", "validation/loss", "validation/r2"}
    assert np.isfinite(record.summary["score/r2_neuron"])
    assert set(record.model) == {RUN_FILE, "checkpoint.pt"}


def test_a_stopped_fit_starts_again(tmp_path, fold, folder, key, monkeypatch):
    def stopped(*_, **__):
        raise SystemExit(143)

    (tmp_path / RESUME_FILE).write_bytes(b"of another preset")
    with monkeypatch.context() as patch:
        patch.setattr("odevae.training.shooting_run.fit_trials", stopped)
        with pytest.raises(SystemExit):
            trained_in(tmp_path, fold, key)
    assert read_json(tmp_path / RUN_FILE)["status"] == "running" and not (tmp_path / RESUME_FILE).exists()
    again = trained_in(tmp_path, fold, key)
    assert [{**row, "seconds": 0} for row in read_history(again / HISTORY_FILE)] == [
        {**row, "seconds": 0} for row in read_history(folder / HISTORY_FILE)
    ]


def test_its_settings_in_the_configuration():
    models = {"short": {"preset": "shooting", "epochs": 3}}
    assert model_spec("shooting", models) == ShootingSpec() and model_spec("short", models) == ShootingSpec(3)
    for entry, named in (({"beta": 1.0}, "no beta"), ({"robust": True}, "no robust")):
        with pytest.raises(OdevaeError, match=f"models.mine: the preset shooting chooses its settings itself.*{named}"):
            model_spec("mine", {"mine": {"preset": "shooting", **entry}})
