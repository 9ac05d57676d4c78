from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae.benchmark.models.neural import history_mlp
from odevae.benchmark.models.neural.history_mlp import HISTORY, HistoryMLP
from odevae.data.trials import Trials, cut
from odevae.errors import OdevaeError

HORIZONS = (1, 2, 3, 5, 10)
DECAY = 0.8


def decaying_events(lengths, n_neurons: int = 5, seed: int = 0) -> Trials:
    """Silence, and now and then an event of random size that decays to nothing within eight frames."""
    generator = np.random.default_rng(seed)
    n_bins = max(lengths)
    recorded = np.arange(n_bins) < np.asarray(lengths)[:, None]
    onset = (generator.random((len(lengths), n_bins, n_neurons)) < 0.03) * generator.uniform(0.5, 2, n_neurons)
    values = sum(np.pad(onset, ((0, 0), (k, 0), (0, 0)))[:, :n_bins] * DECAY**k for k in range(8))
    return Trials(
        values=np.where(recorded[..., None], values, 0).astype(np.float32),
        mask=recorded,
        recorded=recorded,
        times=np.where(recorded, 0.1 * np.arange(n_bins), 0.0),
        trial_ids=np.arange(len(lengths)),
    )


@pytest.fixture(scope="module")
def train():
    return decaying_events([40, 35, 30] * 8)


@pytest.fixture(scope="module")
def validation():
    return decaying_events([40, 33, 2] * 3, seed=1)


@pytest.fixture(scope="module")
def held_out():
    return decaying_events([40, 2, 28, 36], seed=2)


