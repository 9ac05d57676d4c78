"""Where a fit with tuning curves begins: coordinates that do not fold, and velocities."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from odevae.benchmark.models.shooting import Shooting, ShootingTuned
from odevae.data.simulate.foraging import foraging
from odevae.data.trials import Trials, cut
from odevae.events import DENSE, SPIKES
from odevae.training.charts import coordinates, start_from_charts, velocities_of
from odevae.training.shooting import TUNED, build, partly_hidden, tensors

N_BINS = 40


def swings(n: int, seed: int) -> Trials:
    """Neurons with fields on a line along which a position swings; the latents are it and its velocity."""
    generator = np.random.default_rng(seed)
    amplitude, phase = generator.uniform(0.4, 1, (n, 1)), generator.uniform(0, 2 * np.pi, (n, 1))
    angle = phase + 0.2 * np.arange(N_BINS)
    latents = np.stack([amplitude * np.cos(angle), -0.2 * amplitude * np.sin(angle)], axis=-1)
    activity = 5 * np.exp(-((latents[..., :1] - np.linspace(-1, 1, 24)) ** 2) / (2 * 0.3**2))
    mask = np.arange(N_BINS) < generator.integers(N_BINS - 10, N_BINS + 1, n)[:, None]
    values = np.where(mask[..., None], activity, 0).astype(np.float32)
    return Trials(values, mask, mask, np.where(mask, np.arange(N_BINS), 0.0), np.arange(n), latents=latents)


TRAIN, VALIDATION, TEST = swings(32, 0), swings(8, 1), swings(8, 2)
SHORT = replace(TUNED, width=32, field_width=16, steps=160, batches=4, second_order=True)


def r2(given: np.ndarray, asked: np.ndarray) -> float:
    """Of a linear regression, mean over columns."""
    return LinearRegression().fit(given, asked).score(given, asked)


def test_coordinates_lay_a_disc_out_flat():
    """Place cells curve the disc through as many dimensions as there are cells; PCA does not flatten it."""
    recording = foraging(n_neurons=60, n_frames=1200, n_trials=12, seed=0)
    trials = cut(recording, recording.activity, np.unique(recording.trial))
    values, recorded = tensors(trials, float(trials.values[trials.recorded].std()))
    found = coordinates(values, recorded, 2)
    inside = found[recorded].double().numpy()
    place = trials.latents[trials.recorded][:, :2]
    assert r2(inside, place) > 0.95 and r2(place, inside) > 0.95
    assert inside.mean(axis=0) == pytest.approx([0, 0], abs=1e-5)
    assert np.cov(inside.T) == pytest.approx(np.eye(2), abs=1e-3)
    assert not found[~recorded].any()


def test_frames_that_are_all_the_same_have_one_place():
    recorded = torch.ones(2, 20, dtype=torch.bool)
    assert torch.isfinite(coordinates(torch.ones(2, 20, 3), recorded, 2)).all()


def test_velocities_are_those_within_a_trial():
    """Of even motion exactly, also at both ends; a trial of one frame has none."""
    recorded = torch.arange(6) < torch.tensor([[6], [4], [1]])
    speed = torch.tensor([[0.5, -1.0], [2.0, 0.25], [3.0, 3.0]])
    positions = torch.where(recorded[..., None], 7 + speed[:, None] * torch.arange(6.0)[:, None], 0.0)
    found, scale = velocities_of(positions, recorded)
    expected = torch.where(recorded[..., None], speed[:, None], 0.0)
    expected[2] = 0
    assert torch.allclose(found * scale, expected, atol=1e-5)
    assert torch.allclose(found[recorded].square().mean(dim=0), torch.ones(2), atol=1e-5)


def test_encoder_and_decoder_start_as_inverses_of_each_other():
    scale = float(TRAIN.values[TRAIN.recorded].std())
    values, recorded = tensors(TRAIN, scale)
    settings = replace(SHORT, log_link=True)
    torch.manual_seed(0)
    model = build(DENSE, values[recorded], 2, settings)
    start_from_charts(model, values, recorded, partial(partly_hidden, settings=settings), settings.batches)
    with torch.no_grad():
        mean, _ = model.eval().encoder(model.likelihood.seen(values), recorded)
        given_back = model.likelihood.mean(model.decoder(mean))[recorded]
    # Of the position alone nothing can be said about the velocity's sign, so each is asked for.
    for number in range(2):
        assert r2(mean[recorded].numpy(), TRAIN.latents[TRAIN.recorded][:, [number]]) > 0.9
    assert 1 - (given_back - values[recorded]).var() / values[recorded].var() > 0.8
    speed = np.sqrt(np.square(TRAIN.latents[TRAIN.recorded]).mean(axis=0))
    assert float(model.field.log_scale.detach().exp()) == pytest.approx(speed[1] / speed[0], rel=0.2)


@pytest.mark.slow
def test_velocities_are_found():
    """Two numbers that are read from one."""
    model = Shooting(2, 0, (replace(SHORT, log_link=True),))
    # Whether knots move is not asked here.
    model.refines = False
    model.fit(TRAIN, VALIDATION)
    (train, known), (test, asked) = ((model.infer(x)[x.mask], x.latents[x.mask]) for x in (TRAIN, TEST))
    predicted = LinearRegression().fit(train, known).predict(test)
    assert (1 - np.square(predicted - asked).mean(axis=0) / asked.var(axis=0)).min() > 0.9


def test_tuning_curves_choose_their_start_and_their_order():
    for kind, log_link in ((DENSE, True), (SPIKES, False)):
        offered = ShootingTuned(4).default_candidates(kind)
        # The decoder gives the logarithm of activity, and that of spikes anyway.
        assert {each.log_link for each in offered} == {log_link} and all(each.tuned for each in offered)
        assert {(each.charted, each.second_order) for each in offered} == {(True, False), (False, False), (True, True)}
        assert not any(each.second_order for each in ShootingTuned(3).default_candidates(kind))
