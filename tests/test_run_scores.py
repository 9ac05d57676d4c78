from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import ABOUT, HELDOUT_SMALL, PUBLISHED_DEFAULTS
from sklearn.metrics import r2_score

from odevae import pieces
from odevae.evaluation.run_scores import (
    evaluate,
    event_scores_of,
    event_scores_of_references,
    metrics_of,
    model_scores,
    reference_scores,
    task_of,
)
from odevae.evaluation.trivial import TRIVIAL
from odevae.metrics import score
from odevae.models.odevae import build
from odevae.models.presets import PRESETS
from odevae.protocols.recipes import heldout, published
from odevae.storage.files import read_json
from odevae.storage.run_folder import CHECKPOINT_FILE, RUN_FILE
from odevae.storage.scores import Score, best_reference, scores_of, select
from odevae.training.recorder import train

METRICS = (
    "r2_pooled",
    "r2_neuron",
    "r2_trial",
    "r",
    "mse",
    "std_ratio",
    "dynamics_std_ratio",
    "event_r2",
    "n_values",
    "masked_fraction",
)
SPACES = ("pca", "zscore", "raw")
REFERENCES = ("training_mean", "trial_time_mean", "hold_first_frame", "hold_last_frame")


def reference_keys(parts, task) -> set[str]:
    return {
        f"{part}/{space}/{task}/reference/{name}/{metric}"
        for part, space, name, metric in product(parts, SPACES, REFERENCES, (*METRICS, "r2_batched"))
    }


def all_keys(parts, task) -> set[str]:
    keys = reference_keys(parts, task)
    for part, checkpoint in product(parts, ("best", "last")):
        keys |= {f"{part}/{space}/{task}/{checkpoint}/mean/{m}" for space in SPACES for m in (*METRICS, "skill")}
        keys |= {f"{part}/pca/{task}/{checkpoint}/sampled/{m}" for m in ("r2_batched", "r2_pooled")}
        keys |= {f"{part}/latent/{task}/{checkpoint}/mean/{m}" for m in ("latent_rank", "participation_ratio")}
    return keys


def values_of(metrics: dict) -> dict[str, float]:
    """Each score by its name."""
    return {score.name: score.value for score in scores_of(metrics)}


@pytest.fixture(scope="module")
def evaluated(heldout_fold, trained):
    return evaluate(heldout_fold, trained)


# Trivial references


def test_trivial_references_against_loops(heldout_fold):
    train_rows, rows = heldout_fold.parts["train"], heldout_fold.parts["test"]
    values, mask = heldout_fold.raw.values.astype(float), heldout_fold.raw.mask
    lengths = mask.sum(axis=1)
    mean = np.mean([values[i, t] for i in train_rows for t in range(lengths[i])], axis=0)
    by_time = []
    for t in range(values.shape[1]):
        there = [values[i, t] for i in train_rows if t < lengths[i]]
        by_time.append(np.mean(there, axis=0) if there else mean)
    expected = {
        "training_mean": [[mean] * values.shape[1]] * len(rows),
        "trial_time_mean": [by_time] * len(rows),
        "hold_first_frame": [[values[i, 0]] * values.shape[1] for i in rows],
        "hold_last_frame": [[values[i, lengths[i] - 1]] * values.shape[1] for i in rows],
    }
    assert list(TRIVIAL) == list(expected)
    for name, reference in TRIVIAL.items():
        found = reference(values[train_rows], mask[train_rows], values[rows], mask[rows])
        np.testing.assert_allclose(found, np.array(expected[name]), atol=1e-9, err_msg=name)


def test_beyond_every_training_trial_the_time_mean_is_the_overall_mean():
    train = np.array([[[1.0], [3.0], [99.0]], [[5.0], [99.0], [99.0]]])
    train_mask = np.array([[True, True, False], [True, False, False]])
    found = TRIVIAL["trial_time_mean"](train, train_mask, np.zeros((1, 3, 1)), np.ones((1, 3), bool))
    np.testing.assert_allclose(found[0, :, 0], [3, 3, 3])
    train[0, 1] = 6
    found = TRIVIAL["trial_time_mean"](train, train_mask, np.zeros((1, 3, 1)), np.ones((1, 3), bool))
    np.testing.assert_allclose(found[0, :, 0], [3, 6, 4])


