from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import fitted

from odevae.benchmark.models.means import (
    N_BINS,
    NeuronsPositionChoice,
    Persistence,
    PositionChoiceMean,
    PositionMean,
    TrainingMean,
    TrialTimeMean,
)
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

AVERAGES = (TrainingMean, TrialTimeMean, PositionMean, PositionChoiceMean)


@pytest.fixture
def make_trials(make_trials):
    """Trials of given lengths that run along a track of 100 with noise, and whose choice alternates between 0 and 1."""

    def make(lengths, seed: int = 0) -> Trials:
        trials = make_trials(lengths, seed=seed)
        along = np.arange(trials.recorded.shape[1]) / (trials.recorded.sum(axis=1)[:, None] - 1)
        place = 100 * along + np.random.default_rng(seed).uniform(size=along.shape)
        choice = np.broadcast_to(np.arange(len(trials))[:, None] % 2.0, trials.recorded.shape)
        return replace(trials, covariates={"Position": place, "Choice": choice})

    return make


@pytest.fixture
def train(make_trials):
    return make_trials([12, 9, 10, 12, 7, 8])


@pytest.fixture
def held_out(make_trials):
    return make_trials([8, 14, 10], seed=1)


def test_training_mean(train, held_out):
    found = fitted(TrainingMean(), train).reconstruct(held_out)
    mean = train.values[train.recorded].mean(axis=0)
    np.testing.assert_allclose(found, np.broadcast_to(mean, held_out.values.shape), rtol=1e-5)


def test_trial_time_mean_by_hand(train, held_out):
    found = fitted(TrialTimeMean(), train).reconstruct(held_out)
    np.testing.assert_allclose(found[1, 0], train.values[:, 0].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[1, 11], train.values[[0, 3], 11].mean(axis=0), rtol=1e-5)
    # No training trial has 13 frames.
    np.testing.assert_allclose(found[1, 12:], np.tile(train.values[train.recorded].mean(axis=0), (2, 1)), rtol=1e-5)


@pytest.mark.parametrize("choice", [None, "Choice"])
def test_position_means_against_pandas(train, held_out, choice):
    kind = fitted(PositionMean(choice=choice), train)
    place, chosen = (train.covariates[name][train.recorded] for name in ("Position", "Choice"))
    bins = pd.qcut(place, kind.n_bins, labels=False)
    keys = [bins, chosen] if choice else [bins]
    expected = pd.DataFrame(train.values[train.recorded]).groupby(keys).transform("mean")
    np.testing.assert_allclose(kind.reconstruct(train)[train.recorded], expected, rtol=1e-5)
    assert np.isfinite(kind.reconstruct(held_out)).all()


def test_position_choice_mean_is_the_position_mean_for_each_choice(train):
    one, other = PositionChoiceMean(), PositionMean(choice="Choice")
    np.testing.assert_array_equal(fitted(one, train).reconstruct(train), fitted(other, train).reconstruct(train))


def test_the_cells_of_a_readout_are_those_of_the_means(train, held_out):
    model = fitted(NeuronsPositionChoice(), train)
    latents, n_neurons = model.infer(held_out), train.values.shape[2]
    np.testing.assert_array_equal(latents[..., :n_neurons], held_out.values)
    cells = latents[..., n_neurons:]
    assert set(np.unique(cells)) == {0, 1} and (cells.sum(axis=2) == 1).all()
    means = fitted(PositionChoiceMean(), train)
    np.testing.assert_allclose(cells @ means._map.means, means.reconstruct(held_out), rtol=1e-6)


def test_what_training_never_met_falls_back_on_what_it_did(train, held_out):
    by_place, by_choice = fitted(PositionMean(), train), fitted(PositionChoiceMean(), train)
    by_choice._map = by_choice._fitted(train, by_place.n_bins)
    strange = replace(held_out, covariates=held_out.covariates | {"Choice": np.full(held_out.recorded.shape, 7.0)})
    np.testing.assert_allclose(by_choice.reconstruct(strange), by_place.reconstruct(strange))
    nowhere = replace(held_out, covariates=held_out.covariates | {"Position": np.full(held_out.recorded.shape, np.nan)})
    mean = train.values[train.recorded].mean(axis=0)
    np.testing.assert_allclose(by_place.reconstruct(nowhere), np.broadcast_to(mean, held_out.values.shape), rtol=1e-5)


def test_validation_trials_choose_the_number_of_bins(make_trials):
    """Activity that turns over ten times along the track needs fine bins; activity that does not, coarse ones."""
    generator = np.random.default_rng(0)
    train, validation = make_trials([40] * 20), make_trials([40] * 6, seed=1)

    def noisy(trials: Trials, turns: int) -> Trials:
        activity = np.sin(2 * np.pi * turns * trials.covariates["Position"] / 101)[..., None]
        return replace(trials, values=activity + 0.5 * generator.standard_normal(trials.values.shape))

    for turns, n_bins in ((0, N_BINS[0]), (10, N_BINS[-1])):
        assert fitted(PositionMean(), noisy(train, turns), noisy(validation, turns)).n_bins == n_bins


def test_covariates_that_cannot_serve_are_refused(train):
    with pytest.raises(OdevaeError, match="no covariate 'Speed' in the trials; name one of Position, Choice"):
        fitted(PositionMean(position="Speed"), train)
    with pytest.raises(OdevaeError, match="the recording has no behaviour"):
        fitted(PositionMean(), replace(train, covariates={}))
    with pytest.raises(
        OdevaeError, match=r"'Position' has .* values in the training trials, but a map for each choice"
    ):
        fitted(PositionMean(choice="Position"), train)


@pytest.mark.parametrize("kind", AVERAGES)
def test_averages_do_not_look_at_the_trial(kind, train, held_out):
    model = fitted(kind(), train)
    whole = model.reconstruct(held_out)
    blind = replace(held_out, values=np.full_like(held_out.values, np.nan))
    np.testing.assert_array_equal(model.reconstruct(blind), whole)
    np.testing.assert_array_equal(model.onset(blind, 1), whole)
    ahead = model.forecast(blind, 3)
    assert np.isnan(ahead[:, :3]).all()
    np.testing.assert_array_equal(ahead[:, 3:], whole[:, 3:])


@pytest.mark.parametrize("kind", AVERAGES)
def test_values_outside_the_recorded_trial_count_for_nothing(kind, train, held_out):
    filled = replace(train, values=np.where(train.recorded[..., None], train.values, np.nan))
    found, expected = (fitted(kind(), trials).reconstruct(held_out) for trials in (filled, train))
    np.testing.assert_array_equal(found, expected)


def test_persistence(held_out):
    model = fitted(Persistence(), held_out)
    ahead = model.forecast(held_out, 3)
    assert np.isnan(ahead[:, :3]).all()
    np.testing.assert_array_equal(ahead[:, 3:], held_out.values[:, :-3])
    assert np.isnan(model.forecast(held_out, 20)).all()


def test_persistence_holds_the_last_frame_that_was_seen(held_out):
    held = fitted(Persistence(), held_out).onset(held_out, 9)
    # The first trial has eight frames only.
    for trial, last in enumerate([7, 8, 8]):
        np.testing.assert_array_equal(held[trial], np.tile(held_out.values[trial, last], (14, 1)))


def test_what_the_references_answer():
    tasks = ("reconstruct", "onset", "forecast", "infer")
    for kind in AVERAGES:
        assert [kind.answers(task) for task in tasks] == [True, True, True, False]
    assert [Persistence.answers(task) for task in tasks] == [False, True, True, False]
