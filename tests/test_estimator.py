"""The estimator: the same model as the workflow's, in the shape of scikit-learn."""

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import HELDOUT_SMALL
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils.estimator_checks import check_estimator

import odevae
from odevae import ODEVAE
from odevae.benchmark.models.ode_vae import V1, V5
from odevae.data.recording import Recording
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.estimator.estimator import MODELS
from odevae.estimator.inputs import InputError
from odevae.metrics import moments
from odevae.models.presets import PRESETS
from odevae.models.solvers import TOLERANCE
from odevae.protocols.recipes import heldout
from odevae.training.shooting import LIGHT

QUICK = {"latent_dim": 2, "max_epochs": 2, "random_state": 3}


def arrays_of(trials: Trials) -> list[np.ndarray]:
    return [values[inside] for values, inside in zip(trials.values, trials.recorded, strict=True)]


@pytest.fixture(scope="module")
def parts(small) -> dict[str, Trials]:
    fold = heldout(small, "neurons", split=0, settings=HELDOUT_SMALL)
    return {name: fold.raw.take(rows) for name, rows in fold.parts.items()}


@pytest.fixture(scope="module")
def fitted(parts) -> ODEVAE:
    """v5 on trials in seconds; do not change it."""
    return ODEVAE(preset="v5", **QUICK).fit(parts["train"], validation=parts["validation"])


@pytest.fixture(scope="module")
def shooting(parts) -> ODEVAE:
    """Do not change it."""
    return ODEVAE(preset="shooting", **QUICK).fit(arrays_of(parts["train"]))


# The same model


@pytest.mark.parametrize(("preset", "benchmark_model"), [("v1", V1), ("v5", V5)])
def test_it_is_the_model_of_the_benchmark_and_so_of_the_workflow(preset, benchmark_model, parts):
    """tests/test_ode_vae_model.py compares that model with a run of the workflow, bit for bit."""
    theirs = benchmark_model(latent_dim=2, seed=3, epochs=2)
    theirs.fit(parts["train"], parts["validation"])
    ours = ODEVAE(preset=preset, **QUICK).fit(parts["train"], validation=parts["validation"])
    inside = parts["test"].recorded
    np.testing.assert_array_equal(ours.transform(parts["test"])[inside], theirs.infer(parts["test"])[inside])
    predicted = theirs.onset(parts["test"], 5)
    np.testing.assert_array_equal(ours.reconstruct(parts["test"])[inside], predicted[inside])
    assert ours.score(parts["test"]) == moments(parts["test"].values, predicted, inside).r2_neuron()
    assert ours.best_epoch_ == theirs.best.epoch
    assert [row["epoch"] for row in ours.history_] == [1, 2]
    assert ours.history_[ours.best_epoch_ - 1]["val_r2"] == theirs.best.score


@pytest.mark.parametrize("preset", MODELS)
def test_every_preset_fits_and_answers(preset, parts):
    model = ODEVAE(preset=preset, **QUICK).fit(arrays_of(parts["train"]))
    for trial, latents, predicted in zip(
        arrays_of(parts["test"]),
        model.transform(arrays_of(parts["test"])),
        model.reconstruct(arrays_of(parts["test"])),
        strict=True,
    ):
        assert latents.shape == (len(trial), 2) and predicted.shape == trial.shape
        assert np.isfinite(latents).all() and np.isfinite(predicted).all()
    assert np.isfinite(model.score(arrays_of(parts["test"])))


def test_settings_reach_the_training(parts):
    free, smooth = (
        ODEVAE(preset="v1", lambda_smooth=weight, **QUICK).fit(parts["train"], validation=parts["validation"])
        for weight in (0.0, 10.0)
    )
    assert free.history_[-1]["weight_smoothness"] == 0 and smooth.history_[-1]["weight_smoothness"] == 10
    impatient = ODEVAE(preset="v1", latent_dim=2, max_epochs=60, patience=1, random_state=3).fit(parts["train"])
    assert len(impatient.history_) == impatient.best_epoch_ + 1 < 60


