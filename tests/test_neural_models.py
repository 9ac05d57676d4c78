import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from odevae.benchmark.models.neural.autoencoders import (
    KERNEL,
    FrameAutoencoder,
    SeparableConvolution,
    TrialAutoencoder,
    TwoPartAutoencoder,
)
from odevae.benchmark.models.neural.gru_vae import GRUVAE
from odevae.benchmark.models.neural.latent_ode import SPEED, LatentODE, LatentODENetwork
from odevae.benchmark.models.neural.neural_model import (
    LinearOutput,
    Settings,
    TwoPartOutput,
    batches,
    gaussian_kl,
    some_bins,
)
from odevae.benchmark.models.neural.two_way_gru import TwoWayGRU
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.metrics import r2_neuron
from odevae.models.solvers import TOLERANCE

FORECASTING = [GRUVAE, LatentODE]
MODELS = [FrameAutoencoder, TrialAutoencoder, TwoPartAutoencoder, *FORECASTING]
TINY = Settings(steps=3, frames_per_batch=30, width=6, check_every=2)
LEARNING = Settings(steps=150, frames_per_batch=60, learning_rate=1e-2, jitter=0.0, width=32, check_every=25)


def make_trials(lengths, n_neurons: int = 5, n_bins: int | None = None, offset: float = 4.0, seed: int = 0) -> Trials:
    """Neurons that mix the two coordinates of a point on its way round a circle, from a phase and radius of the
    trial's own, with little noise."""
    lengths = np.asarray(lengths)
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).standard_normal((2, n_neurons))
    bins = np.arange(n_bins or lengths.max())
    phase = generator.uniform(0, 2 * np.pi, (len(lengths), 1)) + 0.25 * bins
    radius = generator.uniform(0.5, 1.5, (len(lengths), 1, 1))
    values = radius * np.stack([np.cos(phase), np.sin(phase)], axis=-1) @ mixing + offset
    values += 0.05 * generator.standard_normal(values.shape)
    recorded = bins < lengths[:, None]
    return Trials(
        values=np.where(recorded[..., None], values, 0).astype(np.float32),
        mask=recorded,
        recorded=recorded,
        times=np.where(recorded, 0.1 * bins, 0.0),
        trial_ids=np.arange(len(lengths)),
    )


TRAIN = make_trials([9, 4, 7, 12, 2])
VALIDATION = make_trials([6, 10], n_bins=12, seed=1)
TEST = make_trials([8, 12, 5], seed=2)


def with_values(trials: Trials, values: np.ndarray) -> Trials:
    return replace(trials, values=values.astype(np.float32))


def answers(model, trials: Trials) -> dict[str, np.ndarray]:
    """Everything that a model answers, by task."""
    found = {"reconstruct": model.reconstruct(trials), "infer": model.infer(trials)}
    if model.answers("forecast"):
        found |= {f"forecast {h}": model.forecast(trials, h)[:, h:] for h in (1, 3)}
        found |= {f"onset {n}": model.onset(trials, n) for n in (1, 4)}
    return found


@pytest.fixture(scope="module")
def fitted():
    """Each kind after three steps; read only."""
    models = {}
    for kind in MODELS:
        models[kind] = kind(latent_dim=2, seed=3, settings=TINY)
        models[kind].fit(TRAIN, VALIDATION)
    return models


@pytest.mark.parametrize("kind", MODELS)
def test_shapes_and_finite_values(kind, fitted):
    for task, answer in answers(fitted[kind], TEST).items():
        n_bins = 12 - int(task.split()[1]) if task.startswith("forecast") else 12
        assert answer.shape == (3, n_bins, 2 if task == "infer" else 5), task
        assert np.isfinite(answer).all(), task


@pytest.mark.parametrize("kind", MODELS)
def test_which_tasks_are_answered(kind):
    assert kind.answers("reconstruct") and kind.answers("infer")
    assert kind.answers("onset") == kind.answers("forecast") == (kind in FORECASTING)


@pytest.mark.parametrize("kind", MODELS)
def test_same_seed_same_bits_and_bins_outside_the_trial_change_nothing(kind, fitted):
    def poisoned(trials: Trials) -> Trials:
        return with_values(trials, np.where(trials.recorded[..., None], trials.values, np.nan))

    again = kind(latent_dim=2, seed=3, settings=TINY)
    again.fit(poisoned(TRAIN), poisoned(VALIDATION))
    other = kind(latent_dim=2, seed=4, settings=TINY)
    other.fit(TRAIN, VALIDATION)
    expected, found = answers(fitted[kind], TEST), answers(again, poisoned(TEST))
    for task, answer in expected.items():
        np.testing.assert_array_equal(found[task], answer, err_msg=task)
    assert not np.array_equal(other.reconstruct(TEST), expected["reconstruct"])