def test_references_know_no_held_out_mean(heldout_fold):
    held = heldout_fold.raw.values[heldout_fold.parts["test"]]
    train = heldout_fold.parts["train"]
    arguments = heldout_fold.raw.values[train], heldout_fold.raw.mask[train], held, heldout_fold.raw.mask[:2]
    for name in ("training_mean", "trial_time_mean"):
        np.testing.assert_array_equal(
            TRIVIAL[name](*arguments), TRIVIAL[name](arguments[0], arguments[1], held + 100, arguments[3])
        )


def test_padding_rewards_the_last_frame(e65):
    fold = published(e65, "pca-baseline", split=1, settings=PUBLISHED_DEFAULTS | {"holdout": 3})
    scores = select(reference_scores(fold, "validation", "onset5", batch_size=8), space="pca", metric="r2_pooled")
    found = {score.estimate: score.value for score in scores}
    assert found["hold_last_frame"] == pytest.approx(0.839, abs=0.001)
    assert found["training_mean"] < 0.2


# The scores of a run


def test_every_key_is_there_and_no_other(evaluated, trained):
    metrics, predictions = evaluated
    run = read_json(trained / RUN_FILE)
    assert set(values_of(metrics)) == all_keys(("validation", "test"), "onset")
    assert {name: metrics[name] for name in metrics if name != "scores"} == {
        "run": run["run"],
        "attempt": run["attempt"],
        "status": "ok",
        "task": "onset",
        "scored_part": "test",
    }
    names = {f"{part}_{kind}" for part in ("validation", "test") for kind in ("best", "last")}
    assert set(predictions) == (
        {"validation_rows", "test_rows"} | names | {f"{n}_path" for n in names} | {f"{n}_sampled" for n in names}
    )


def test_scores_come_from_the_predictions_that_are_kept(evaluated, heldout_fold):
    metrics, predictions = evaluated
    values = values_of(metrics)
    preprocessor = heldout_fold.preprocessor
    for part, checkpoint in product(("validation", "test"), ("best", "last")):
        rows = predictions[f"{part}_rows"]
        np.testing.assert_array_equal(rows, heldout_fold.parts[part])
        mask = heldout_fold.raw.mask[rows]
        observed = predictions[f"{part}_{checkpoint}"].astype(float)
        raw = (observed * preprocessor.channel_scale + preprocessor.channel_mean) @ preprocessor.components
        raw = raw + preprocessor.neuron_mean
        true_raw = heldout_fold.raw.values[rows].astype(float)
        z = preprocessor.neuron_scale
        pairs = {
            "pca": (heldout_fold.observed[rows], observed),
            "raw": (true_raw, raw),
            "zscore": ((true_raw - preprocessor.neuron_mean) / z, (raw - preprocessor.neuron_mean) / z),
        }
        for space, (true, predicted) in pairs.items():
            x, y = true[mask], predicted[mask]
            prefix = f"{part}/{space}/onset/{checkpoint}/mean"
            found = {metric: values[f"{prefix}/{metric}"] for metric in METRICS}
            assert found["r2_neuron"] == pytest.approx(r2_score(x, y, multioutput="variance_weighted"), abs=1e-5)
            assert found["r2_pooled"] == pytest.approx(r2_score(x.ravel(), y.ravel()), abs=1e-5)
            assert found["mse"] == pytest.approx(((x - y) ** 2).mean(), rel=1e-5)
            assert found["r"] == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-5)
            assert found["n_values"] == x.size
            assert found["masked_fraction"] == pytest.approx(1 - mask.mean())


def test_predictions_are_those_of_the_checkpoints(evaluated, heldout_fold, trained, tiny):
    _, predictions = evaluated
    states = torch.load(trained / CHECKPOINT_FILE, weights_only=True)
    model = build(tiny, heldout_fold.preprocessor.n_channels, 2)
    rows = heldout_fold.parts["test"]
    for checkpoint in ("best", "last"):
        model.load_state_dict(states[checkpoint])
        with torch.no_grad():
            mean, _ = model.encoder(*map(torch.from_numpy, (heldout_fold.observed[rows], heldout_fold.raw.mask[rows])))
            decoded = model.decoder(torch.from_numpy(predictions[f"test_{checkpoint}_path"]))
        np.testing.assert_allclose(predictions[f"test_{checkpoint}_path"][:, 0], mean, atol=1e-6)
        np.testing.assert_allclose(predictions[f"test_{checkpoint}"], decoded, atol=1e-5)


