"""The rungs against scores written out, on a small published fold."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import r2_score

from odevae.evaluation.audit_ladder import RUNGS, ladder_table, rungs_of_run
from odevae.evaluation.trivial import TRIVIAL
from odevae.protocols.audit import audit
from odevae.protocols.recipes import PROTOCOLS, make_fold
from odevae.storage.run_folder import RunKey

SETTINGS = {"bins": 20, "duration_s": 4.0, "drop_first_trials": 0, "landmarks": 14, "holdout": 4}


def a_run(protocol: str, status: str = "ok") -> dict:
    key = RunKey("made_up", protocol, split=3, model="v1", latent_dim=2, lambda_smooth="5e-4", seed=3)
    return {"key": key.as_dict(), "status": status, "spec": {"batch_size": 100}}


@pytest.fixture(scope="module")
def eight_trials(make_recording):
    return make_recording([30, 12, 25, 18, 40, 22, 15, 33], n_neurons=6)


@pytest.fixture(scope="module")
def fold(eight_trials):
    return make_fold("published", eight_trials, "pca-baseline", 3, SETTINGS)


@pytest.fixture(scope="module")
def findings(fold, eight_trials):
    return audit(fold, eight_trials)


@pytest.fixture(scope="module")
def predictions(fold):
    true, generator = fold.sequences("validation")[0], np.random.default_rng(0)
    return {
        f"validation_{name}": (true + 0.5 * generator.standard_normal(true.shape)).astype(np.float32)
        for name in ("best", "best_sampled", "last_sampled")
    }


def test_every_protocol_of_a_rung_exists():
    assert {protocol for _, protocol, _, _ in RUNGS.values()} <= set(PROTOCOLS)


def test_the_published_run_serves_three_rungs(fold, findings, predictions):
    rows = {row["rung"]: row for row in rungs_of_run(fold, a_run("published"), predictions, findings)}
    assert list(rows) == ["a", "c", "e"]
    assert " ".join(rows["a"]) == (
        "rung flaw dataset protocol space model latent_dim lambda_smooth split seed status n_values r2 r2_last "
        "r2_neuron training_mean_r2 trial_time_mean_r2 hold_first_frame_r2 hold_last_frame_r2 reference_r2 "
        "test_trials shared_trials padded_fraction n_runs r2_sd r2_last_sd r2_neuron_sd"
    )
    part = fold.parts["validation"]
    assert rows["a"]["test_trials"] == len(np.unique(fold.raw.trial_ids[part]))
    true, drawn = fold.observed[part], predictions["validation_best_sampled"]
    assert rows["a"]["r2"] == pytest.approx(r2_score(true.ravel(), drawn.ravel()), abs=1e-6)
    recorded = fold.raw.recorded[part]
    assert not recorded.all()
    assert rows["c"]["r2"] == pytest.approx(r2_score(true[recorded].ravel(), drawn[recorded].ravel()), abs=1e-6)
    assert rows["c"]["n_values"] == recorded.sum() * true.shape[2] < rows["a"]["n_values"]
    assert (rows["a"]["padded_fraction"], rows["c"]["padded_fraction"]) == (findings["padded_fraction"], 0)
    raw, carried = fold.raw.values[part], fold.to_raw(drawn, part)
    assert rows["e"]["r2"] == pytest.approx(r2_score(raw.ravel(), carried.ravel()), abs=1e-6)
    mean = predictions["validation_best"]
    expected = r2_score(*(x.reshape(-1, x.shape[2]) for x in (true, mean)), multioutput="variance_weighted")
    assert rows["a"]["r2_neuron"] == pytest.approx(expected, abs=1e-6)


def test_references_see_the_values_that_the_rung_scores(fold, findings, predictions):
    rows = {row["rung"]: row for row in rungs_of_run(fold, a_run("published"), predictions, findings)}
    part = fold.parts["validation"]
    true, recorded = fold.observed[part], fold.raw.recorded[part]
    held = np.stack([np.broadcast_to(x[r.sum() - 1], x.shape) for x, r in zip(true, recorded, strict=True)])
    expected = r2_score(true[recorded].ravel(), held[recorded].ravel())
    assert rows["c"]["hold_last_frame_r2"] == pytest.approx(expected, abs=1e-6)
    for row in rows.values():
        assert row["reference_r2"] == max(row[f"{name}_r2"] for name in TRIVIAL)


@pytest.mark.parametrize(
    ("protocol", "rung"), [("published_unshared", "b"), ("published_train_fit", "d"), ("published_random", "f")]
)
def test_other_protocols_serve_one_rung(eight_trials, protocol, rung):
    fold = make_fold(protocol, eight_trials, "pca-baseline", 3, SETTINGS)
    true = fold.sequences("validation")[0]
    guesses = {f"validation_{name}": np.zeros_like(true) for name in ("best", "best_sampled", "last_sampled")}
    (row,) = rungs_of_run(fold, a_run(protocol), guesses, audit(fold, eight_trials))
    assert (row["rung"], row["flaw"]) == (rung, RUNGS[rung][0])
    assert (row["shared_trials"] == 0) == (rung == "b")


def test_a_diverged_run_has_references_only(fold, findings):
    for row in rungs_of_run(fold, a_run("published", status="diverged"), {}, findings):
        assert (row["r2"], row["r2_last"], row["r2_neuron"]) == (None, None, None)
        assert math.isfinite(row["reference_r2"])


def test_means_carry_their_spread(fold, findings, predictions):
    runs = []
    for seed, r2 in ((3, 0.2), (4, 0.4), (5, 0.9)):
        run = a_run("published")
        run["key"] |= {"seed": seed, "split": seed}
        runs += [row | {"r2": r2} for row in rungs_of_run(fold, run, predictions, findings)]
    table = ladder_table(runs[::-1]).to_dict("records")
    assert [(row["rung"], row["seed"]) for row in table] == list(product("ace", (3, 4, 5, "mean")))
    mean = table[3]
    assert (mean["n_runs"], mean["split"], mean["status"]) == (3, None, None)
    assert mean["r2"] == pytest.approx(0.5)
    assert mean["r2_sd"] == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))


# The protocols of the rungs


@pytest.fixture(scope="module")
def recording(make_recording):
    return make_recording([30, 12, 25, 18, 40, 22, 15, 33, 27, 19], n_neurons=6)


def test_rung_b_drops_the_shared_sequences_and_nothing_else(recording):
    full = make_fold("published", recording, "pca", 3, SETTINGS)
    unshared = make_fold("published_unshared", recording, "pca", 3, SETTINGS)
    np.testing.assert_array_equal(full.parts["validation"], unshared.parts["validation"])
    np.testing.assert_array_equal(full.observed, unshared.observed)
    kept = [row for row in full.parts["train"] if row not in full.parts["validation"]]
    assert unshared.parts["train"].tolist() == kept
    assert 0 < len(kept) < len(full.parts["train"])


def test_rung_d_fits_on_the_training_trials_only(recording):
    full = make_fold("published", recording, "pca", 3, SETTINGS)
    fitted = make_fold("published_train_fit", recording, "pca", 3, SETTINGS)
    for part in ("train", "validation"):
        np.testing.assert_array_equal(full.parts[part], fitted.parts[part])
    training = recording.activity[np.isin(recording.trial, full.raw.trial_ids[np.unique(full.parts["train"])])]
    np.testing.assert_allclose(fitted.preprocessor.neuron_mean, training.mean(axis=0))
    assert not np.allclose(full.preprocessor.neuron_mean, fitted.preprocessor.neuron_mean)
    assert fitted.about["fitted_before_split"] == []


def test_rung_d_does_not_blow_up_a_neuron_that_is_silent_in_training(recording):
    fold = make_fold("published", recording, "neurons", 3, SETTINGS)
    training = np.isin(recording.trial, fold.raw.trial_ids[np.unique(fold.parts["train"])])
    assert not training.all()
    activity = recording.activity.copy()
    activity[training, 0] = 0
    fitted = make_fold("published_train_fit", replace(recording, activity=activity), "neurons", 3, SETTINGS)
    assert np.abs(fitted.observed).max() < 1e3


def test_rung_f_draws_a_tenth_of_the_same_landmarks(recording):
    settings = SETTINGS | {"landmarks": 40}
    full = make_fold("published", recording, "pca", 3, settings)
    drawn = make_fold("published_random", recording, "pca", 3, settings)
    assert len(drawn.parts["validation"]) == 4
    one, other = (np.sort(np.concatenate(list(fold.parts.values()))).tolist() for fold in (full, drawn))
    assert one == other


def test_v2_splits_before_it_fits(recording):
    fold = make_fold("published_v2", recording, "pca", 0, SETTINGS | {"holdout": 3})
    assert len(fold.parts["validation"]) == 2  # at most a fifth of the trials
    assert not np.isin(fold.parts["validation"], fold.parts["train"]).any()
    assert len(fold.raw) == 10 and fold.time_scale_s == 1
    order = np.random.default_rng(0).permutation(10)
    assert fold.parts["validation"].tolist() == order[-2:].tolist()
    training = fold.raw.values[fold.parts["train"]].reshape(-1, 6).astype(float)
    np.testing.assert_allclose(fold.preprocessor.neuron_mean, training.mean(axis=0))
    scores = fold.observed[fold.parts["train"]].reshape(-1, fold.preprocessor.n_channels)
    # Components of z-scored neurons keep their scale: their variances add up to 95 % of one per neuron or more.
    assert 0.95 * 6 <= scores.var(axis=0).sum() <= 6 + 1e-3
    # What PCA keeps comes back in recorded units.
    scores = fold.preprocessor.transform(training)
    assert np.allclose(fold.preprocessor.transform(fold.preprocessor.inverse(scores)), scores)