@pytest.mark.parametrize("kind", MODELS)
def test_longer_arrays_and_company_change_nothing(kind, fitted):
    """A trial is answered as if it were alone and its array no longer than itself."""
    model = fitted[kind]
    together = answers(model, TEST)
    for row, length in enumerate(TEST.recorded.sum(axis=1)):
        alone = TEST.take(np.array([row]))
        alone = Trials(*(getattr(alone, name)[:, :length] for name in ("values", "mask", "recorded", "times")), [row])
        for task, answer in answers(model, alone).items():
            np.testing.assert_allclose(together[task][row, : answer.shape[1]], answer[0], atol=1e-5, err_msg=task)


@pytest.mark.parametrize("kind", MODELS)
def test_global_random_state_is_left_alone(kind):
    torch.manual_seed(5)
    expected = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    model = kind(latent_dim=1, settings=replace(TINY, steps=1))
    model.fit(TRAIN, VALIDATION)
    answers(model, TEST)
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == expected[1:]  # noqa: NPY002


@pytest.mark.parametrize("kind", FORECASTING)
@pytest.mark.parametrize("horizon", [1, 3])
def test_a_forecast_sees_no_frame_after_its_start(kind, horizon, fitted):
    model = fitted[kind]
    expected = model.forecast(TEST, horizon)
    assert np.isnan(expected[:, :horizon]).all()
    for t in range(horizon, 12):
        later = TEST.values.copy()
        later[:, t - horizon + 1 :] = np.nan
        found = model.forecast(with_values(TEST, later), horizon)
        np.testing.assert_array_equal(found[:, horizon : t + 1], expected[:, horizon : t + 1])


@pytest.mark.parametrize("kind", FORECASTING)
def test_a_forecast_sees_its_start(kind, fitted):
    changed = TEST.values.copy()
    changed[:, 4] += 1
    moved = fitted[kind].forecast(with_values(TEST, changed), 2) != fitted[kind].forecast(TEST, 2)
    assert moved[:, 6].any() and not moved[:, 2:6].any()


@pytest.mark.parametrize("kind", FORECASTING)
def test_a_forecast_beyond_the_trial_is_empty(kind, fitted):
    assert np.isnan(fitted[kind].forecast(TEST, 12)).all()
    assert np.isfinite(fitted[kind].forecast(TEST, 11)[:, 11]).all()


@pytest.mark.parametrize("kind", FORECASTING)
@pytest.mark.parametrize("n_frames", [1, 5])
def test_onset_sees_the_first_frames_only(kind, n_frames, fitted):
    later = TEST.values.copy()
    later[:, n_frames:] = np.nan
    found = fitted[kind].onset(with_values(TEST, later), n_frames)
    np.testing.assert_array_equal(found, fitted[kind].onset(TEST, n_frames))
    assert np.isfinite(fitted[kind].onset(TEST, 50)).all()


@pytest.mark.parametrize("kind", [*MODELS[:3], *(pytest.param(slow, marks=pytest.mark.slow) for slow in FORECASTING)])
def test_learns_what_two_dimensions_hold(kind):
    train, validation = make_trials([12] * 40, n_neurons=12), make_trials([12] * 6, n_neurons=12, seed=1)
    test = make_trials([12, 10, 8] * 4, n_neurons=12, seed=2)
    model = kind(latent_dim=2, settings=LEARNING)
    model.fit(train, validation)
    r2 = r2_neuron(test.values[test.recorded], model.reconstruct(test)[test.recorded])
    assert r2 > (0.6 if kind is LatentODE else 0.85)
    if kind in FORECASTING:
        counted = test.recorded.copy()
        counted[:, :4] = False
        assert r2_neuron(test.values[counted], model.forecast(test, 2)[counted]) > 0.5
        assert r2_neuron(test.values[counted], model.onset(test, 4)[counted]) > 0.2