@pytest.fixture(scope="module")
def quick():
    """Training cut to what a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_mlp, "EPOCHS", 6)
        patch.setattr(history_mlp, "STEPS_PER_EPOCH", 25)
        patch.setattr(history_mlp, "BATCH", 128)
        patch.setattr(history_mlp, "LEARNING_RATE", 0.01)
        patch.setattr(history_mlp, "AVERAGING", 0.8)
        yield


@pytest.fixture(scope="module")
def model(quick, train, validation):
    model = HistoryMLP(seed=0)
    model.fit(train, validation)
    return model


def errors(model, trials: Trials, horizon: int) -> np.ndarray:
    counted = trials.recorded[:, horizon:]
    return (model.forecast(trials, horizon) - trials.values)[:, horizon:][counted]


def test_every_bin_from_the_horizon_on_is_forecast(model, held_out):
    for horizon in HORIZONS:
        found = model.forecast(held_out, horizon)
        assert found.shape == held_out.values.shape
        assert np.isnan(found[:, :horizon]).all()
        assert np.isfinite(found[:, horizon:]).all()
        assert found[:, horizon:].min() >= 0  # as in training


def test_it_learns_the_shape_of_an_event(model, held_out):
    # At short horizons most of the error is new events, which nothing can foresee.
    for horizon in (5, 10):
        counted = held_out.recorded[:, horizon:]
        held = (held_out.values[:, horizon:] - held_out.values[:, :-horizon])[counted]
        assert (errors(model, held_out, horizon) ** 2).mean() < 0.8 * (held**2).mean()


def test_the_same_seed_gives_the_same_forecast_and_disturbs_no_other_draw(quick, model, train, validation, held_out):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    again, other = HistoryMLP(seed=0), HistoryMLP(seed=1)
    again.fit(train, validation)
    assert torch.rand(1) == expected
    other.fit(train, validation)
    np.testing.assert_array_equal(again.forecast(held_out, 3), model.forecast(held_out, 3))
    assert np.nanmax(np.abs(other.forecast(held_out, 3) - model.forecast(held_out, 3))) > 1e-4


@settings(max_examples=15, deadline=None)
@given(horizon=st.sampled_from(HORIZONS), unseen=st.integers(0, 39), poison=st.sampled_from([np.nan, -1e6, 0.0, 2.0]))
def test_no_forecast_looks_at_what_is_not_past(model, held_out, horizon, unseen, poison):
    values = held_out.values.copy()
    values[:, unseen:] = poison
    found = model.forecast(replace(held_out, values=values), horizon)[:, : unseen + horizon]
    expected = model.forecast(held_out, horizon)[:, : unseen + horizon]
    # Rows of a matrix product round differently in other company.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_neuron_is_forecast_from_its_own_last_frames(model, held_out):
    values = held_out.values.copy()
    values[..., 1:] = 1.0
    values[:, 20 - HISTORY] += 5.0
    found, expected = (model.forecast(trials, 1)[:, :, 0] for trials in (replace(held_out, values=values), held_out))
    np.testing.assert_allclose(found[:, 21:], expected[:, 21:], atol=1e-5)
    assert np.abs(found[:, 20] - expected[:, 20]).max() > 1e-4


def test_values_outside_the_recorded_trial_change_nothing(quick, model, train, validation, held_out):
    filled = [
        replace(trials, values=np.where(trials.recorded[..., None], trials.values, np.float32(7)))
        for trials in (train, validation, held_out)
    ]
    other = HistoryMLP(seed=0)
    other.fit(*filled[:2])
    found, expected = other.forecast(filled[2], 2), model.forecast(held_out, 2)
    np.testing.assert_allclose(found[held_out.recorded], expected[held_out.recorded], atol=1e-5)


def test_neurons_get_their_mean_residual_back(model, train):
    for horizon in (1, 10):
        network = model._from_network(train, horizon)
        counted = train.recorded[:, horizon:]
        biased = (train.values - network)[:, horizon:][counted].mean(axis=0)
        raised = np.maximum(network + biased, 0)
        np.testing.assert_allclose(model.forecast(train, horizon), raised, atol=1e-6)
        assert np.abs(biased).max() > 1e-3


def test_silent_histories_count_as_they_would_one_by_one(model, train):
    """The error from one silent window and its weight, against the squared errors of all forecasts but a constant."""
    windows = model._windows(train)
    with torch.no_grad():
        found = windows.error(model._networks[0], np.arange(len(windows)))
    ratios = []
    for output, horizon in enumerate(HORIZONS):
        scaled = model._scaled(train.values)
        counted = train.recorded[:, horizon:]
        now, then = scaled[:, :-horizon][counted], scaled[:, horizon:][counted]
        trial, last = np.nonzero(counted)
        trial, last = np.repeat(trial, 5), np.repeat(last, 5)
        neuron = np.tile(np.arange(5), len(then))
        histories = history_mlp._histories(scaled, trial, last, neuron)
        with torch.no_grad():
            predicted = model._networks[0](torch.from_numpy(histories))[:, output].numpy()
        silent = (histories == histories.min()).all(axis=1)
        after = then.ravel()[silent]
        squared = ((predicted - then.ravel()) ** 2).sum() - ((after - after.mean()) ** 2).sum()
        ratios.append(squared / ((then - now) ** 2).sum())
    np.testing.assert_allclose(found, ratios, rtol=1e-3)


def test_each_horizon_keeps_the_weights_of_its_best_epoch(quick, train, validation, monkeypatch):
    monkeypatch.setattr(history_mlp, "PATIENCE", 1)
    judged = []
    error = history_mlp._Windows.error

    def scripted(self, network, rows):
        if torch.is_grad_enabled():
            return error(self, network, rows)
        judged.append(network.body[0].weight.clone())
        # The first horizon is best after the first epoch, the second after the second.
        return torch.tensor([[1.0, 3.0], [2.0, 1.0], [3.0, 2.0], [0.0, 0.0]][len(judged) - 1])

    monkeypatch.setattr(history_mlp._Windows, "error", scripted)
    model = HistoryMLP(horizons=(1, 5))
    model.fit(train, validation)
    assert len(judged) == 3
    for network, weight in zip(model._networks, judged, strict=False):
        assert torch.equal(network.body[0].weight, weight)


def test_recordings_that_are_never_silent(quick, make_recording):
    recording = make_recording([20, 30, 25])
    trials = cut(recording, recording.activity, recording.trial_ids)
    model = HistoryMLP(horizons=(1, 40))
    model.fit(trials, trials)
    assert np.isfinite(model.forecast(trials, 1)[:, 1:]).all()
    with pytest.raises(OdevaeError, match="fitted to forecast 1 frames ahead and not 40"):
        model.forecast(trials, 40)


def test_training_trials_without_anything_to_learn_are_refused(train):
    with pytest.raises(OdevaeError, match="found no training trial that is longer, or no activity"):
        HistoryMLP(horizons=(50,)).fit(train, train)
    with pytest.raises(OdevaeError, match="no activity in any"):
        HistoryMLP().fit(replace(train, values=np.zeros_like(train.values)), train)