def test_the_validation_trials_are_drawn_and_nothing_else_is_seen(parts):
    trials = arrays_of(parts["train"])
    model = ODEVAE(validation_fraction=0.25, **QUICK).fit(trials)
    assert len(model.validation_rows_) == round(0.25 * len(trials))
    train = [trial for row, trial in enumerate(trials) if row not in model.validation_rows_]
    same = ODEVAE(**QUICK).fit(train, validation=[trials[row] for row in model.validation_rows_])
    np.testing.assert_array_equal(same.transform(trials[:1])[0], model.transform(trials[:1])[0])
    assert same.validation_rows_ is None
    other = ODEVAE(**(QUICK | {"random_state": 4})).fit(trials)
    assert not np.array_equal(other.transform(trials[:1])[0], model.transform(trials[:1])[0])


def test_without_a_random_state_each_fit_is_another(parts):
    first, second = (ODEVAE(preset="v1", latent_dim=2, max_epochs=1).fit(parts["train"]) for _ in range(2))
    assert not np.array_equal(first.transform(parts["test"]), second.transform(parts["test"]), equal_nan=True)


# Forms of trials


def test_a_list_an_array_and_trials_give_the_same_answers(parts):
    n_frames = int(parts["train"].recorded.sum(axis=1).min())
    array = parts["train"].values[:, :n_frames]
    as_trials = Trials(
        values=array,
        mask=np.ones(array.shape[:2], dtype=bool),
        recorded=np.ones(array.shape[:2], dtype=bool),
        times=np.tile(0.1 * np.arange(n_frames), (len(array), 1)),
        trial_ids=np.arange(len(array)),
    )
    answers = {}
    for form, X in (("array", array), ("list", list(array)), ("trials", as_trials)):
        model = ODEVAE(**QUICK).fit(X)
        answers[form] = np.stack(list(model.transform(X))), np.stack(list(model.reconstruct(X)))
    for form in ("list", "trials"):
        for found, expected in zip(answers[form], answers["array"], strict=True):
            # The unit of time cancels, but for rounding.
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=form)


def test_answers_to_trials_are_nan_after_their_end(fitted, parts):
    test = parts["test"]
    for answer in (fitted.transform(test), fitted.reconstruct(test)):
        np.testing.assert_array_equal(np.isfinite(answer).all(axis=2), test.recorded)
    short = [trial[:1] for trial in arrays_of(test)]
    assert [len(latents) for latents in fitted.transform(short)] == [1] * len(short)


def test_what_lies_outside_a_trial_is_not_read(fitted, parts):
    test = parts["test"]
    values = np.where(test.recorded[..., None], test.values, np.nan)
    np.testing.assert_array_equal(fitted.transform(replace(test, values=values)), fitted.transform(test))


def test_trials_are_left_as_they_were(parts):
    trials = arrays_of(parts["train"])
    before = [trial.copy() for trial in trials]
    ODEVAE(**QUICK).fit(trials).score(trials)
    for trial, expected in zip(trials, before, strict=True):
        np.testing.assert_array_equal(trial, expected)


# Forecasts and samples


def test_a_forecast_is_how_the_path_goes_on(fitted, parts):
    """From the first five frames, all that the encoder sees, it is the rest of the reconstruction."""
    for trial in arrays_of(parts["test"]):
        forecast = fitted.forecast([trial[:5]], n_frames=len(trial) - 5)
        assert forecast.shape == (1, len(trial) - 5, 12)
        np.testing.assert_array_equal(forecast[0], fitted.reconstruct([trial])[0][5:])


def test_a_forecast_begins_after_the_end_of_each_trial(fitted, parts):
    beginnings = [trial[:n] for trial, n in zip(arrays_of(parts["test"]), (5, 8), strict=False)]
    together = fitted.forecast(beginnings, n_frames=4)
    for beginning, forecast in zip(beginnings, together, strict=True):
        alone = fitted.forecast([beginning], n_frames=4)[0]
        np.testing.assert_allclose(forecast, alone, atol=10 * TOLERANCE * np.abs(alone).max())


def test_samples_are_draws_from_the_prior(fitted):
    sample = fitted.sample(5, n_frames=7, random_state=0)
    assert sample.shape == (5, 7, 12) and np.isfinite(sample).all()
    np.testing.assert_array_equal(fitted.sample(5, n_frames=7, random_state=0), sample)
    assert not np.array_equal(fitted.sample(5, n_frames=7, random_state=1), sample)
    assert len({trial.tobytes() for trial in sample}) == 5
    assert fitted.sample().shape == (1, fitted.n_frames_, 12)


