"""The causal mode of multiple shooting: what it sees, how it is weighed, and that the population's state helps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from odevae.benchmark.models.neural import history_mlp
from odevae.benchmark.models.shooting import Shooting
from odevae.benchmark.models.shooting_causal import ShootingCausal
from odevae.data.trials import Trials
from odevae.metrics import r2_neuron
from odevae.models.likelihoods import Poisson
from odevae.models.shooting import ShootingVAE
from odevae.training.causal import AHEAD, REACH, Moments, loss_of_future, states_now
from odevae.training.shooting import HEAVY

N_NEURONS = 24


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=3), seed=st.integers(0, 5))
def test_a_moment_is_its_past_and_its_future(lengths, seed):
    n_bins = max(lengths)
    recorded = torch.arange(n_bins) < torch.tensor(lengths)[:, None]
    values = torch.rand(len(lengths), n_bins, 2, generator=torch.Generator().manual_seed(seed)) * recorded[..., None]
    moments = Moments(values, recorded)
    assert len(moments.at) == sum(lengths)
    past, inside = moments.past(moments.at)
    future, counted = moments.future(moments.at)
    for row, (trial, now) in enumerate(moments.at.tolist()):
        known = values[trial, max(0, now - REACH + 1) : now + 1]
        assert torch.equal(past[row][inside[row]], known) and inside[row, -len(known) :].all()
        ahead = values[trial, now + 1 : min(lengths[trial], now + 1 + AHEAD)]
        assert torch.equal(future[row][counted[row]], ahead) and counted[row, : len(ahead)].all()


def test_the_state_now_is_what_the_encoder_says_of_a_trial_that_ends_here():
    torch.manual_seed(0)
    frames = torch.poisson(torch.ones(50, 6))
    model = ShootingVAE(Poisson(frames), 6, 2, block_frames=4, width=16, field_width=8).eval().requires_grad_(False)
    values, recorded = torch.poisson(torch.ones(2, 60, 6)), torch.ones(2, 60, dtype=torch.bool)
    moments = Moments(values, recorded)
    now = states_now(model, *moments.past(moments.at)).unflatten(0, (2, 60))
    for last in (0, 7, 45, 59):
        ended = torch.arange(60).expand(2, 60) <= last
        whole, _ = model.encoder(model.likelihood.seen(values * ended[..., None]), ended)
        assert torch.allclose(now[:, last], whole[:, last], atol=1e-5)


def test_the_loss_of_a_frozen_field_is_that_of_the_held_state():
    torch.manual_seed(0)
    model = ShootingVAE(
        Poisson(torch.ones(5, 3)), 3, 2, block_frames=4, width=8, field_width=8, frozen=True, curved=False
    ).eval()
    states, values = torch.randn(4, 2), torch.poisson(torch.ones(4, AHEAD, 3))
    recorded = torch.rand(4, AHEAD) < 0.5
    rate = torch.exp(model.decoder(states))[:, None]
    expected = (rate - values * torch.log(rate)).sum(dim=2)[recorded].mean()
    assert torch.allclose(loss_of_future(model, states, values, recorded), expected, rtol=1e-5)


def rotating(n: int, seed: int) -> Trials:
    """Neurons with bumps on a circle that the state goes around; each event is short, so its own past says little."""
    generator = np.random.default_rng(seed)
    phase = generator.uniform(0, 2 * np.pi, (n, 1)) + generator.uniform(0.15, 0.25, (n, 1)) * np.arange(40)
    drive = np.exp(6 * (np.cos(phase[..., None] - 2 * np.pi * np.arange(N_NEURONS) / N_NEURONS) - 1))
    active = generator.random(drive.shape) < 0.8 * drive
    mask = np.arange(40) < generator.integers(30, 41, n)[:, None]
    values = np.where(mask[..., None] & active, generator.gamma(4, 0.25, drive.shape), 0).astype(np.float32)
    return Trials(values, mask, mask, np.where(mask, np.arange(40), 0.0), np.arange(n))


TRAIN, VALIDATION, TEST = rotating(80, 0), rotating(20, 1), rotating(20, 2)


class Quick(Shooting):
    def default_candidates(self, kind):
        return (replace(HEAVY, block_frames=8, width=64, steps=100, batches=8),)


class Causal(ShootingCausal):
    shooting_class = Quick


@pytest.fixture(scope="module")
def fitted() -> Causal:
    model = Causal(2, 0)
    with pytest.MonkeyPatch.context() as patch:
        # Longer, what a neuron's own past says is the same to the second digit.
        patch.setattr(history_mlp, "EPOCHS", 16)
        model.fit(TRAIN, VALIDATION)
    return model


def score(predicted: np.ndarray, horizon: int) -> float:
    counted = TEST.mask & (np.arange(40) >= horizon)
    return float(r2_neuron(TEST.values[counted], predicted[counted]))


@pytest.mark.slow
def test_the_state_of_the_population_forecasts_what_no_own_past_does(fitted):
    for horizon in (2, 5):
        alone = fitted.own_past.forecast(TEST, horizon)
        assert score(fitted.forecast(TEST, horizon), horizon) > score(alone, horizon) + 0.1
    # The model that it began from sees whole trials, and is as it was.
    alone = Quick(2, 0)
    alone.fit(TRAIN, VALIDATION)
    assert np.array_equal(alone.infer(TEST), fitted.shooting.infer(TEST))


@pytest.mark.slow
def test_weights_are_those_of_a_regression_on_validation_trials(fitted):
    horizon, mean = 3, TRAIN.values[TRAIN.recorded].mean(axis=0)
    counted = VALIDATION.mask & (np.arange(40) >= horizon)
    own, population = fitted._deviations(VALIDATION, horizon)
    inputs = np.stack([own[counted].ravel(), population[counted].ravel()], axis=1)
    wanted = (VALIDATION.values - mean)[counted].ravel()
    expected = LinearRegression(fit_intercept=False).fit(inputs, wanted).coef_
    assert fitted.weights(horizon) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_new_events_are_expected_where_they_come(fitted):
    expected = fitted.new_events(TEST, 5, silent=1)
    soon = np.zeros(TEST.values.shape)
    for ahead in range(1, 6):
        soon[:, :-ahead] += TEST.values[:, ahead:] > 0
    counted = TEST.mask & (np.arange(40) < 24)
    assert np.corrcoef(expected[counted].ravel(), soon[counted].ravel())[0, 1] > 0.5
