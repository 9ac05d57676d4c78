"""The tasks of the benchmark, asked of models whose answers are known."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from odevae.benchmark.decoding import decode, is_class, pseudo_session
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.scoring import all_scores
from odevae.benchmark.tasks import HELD_OUT_NEURONS, cosmooth, forecast, held_out_neurons, onset
from odevae.data.trials import Trials

N_NEURONS, DIM = 8, 2
MIXING = np.random.default_rng(1).standard_normal((DIM, N_NEURONS))


def make_trials(lengths, seed: int) -> Trials:
    """Activity that is exactly two-dimensional; zeros outside the trials."""
    generator = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    mask = np.arange(lengths.max()) < lengths[:, None]
    latents = np.where(mask[..., None], np.cumsum(generator.standard_normal((*mask.shape, DIM)), axis=1), 0.0)
    choice = np.broadcast_to((np.arange(len(lengths)) % 2)[:, None], mask.shape)
    return Trials(
        values=(latents @ MIXING).astype(np.float32) * mask[..., None],
        mask=mask,
        recorded=mask,
        times=np.where(mask, 0.1 * np.arange(mask.shape[1]), 0.0),
        trial_ids=np.arange(len(lengths)),
        covariates={"x": np.where(mask, latents[..., 0], 0.0), "Choice": np.where(mask, choice, 0.0)},
        latents=latents,
    )


@pytest.fixture(scope="module")
def parts():
    return make_trials([9, 12, 10, 11] * 5, 2), make_trials([8, 12], 3), make_trials([10, 7, 12], 4)


class Oracle(BenchmarkModel):
    """Reads the true latents off any of its neurons, and holds the last frame it saw."""

    fitted_on = None

    def fit(self, train, validation):
        self.fitted_on = (train, validation)
        self.reader = np.linalg.pinv(self._mixing(train))

    def _mixing(self, trials):
        solved, *_ = np.linalg.lstsq(trials.latents[trials.mask], trials.values[trials.mask], rcond=None)
        return solved

    def infer(self, trials):
        return trials.values @ self.reader

    def reconstruct(self, trials):
        return trials.values.astype(float)

    def onset(self, trials, n_frames):
        held = trials.values[:, n_frames - 1 : n_frames]
        return np.concatenate([trials.values[:, :n_frames], np.repeat(held, trials.mask.shape[1] - n_frames, 1)], 1)

    def forecast(self, trials, horizon):
        predicted = np.full(trials.values.shape, np.nan)
        predicted[:, horizon:] = trials.values[:, :-horizon]
        return predicted


def test_forecasts_and_onsets_are_scored_where_there_is_something_to_predict(parts):
    _, _, test = parts
    model = Oracle()
    for horizon in (1, 3):
        counted = np.maximum(test.mask.sum(axis=1) - horizon, 0).sum()
        assert forecast(model, test, horizon)["n_values"] == counted * N_NEURONS
        assert onset(model, test, horizon)["n_values"] == counted * N_NEURONS


def test_latents_that_are_complete_give_every_held_out_neuron(parts):
    def fit(train, validation):
        model = Oracle()
        model.fit(train, validation)
        return model

    assert cosmooth(fit, *parts, draw=0)["r2_neuron"] == pytest.approx(1, abs=1e-6)


def test_draws_of_neurons_are_the_same_for_all_and_differ_from_each_other():
    draws = [held_out_neurons(40, draw) for draw in range(3)]
    assert all(draw.sum() == HELD_OUT_NEURONS * 40 for draw in draws)
    assert np.array_equal(draws[0], held_out_neurons(40, 0)) and not np.array_equal(draws[0], draws[1])
    assert held_out_neurons(2, 0).sum() == 1


def test_every_task_that_a_model_answers_is_scored(parts):
    class OnlyReconstructs(BenchmarkModel):
        def fit(self, train, validation):
            pass

        def reconstruct(self, trials):
            return np.zeros(trials.values.shape)

    assert set(all_scores(OnlyReconstructs, [DIM], *parts, ("x",), draw=0)[0][0]) == {"reconstruct"}
    ((scores, fit_s, _),) = all_scores(Oracle, [DIM], *parts, ("x", "Choice"), draw=1)
    assert fit_s > 0
    assert set(scores) >= {"reconstruct", "onset1", "onset5", "forecast@5", "cosmooth", "decode/Choice"}
    assert scores["reconstruct"]["r2_neuron"] == 1
    assert scores["decode/x"]["r2"] > 0.999 > scores["decode/x"]["null_95"]


def test_nothing_is_fitted_on_the_test_trials(parts):
    train, validation, test = parts
    poisoned = replace(test, values=np.full_like(test.values, np.nan))
    seen = []

    class Watches(Oracle):
        def fit(self, train, validation):
            super().fit(train, validation)
            assert all(np.isfinite(trials.values).all() for trials in self.fitted_on)
            seen.append(self.reader)

        def infer(self, trials):
            return np.nan_to_num(super().infer(trials))

    all_scores(Watches, [DIM], train, validation, test, ("x",), draw=0)
    all_scores(Watches, [DIM], train, validation, poisoned, ("x",), draw=0)
    assert len(seen) == 4
    assert all(np.array_equal(seen[i], seen[i + 2]) for i in (0, 1))


def test_a_pseudo_session_gives_each_trial_the_behaviour_of_another(parts):
    train, *_ = parts
    swapped = pseudo_session(train, "x", False, np.random.default_rng(0))
    assert np.isnan(swapped[~train.mask]).all() and np.isfinite(swapped[train.mask]).all()
    own = train.covariates["x"]
    for row in range(len(train)):
        last = train.mask[row].sum() - 1
        ends = (swapped[row, 0], swapped[row, last])
        donors = [k for k in range(len(train)) if (own[k, 0], own[k, train.mask[k].sum() - 1]) == pytest.approx(ends)]
        assert donors and row not in donors


def test_time_in_the_trial_alone_is_no_more_than_the_null():
    """A covariate that only grows with time is read from any latent clock, in pseudo-sessions as well."""
    parts = []
    for seed, n in ((0, 12), (1, 4), (2, 6)):
        trials = make_trials([10] * n, seed)
        clock = np.where(trials.mask, np.arange(10.0), 0.0)
        parts.append((np.repeat(clock[..., None], 2, axis=2), replace(trials, covariates={"Position": clock})))
    found = decode(*parts, ("Position",))["Position"]
    assert found["r2"] > 0.99
    assert found["null_mean"] > 0.99


def test_classes_are_distinguished_from_numbers(parts):
    train, *_ = parts
    assert is_class(train, "Choice") and not is_class(train, "x")


def test_tasks_of_models_without_latents_import_nothing_slow():
    code = "import sys, odevae.benchmark.scoring; print({'scipy', 'sklearn', 'torch'} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "set()"