@pytest.mark.parametrize("method", ["forecast", "sample"])
def test_shooting_says_what_it_has_not(shooting, parts, method):
    arguments = {"forecast": (arrays_of(parts["test"]), 3), "sample": (2,)}[method]
    with pytest.raises(OdevaeError, match=f"the preset shooting has no {method}; fit one of v1, v2, v3, v4, v5, v6"):
        getattr(shooting, method)(*arguments)


def test_an_interval_has_the_form_of_the_trials(shooting, fitted, parts):
    X = arrays_of(parts["test"])
    lower, upper = shooting.interval(X, 0.5)
    for trial, low, high in zip(X, lower, upper, strict=True):
        assert low.shape == high.shape == trial.shape and (low <= high).all() and (low < high).any()
    with pytest.raises(OdevaeError, match="the preset v5 has no interval; fit shooting for it"):
        fitted.interval(X)
    with pytest.raises(InputError, match=r"coverage is 90; give a share between 0 and 1"):
        shooting.interval(X, 90)


def test_max_epochs_shortens_the_fit_of_shooting(shooting, parts):
    # A pass has no more batches than trials.
    n_trials = len(parts["train"]) - len(shooting.validation_rows_)
    assert shooting._model.settings.steps == 2 * min(LIGHT.batches, n_trials)
    assert len(shooting.history_) > 0 and shooting.best_epoch_ is None


# Files