def test_pieces_of_trials_are_predicted_and_scored_as_the_whole(evaluated, heldout_fold, trained, monkeypatch):
    metrics, predictions = evaluated
    monkeypatch.setattr(pieces, "PIECE_VALUES", 1)
    in_pieces, run = values_of(metrics), read_json(trained / RUN_FILE)
    scored = metrics_of(heldout_fold, run, predictions)
    # The correlation of a constant is that of its rounding.
    undefined = {name for name in in_pieces if name.endswith("training_mean/r") and "raw" not in name}
    found = {name: value for name, value in values_of(scored).items() if name not in undefined}
    expected = {name: value for name, value in in_pieces.items() if name not in undefined}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
    _, again = evaluate(heldout_fold, trained)
    for name, array in predictions.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_skill_compares_with_the_best_trivial_reference(evaluated):
    values = values_of(evaluated[0])
    for part, space, checkpoint in product(("validation", "test"), SPACES, ("best", "last")):
        best = min(values[f"{part}/{space}/onset/reference/{name}/mse"] for name in REFERENCES)
        prefix = f"{part}/{space}/onset/{checkpoint}/mean"
        assert values[f"{prefix}/skill"] == pytest.approx(1 - values[f"{prefix}/mse"] / best)


def test_references_in_the_metrics_are_scored_on_the_same_values(evaluated, heldout_fold):
    values = values_of(evaluated[0])
    rows, train_rows = heldout_fold.parts["test"], heldout_fold.parts["train"]
    mask, train_mask = heldout_fold.raw.mask[rows], heldout_fold.raw.mask[train_rows]
    raw = heldout_fold.raw.values
    for name, reference in TRIVIAL.items():
        predicted = reference(raw[train_rows], train_mask, raw[rows], mask)
        for metric, expected in score(raw[rows], predicted, mask).items():
            found = values[f"test/raw/onset/reference/{name}/{metric}"]
            assert found == pytest.approx(expected, nan_ok=True)
    best = best_reference(select(scores_of(evaluated[0]), part="test", space="raw", metric="r2_neuron"))
    assert best.value == max(values[f"test/raw/onset/reference/{other}/r2_neuron"] for other in REFERENCES)
    assert best.value == values[f"test/raw/onset/reference/{best.estimate}/r2_neuron"]


def test_a_score_that_is_not_defined_is_not_the_best():
    scores = [Score("test", "raw", "onset", "reference", str(value), "r", value) for value in (np.nan, -2.0, -1.0)]
    assert best_reference([*scores, Score("test", "raw", "onset", "best", "mean", "r", 0.5)]).value == -1