def test_the_best_validation_weights_are_kept():
    hasty = Settings(steps=400, frames_per_batch=20, learning_rate=0.5, width=8, check_every=2, patience=4)
    model = FrameAutoencoder(latent_dim=1, settings=hasty)
    model.fit(TRAIN, VALIDATION)
    best = int(np.argmin(model.history))
    assert len(model.history) == best + 1 + hasty.patience < hasty.steps / hasty.check_every
    assert model.history[-1] > (1 + 1e-4) * model.history[best]
    error = np.mean((model.reconstruct(VALIDATION) - VALIDATION.values)[VALIDATION.recorded] ** 2)
    assert error / model.scale**2 == pytest.approx(model.history[best], rel=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_one_training_trial_and_silent_neurons(kind):
    values = TRAIN.values.copy()
    values[..., 2:] = 0
    train = with_values(TRAIN, values).take(np.array([3]))
    model = kind(latent_dim=2, settings=TINY)
    model.fit(train, VALIDATION)
    assert all(np.isfinite(answer).all() for answer in answers(model, TEST).values())
    silent = with_values(train, np.zeros_like(train.values))
    model.fit(silent, silent)
    assert np.abs(model.reconstruct(silent)).max() < 1


@pytest.mark.parametrize("kind", MODELS)
def test_predictions_are_negative_only_where_training_activity_is(kind):
    below = make_trials([9, 4, 7, 12], offset=-4.0)
    model = kind(latent_dim=2, settings=TINY)
    model.fit(below, VALIDATION)
    assert model.reconstruct(below).min() < 0
    near_zero = with_values(TRAIN, np.maximum(TRAIN.values - 4, 0))
    model.fit(near_zero, VALIDATION)
    assert model.reconstruct(with_values(TEST, -5 * TEST.values)).min() >= 0


def test_a_fit_that_diverges_is_refused():
    model = FrameAutoencoder(latent_dim=1, settings=replace(TINY, learning_rate=1e30))
    with pytest.raises(OdevaeError, match=r"training loss is nan in step [23] of 3"):
        model.fit(TRAIN, VALIDATION)


@pytest.mark.parametrize("nonnegative", [True, False])
def test_outputs_start_at_the_mean(nonnegative):
    mean = torch.tensor([0.05, 0.5, 3.0]) * (1 if nonnegative else -1)
    for output in (LinearOutput, TwoPartOutput):
        torch.testing.assert_close(output(4, mean, nonnegative)(torch.zeros(2, 4)), mean.expand(2, 3))


def test_a_round_of_batches_takes_every_trial_once():
    values = torch.arange(7.0)[:, None, None].expand(7, 12, 1)
    recorded = torch.arange(12) < torch.tensor([2, 12, 3, 9, 4, 11, 2])[:, None]
    draw = batches(values, recorded, frames=15)
    for _ in range(3):
        drawn = [next(draw) for _ in range(3)]  # 43 frames in batches of about 15
        assert sorted(int(v) for batch, _ in drawn for v in batch[:, 0, 0]) == list(range(7))
        assert all(seen.shape == batch.shape[:2] and seen[:, -1].any() for batch, seen in drawn)


def test_some_bins_are_recorded_ones():
    recorded = torch.arange(10) < torch.tensor([10, 3, 7])[:, None]
    everywhere = list(zip(*(rows.tolist() for rows in some_bins(recorded, 1.0)), strict=True))
    assert sorted(everywhere) == [tuple(pair) for pair in recorded.nonzero().tolist()]
    trials, bins = some_bins(recorded, 0.26)
    assert len(trials) == 6 and recorded[trials, bins].all()


def test_separable_convolution_against_torch():
    ours = SeparableConvolution(4)
    along = torch.nn.Conv1d(4, 4, KERNEL, padding="same", groups=4, bias=False)
    across = torch.nn.Conv1d(4, 4, 1)
    with torch.no_grad():
        along.weight[:, 0] = ours.along.T
        across.weight[..., 0], across.bias[:] = ours.across.weight, ours.across.bias
    for n_bins in (1, 3, 9):
        hidden = torch.randn(2, n_bins, 4)
        expected = across(along(hidden.transpose(1, 2))).transpose(1, 2)
        torch.testing.assert_close(ours(hidden), expected)


def test_two_way_gru_against_torch():
    ours, theirs = TwoWayGRU(4), torch.nn.GRU(4, 4, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for direction, suffix in enumerate(["", "_reverse"]):
            for name, maps in (("ih", ours.read), ("hh", ours.carry)):
                getattr(theirs, f"weight_{name}_l0{suffix}").copy_(maps.weight[direction].T)
                getattr(theirs, f"bias_{name}_l0{suffix}").copy_(maps.bias[direction, 0])
    lengths = torch.tensor([7, 2, 5])
    inputs, seen = torch.randn(3, 7, 4), torch.arange(7) < lengths[:, None]
    found = torch.cat(ours(inputs, seen), dim=-1)
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(found[seen], expected[seen])
    assert not found[..., 4:][~seen].any()


def test_gaussian_kl_against_the_formula():
    mean, log_variance, prior_mean, prior_log_variance = torch.randn(4, 6, 3, generator=torch.manual_seed(0)).double()
    distance = (mean - prior_mean) ** 2 + log_variance.exp()
    expected = 0.5 * (prior_log_variance - log_variance + distance / prior_log_variance.exp() - 1).sum(dim=-1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance, prior_mean, prior_log_variance), expected)


def test_the_latent_ode_is_solved():
    """A rotation: the state after t frames is the first one turned by ``SPEED t``."""
    network = LatentODENetwork(torch.zeros(3), 2, 4, LinearOutput(4, torch.zeros(3), True)).double()
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    network.field = torch.nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        network.field.weight.copy_(turn)
    z0 = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=torch.float64)
    times = SPEED * torch.arange(13, dtype=torch.float64)
    expected = torch.stack([z0 @ torch.linalg.matrix_exp(t * turn).T for t in times], dim=1)
    torch.testing.assert_close(network.solve(z0, 12), expected, atol=5 * TOLERANCE, rtol=0)