@pytest.mark.parametrize("name", ["fitted", "shooting"])
def test_a_saved_model_gives_the_same_answers(name, request, parts, tmp_path):
    model, path, test = request.getfixturevalue(name), tmp_path / "model.odevae", parts["test"]
    X = test if name == "fitted" else arrays_of(test)
    model.save(path)
    again = ODEVAE.load(path)
    for method in ("transform", "reconstruct"):
        for found, expected in zip(getattr(again, method)(X), getattr(model, method)(X), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert again.score(X) == model.score(X)
    assert again.get_params() == model.get_params()
    public = {key for key in vars(model) if key.endswith("_") and key != "network_"}
    assert {key: repr(vars(again)[key]) for key in public} == {key: repr(vars(model)[key]) for key in public}
    if name == "fitted":
        np.testing.assert_array_equal(again.forecast(X, 3), model.forecast(X, 3))
        np.testing.assert_array_equal(again.sample(2, random_state=0), model.sample(2, random_state=0))
    with np.load(path, allow_pickle=False) as file:
        saved = {key: file[key] for key in file.files}
    # No trial comes with it.
    assert not any(array.shape[1:] == parts["train"].values.shape[1:] for array in saved.values())


def test_a_generator_is_not_saved(parts, tmp_path):
    model = ODEVAE(preset="v1", latent_dim=np.int64(2), max_epochs=1, random_state=np.random.RandomState(0))
    model.fit(parts["train"]).save(tmp_path / "model.npz")
    assert ODEVAE.load(tmp_path / "model.npz").random_state is None


def test_what_is_no_saved_model_is_refused(fitted, tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(OdevaeError, match="there is no such file; check the path of the saved model"):
        ODEVAE.load(path)
    fitted.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(OdevaeError, match="is no model that this version of odevae saved, or is damaged"):
        ODEVAE.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(OdevaeError, match="is no model that this version of odevae saved, or is damaged"):
        ODEVAE.load(path)


# Mistakes


def with_nan(trials: list[np.ndarray]) -> list[np.ndarray]:
    bad = trials[1].copy()
    bad[2, 3] = np.nan
    return [trials[0], bad, *trials[2:]]


MISTAKES = {
    "NaN": (with_nan, "X is NaN, infinite or too large for float32 in 1 values, first in trial 1, frame 2, neuron 3; "),
    "too large": (lambda trials: [1e39 * np.ones((4, 12)), *trials], "too large for float32 in 48 values"),
    "neurons": (lambda trials: [*trials, trials[0][:, :4]], r"trial \d+ of X has 4 neurons, but trial 0 has 12; "),
    "one trial": (
        lambda trials: trials[:1],
        r"X has 1 trial\(s\), n_samples = 1, too few to hold 1 out",
    ),
    "no trial": (lambda trials: [], "X has 0 trials; give at least one"),
    "frames": (lambda trials: trials[0], r"X is an array of 2 dimensions, shape \(\d+, 12\); give a list of arrays"),
    "neuron by neuron": (lambda trials: [trials[0][0]], r"trial 0 of X has 1 dimensions, shape \(12,\); give a list"),
    "one frame": (lambda trials: [*trials, trials[0][:1]], r"has 1 frame\(s\), but a trial needs 2 or more here"),
    "text": (lambda trials: [np.full((3, 2), "a")], "trial 0 of X has values that are no numbers"),
    "number": (lambda trials: 3, "X is of type int; give a list of arrays"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_trials_that_cannot_be_used_are_refused_before_training(mistake, parts, monkeypatch):
    change, sentence = MISTAKES[mistake]
    monkeypatch.setattr(V5, "fit", lambda *_: pytest.fail("training has begun"))
    with pytest.raises(InputError, match=sentence) as caught:
        ODEVAE(**QUICK).fit(change(arrays_of(parts["train"])))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"preset": "v7"}, "preset is 'v7'; choose one of v1, v2, v3, v4, v5, v6, shooting"),
        ({"latent_dim": 0}, "latent_dim is 0; give a whole number"),
        ({"latent_dim": 2.5}, "latent_dim is 2.5; give a whole number"),
        ({"max_epochs": 0}, "max_epochs is 0; give a whole number, 1 or more, or None"),
        ({"patience": True}, "patience is True; give a whole number"),
        ({"preset": "shooting", "patience": 3}, "the preset shooting has no patience"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0; give a share between 0 and 1"),
        ({"lambda_smooth": -1.0}, "lambda_smooth is -1.0; give a number, 0 or more"),
        ({"lambda_smooth": float("nan")}, "lambda_smooth is nan; give a number, 0 or more"),
        ({"random_state": -1}, "random_state is -1; give 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence, parts):
    with pytest.raises(InputError, match=sentence):
        ODEVAE(**(QUICK | settings)).fit(parts["train"])


def test_other_neurons_and_another_clock_than_those_of_training_are_refused(fitted, parts):
    with pytest.raises(InputError, match="X has 4 neurons, but the model was fitted on 12; give the same neurons"):
        fitted.transform([np.zeros((5, 4))])
    slow = replace(parts["test"], times=2 * parts["test"].times)
    with pytest.raises(InputError, match=r"X has steps of 0\.2 s between frames, .* was fitted on frames every 0\.1 s"):
        fitted.transform(slow)
    with pytest.raises(InputError, match="X has steps of"):
        ODEVAE(**QUICK).fit(parts["train"], validation=slow)
    # Arrays have no clock.
    assert len(fitted.transform(arrays_of(parts["test"]))) == len(parts["test"])


def test_trials_with_a_gap_or_with_padding_are_refused(parts):
    train = parts["train"]
    times = train.times + 0.3 * (np.arange(train.times.shape[1]) > 4) * (train.trial_ids == train.trial_ids[1])[:, None]
    sentence = f"trial {train.trial_ids[1]} of X: not at the steady frame interval of the others, 0.1 s"
    with pytest.raises(InputError, match=sentence):
        ODEVAE(**QUICK).fit(replace(train, times=times))
    with pytest.raises(InputError, match="X has trials that are padded"):
        ODEVAE(**QUICK).fit(replace(train, mask=np.ones_like(train.mask)))


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score"])
def test_it_has_to_be_fitted_first(method, parts):
    with pytest.raises(NotFittedError, match="This ODEVAE instance is not fitted yet"):
        getattr(ODEVAE(), method)(parts["test"])


def test_nothing_else_works_before_a_fit_either(parts, tmp_path):
    for call in (lambda m: m.forecast(parts["test"], 2), lambda m: m.sample(), lambda m: m.save(tmp_path / "a.npz")):
        with pytest.raises(NotFittedError):
            call(ODEVAE())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_frames", [0, 1.5])
def test_a_forecast_is_of_whole_frames(fitted, parts, n_frames):
    with pytest.raises(InputError, match="give a whole number, 1 or more"):
        fitted.forecast(parts["test"], n_frames)
    with pytest.raises(InputError, match="whole numbers, 1 or more"):
        fitted.sample(n_frames=n_frames)


# scikit-learn


class RowsAsTrials(ODEVAE):
    """For scikit-learn's checks, whose data are samples x features: each sample is a trial of two equal frames, each
    feature a neuron."""

    def __init__(self, latent_dim=2, preset="v1", max_epochs=1, validation_fraction=0.1, random_state=0):
        settings = {"max_epochs": max_epochs, "validation_fraction": validation_fraction, "random_state": random_state}
        super().__init__(latent_dim, preset, **settings)

    def fit(self, X, y=None):
        return super().fit(self._as_trials(X))

    def transform(self, X):
        return super().transform(self._as_trials(X))[:, -1]

    def score(self, X, y=None):
        return super().score(self._as_trials(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags

    @staticmethod
    def _as_trials(X):
        if hasattr(X, "toarray"):
            return X
        X = np.asarray(X)
        return np.stack([X, X], axis=1) if X.ndim == 2 else X


EXPECTED_TO_FAIL = {
    "check_n_features_in_after_fitting": "the sentence says neurons, where scikit-learn wants it to say features",
    "check_dtype_object": "values that are no numbers are a ValueError that names the trial, not a TypeError",
    "check_methods_subset_invariance": "trials are solved together, so others change a path within its tolerance",
}


@pytest.mark.slow
def test_scikit_learn_accepts_it_as_far_as_trials_allow():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            RowsAsTrials(), expected_failed_checks=EXPECTED_TO_FAIL, on_skip=None, on_fail="raise"
        )
    of_status = {status: {r["check_name"] for r in results if r["status"] == status} for status in ("passed", "xfail")}
    assert of_status["xfail"] == set(EXPECTED_TO_FAIL)
    assert len(of_status["passed"]) > 35


def test_scikit_learn_skips_its_checks_for_arrays_of_three_dimensions():
    """`ODEVAE` itself says what it takes, so what is left of the checks passes."""
    with pytest.warns(match="Can't test estimator ODEVAE"):
        assert {result["status"] for result in check_estimator(ODEVAE())} == {"passed"}


def test_it_is_a_part_of_a_search(parts):
    search = GridSearchCV(ODEVAE(preset="v1", max_epochs=1, random_state=0), {"latent_dim": [1, 2]}, cv=KFold(2))
    search.fit(arrays_of(parts["train"]))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.network_.latent_dim == search.best_params_["latent_dim"]


def test_it_can_be_cloned_and_changed(fitted):
    copy = clone(fitted).set_params(latent_dim=4)
    assert copy.get_params() == fitted.get_params() | {"latent_dim": 4}
    assert not hasattr(copy, "network_")


# What is shown, and what is imported


def test_a_bar_shows_the_epochs_where_someone_watches(parts, monkeypatch, capsys):
    quiet = ODEVAE(preset="v1", **QUICK).fit(parts["train"])
    assert capsys.readouterr() == ("", "")
    clone(quiet).set_params(verbose=True).fit(parts["train"])
    shown = capsys.readouterr().err
    assert "v1 with 2 latent dimensions: 100%" in shown and "2/2" in shown and "validation_R2=" in shown
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    clone(quiet).fit(parts["train"])
    assert "2/2" in capsys.readouterr().err


def test_importing_odevae_imports_nothing_heavy():
    code = """
import sys, odevae
assert not {"torch", "sklearn", "numpy"} & set(sys.modules)
assert "ODEVAE" in dir(odevae)
odevae.ODEVAE
assert "torch" in sys.modules and not {"matplotlib", "mlflow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="module 'odevae' has no attribute 'odevea'"):
        odevae.odevea  # noqa: B018


def test_a_recording_without_dynamics_is_no_trial(small: Recording):
    """Not even a whole recording is taken for one."""
    with pytest.raises(InputError, match="X is of type Recording"):
        ODEVAE(**QUICK).fit(small)


def test_presets_are_those_of_the_workflow():
    assert [*PRESETS, "shooting"] == list(MODELS)