def test_the_published_definition_is_scored_on_a_draw(evaluated, heldout_fold, tiny):
    metrics, predictions = evaluated
    rows = heldout_fold.parts["validation"]
    mask, true = heldout_fold.raw.mask[rows], heldout_fold.observed[rows].astype(float)
    drawn = predictions["validation_last_sampled"].astype(float)
    assert not np.allclose(drawn, predictions["validation_last"])
    scores = []
    for start in range(0, len(rows), tiny.batch_size):
        some = slice(start, start + tiny.batch_size)
        x, y = true[some][mask[some]], drawn[some][mask[some]]
        scores.append(1 - ((x - y) ** 2).sum() / ((x - x.mean()) ** 2).sum())
    prefix = "validation/pca/onset/last/sampled"
    assert values_of(metrics)[f"{prefix}/r2_batched"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert values_of(metrics)[f"{prefix}/r2_pooled"] == pytest.approx(
        r2_score(true[mask].ravel(), drawn[mask].ravel()), abs=1e-6
    )


def test_evaluating_twice_gives_the_same_bits(evaluated, heldout_fold, trained):
    torch.manual_seed(99)
    metrics, predictions = evaluate(heldout_fold, trained)
    assert metrics == evaluated[0]
    for name, array in predictions.items():
        np.testing.assert_array_equal(array, evaluated[1][name])


def test_a_published_run_is_scored_on_validation(published_fold, tiny, make_key, tmp_path):
    key = make_key(protocol="published", split=1, seed=1)
    train(published_fold, key, replace(tiny, epochs=1), tmp_path, ABOUT)
    metrics, predictions = evaluate(published_fold, tmp_path)
    assert metrics["scored_part"] == "validation"
    assert set(values_of(metrics)) == all_keys(("validation",), "onset")
    np.testing.assert_array_equal(predictions["validation_rows"], published_fold.parts["validation"])
    assert predictions["validation_best"].shape[1] == 15


def test_a_baseline_makes_it_another_task(small, tiny, make_key, tmp_path):
    assert task_of(PRESETS["v1"]) == "onset"
    assert task_of(PRESETS["v5"]) == "onset5"
    spec = replace(tiny, observations="neurons-baseline", epochs=1)
    fold = heldout(small, "neurons-baseline", split=0, settings=HELDOUT_SMALL)
    train(fold, make_key(), spec, tmp_path, ABOUT)
    metrics, predictions = evaluate(fold, tmp_path)
    assert set(values_of(metrics)) == all_keys(("validation", "test"), "onset5")
    # In recorded units the baseline is added back.
    rows = fold.parts["test"]
    mask = fold.raw.mask[rows]
    z = predictions["test_best"] + fold.baseline[rows][:, None]
    raw = z * fold.preprocessor.neuron_scale + fold.preprocessor.neuron_mean
    expected = r2_score(fold.raw.values[rows][mask], raw[mask], multioutput="variance_weighted")
    assert values_of(metrics)["test/raw/onset5/best/mean/r2_neuron"] == pytest.approx(expected, abs=1e-5)


def test_perfect_observations_are_perfect_only_as_far_as_pca_goes(small, heldout_fold):
    rows = heldout_fold.parts["test"]

    def r2_neuron(fold) -> dict[str, float]:
        references = reference_scores(fold, "test", "onset", 8)
        scores = model_scores(fold, "test", "onset", "best", fold.observed[rows], references)
        return {score.space: score.value for score in select(scores, metric="r2_neuron")}

    scores = r2_neuron(heldout_fold)
    assert scores["pca"] == 1
    mask, raw = heldout_fold.raw.mask[rows], heldout_fold.raw.values[rows].astype(float)
    components = heldout_fold.preprocessor.components
    centred = raw[mask] - heldout_fold.preprocessor.neuron_mean
    projected = centred @ components.T @ components + heldout_fold.preprocessor.neuron_mean
    expected = r2_score(raw[mask], projected, multioutput="variance_weighted")
    assert scores["raw"] == pytest.approx(expected, abs=1e-5)
    assert expected < 0.95
    neurons = heldout(small, "neurons-baseline", split=0, settings=HELDOUT_SMALL)
    assert r2_neuron(neurons) == pytest.approx(dict.fromkeys(SPACES, 1), abs=1e-9)


def test_a_diverged_run_has_references_only(heldout_fold, diverged):
    metrics, predictions = evaluate(heldout_fold, diverged)
    assert metrics["status"] == "diverged"
    assert set(values_of(metrics)) == reference_keys(("validation", "test"), "onset")
    assert set(predictions) == {"validation_rows", "test_rows"}


def test_events_are_scored_on_test_trials_of_a_recording_that_has_some(small):
    activity = np.where(small.activity > np.quantile(small.activity, 0.7), small.activity, 0)
    fold = heldout(replace(small, activity=activity), "neurons", split=0, settings=HELDOUT_SMALL)
    assert fold.events == "sparse"
    truth = {part: np.asarray(fold.truth(part, "raw")) for part in ("validation", "test")}
    found = {score.metric: score for score in event_scores_of(fold, "onset", "best", "mean", truth)}
    assert set(found) == {"event_auc", "bits_per_event", "n_events", "auc_left_out"}
    assert found["event_auc"].name == "test/raw/onset/best/mean/event_auc"
    assert found["event_auc"].value == 1 and found["bits_per_event"].value > 1
    references = {
        score.estimate: score.value
        for score in event_scores_of_references(fold, "onset")
        if score.metric == "bits_per_event"
    }
    assert set(references) == set(TRIVIAL)
    # Two validation trials calibrate badly, which may cost a guess some bits and gains it none.
    assert references["training_mean"] < 0.05 and max(references.values()) < found["bits_per_event"].value
    # Test trials alone may change, and the calibration does not.
    worse = truth | {"test": np.roll(truth["test"], 3, axis=1)}
    assert event_scores_of(fold, "onset", "best", "mean", worse)[1].value < found["bits_per_event"].value


def test_no_events_are_scored_where_nothing_is_left_to_calibrate_on(small, heldout_fold):
    activity = np.where(small.activity > 1, small.activity, 0)
    settings = PUBLISHED_DEFAULTS | {
        "bins": 15,
        "duration_s": 2.0,
        "drop_first_trials": 0,
        "landmarks": 12,
        "holdout": 3,
    }
    fold = published(replace(small, activity=activity), "pca", split=1, settings=settings)
    assert event_scores_of_references(fold, "onset") == []
    assert heldout_fold.events == "dense" and event_scores_of_references(heldout_fold, "onset") == []
