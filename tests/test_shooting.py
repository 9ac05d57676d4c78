"""Multiple shooting: its paths against a linear ODE, what it hides, and what it finds on data of known truth."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from sklearn.linear_model import LinearRegression
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from odevae.benchmark.models.means import Persistence
from odevae.benchmark.models.shooting import Shooting, ShootingFrozen, ShootingOneState
from odevae.benchmark.tasks import held_out_neurons, hidden_neurons
from odevae.data.simulate.foraging import FIELD_WIDTH, PEAK, place_fields
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.events import DENSE, SPIKES
from odevae.metrics import r2_neuron
from odevae.models.likelihoods import Gaussian, Poisson
from odevae.models.shooting import (
    TUNING_GAIN,
    ShootingVAE,
    TunedDecoder,
    drawn_paths,
    refined_path,
    smoothed_paths,
)
from odevae.training.hidden_activity import FEWEST_NEURONS, hidden_loss, hidden_sets, loss_of_nothing, shown
from odevae.training.shooting import (
    CANDIDATES,
    LIGHT,
    LINEAR_STEPS,
    TUNED,
    ShootingObjective,
    contending,
    fit_shooting,
    gaussian_kl,
    kl_of_moments,
    preferred,
)

# A slow spiral in two dimensions, per frame.
SPIRAL = np.array([[-0.02, 0.25], [-0.25, -0.02]])
N_NEURONS, N_BINS = 24, 30


class Linear(nn.Module):
    def forward(self, t, z):
        return z @ torch.from_numpy(SPIRAL.T).to(z)


def model_of(block_frames: int, **settings) -> ShootingVAE:
    torch.manual_seed(0)
    frames = torch.poisson(torch.full((50, N_NEURONS), 1.0))
    model = ShootingVAE(
        Poisson(frames), N_NEURONS, 2, block_frames=block_frames, width=16, field_width=16, **settings
    ).eval()
    return model.requires_grad_(False)


@given(block_frames=st.integers(1, 12), n_bins=st.integers(2, 30), data=st.data())
def test_paths_between_knots_are_those_of_the_field(block_frames, n_bins, data):
    """Of a linear field, from any state at any knot: the matrix exponential."""
    phase = data.draw(st.integers(1, min(block_frames, n_bins - 1)))
    model = model_of(block_frames)
    model.field = Linear()
    knots = model.knots(n_bins, phase)
    states = torch.randn(3, len(knots), 2, generator=torch.Generator().manual_seed(1))
    path, ends = model.blocks(states, knots, n_bins)
    since = [(int((knots <= b).sum()) - 1, b - int(knots[knots <= b][-1])) for b in range(n_bins)]
    expected = np.stack([states[:, k].numpy() @ expm(SPIRAL * frames).T for k, frames in since], axis=1)
    assert path.numpy() == pytest.approx(expected, abs=5e-3)
    assert np.diff(knots).max(initial=0) <= block_frames
    ended = [states[:, k].numpy() @ expm(SPIRAL * int(gap)).T for k, gap in enumerate(knots.diff())]
    assert ends.numpy() == pytest.approx(np.stack(ended, axis=1) if ended else np.zeros((3, 0, 2)), abs=5e-3)


def test_blocks_of_one_frame_are_an_autoencoder_and_a_frozen_field_holds():
    states = torch.randn(2, 5, 2)
    path, _ = model_of(1).blocks(states, torch.arange(5), 5)
    assert torch.equal(path, states)
    model = model_of(4, frozen=True)
    path, ends = model.blocks(states[:, :2], model.knots(8, 4), 8)
    assert torch.equal(path, states[:, [0] * 4 + [1] * 4]) and torch.equal(ends, states[:, :1])


def test_positions_move_with_their_velocities():
    """And activity depends on positions alone."""
    model = model_of(4, second_order=True)
    with torch.no_grad():
        model.field.log_scale.fill_(math.log(0.2))
        # So that velocities change.
        model.field.body[-1].weight.normal_(generator=torch.Generator().manual_seed(2))
    path = model.solve(torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), 8)
    position, velocity = path.double().unbind(dim=-1)
    assert velocity.std(dim=1).min() > 0.01
    # Simpson's rule over two frames, the step of the solver.
    moved = 0.2 * (velocity[:, :-2:2] + 4 * velocity[:, 1:-1:2] + velocity[:, 2::2]) / 3
    assert position[:, ::2].diff(dim=1).numpy() == pytest.approx(moved.numpy(), abs=1e-3)
    faster = path * torch.tensor([1.0, 2.0])
    assert torch.equal(model.decoder(path), model.decoder(faster))
    still, _ = model_of(4, second_order=True, frozen=True).blocks(path[:, :1], torch.tensor([0]), 4)
    assert torch.equal(still, path[:, :1].expand(5, 4, 2))
    with pytest.raises(ValueError, match="3 dimensions"):
        ShootingVAE(Poisson(torch.ones(5, 4)), 4, 3, block_frames=4, width=8, field_width=8, second_order=True)


def test_a_path_does_not_depend_on_how_far_it_is_followed():
    model = model_of(4)
    model.field = Linear()
    z0 = torch.randn(4, 2)
    assert torch.equal(model.solve(z0, 20)[:, :8], model.solve(z0, 7))


def test_divergences_are_those_of_torch():
    mean, log_variance, prior = torch.randn(3, 4, 2), torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(prior, 0.3)).sum(dim=-1)
    assert torch.allclose(gaussian_kl(mean, log_variance, prior, 0.3), expected, rtol=1e-4)
    states = torch.randn(500, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64) + 1
    moments = MultivariateNormal(states.mean(dim=0), torch.cov(states.T, correction=0))
    expected = kl_divergence(moments, MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double()))
    assert kl_of_moments(states).item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_lost_dimension_costs_more_than_any_other_term():
    states = torch.randn(500, 3)
    flat = states.clone()
    flat[:, 2] *= 1e-3
    assert kl_of_moments(states) < 0.1 and kl_of_moments(flat) > 5


@given(n_neurons=st.integers(1, 60), seed=st.integers(0, 10))
def test_every_entry_is_hidden_once_and_every_neuron_of_many(n_neurons, seed):
    sets = hidden_sets(torch.zeros(3, 7, n_neurons), torch.Generator().manual_seed(seed))
    times = sum(hidden.entries.long() for hidden in sets)
    assert (times == (2 if n_neurons >= FEWEST_NEURONS else 1)).all()
    whole = [hidden for hidden in sets if (hidden.entries == hidden.entries[:1, :1]).all()]
    assert len(whole) >= (4 if n_neurons >= FEWEST_NEURONS else 0)


def test_the_encoder_gets_nothing_of_what_is_hidden():
    values = torch.rand(2, 5, 6)
    hidden = torch.zeros(2, 5, 6, dtype=torch.bool)
    hidden[..., 2:4] = True
    other = torch.where(hidden, torch.nan, values)
    assert torch.equal(shown(values, hidden, 1 / 3), shown(other, hidden, 1 / 3))
    assert shown(torch.ones(2, 5, 6), hidden, 1 / 3).mean().item() == pytest.approx(1)


def spiral_trials(n: int, seed: int) -> tuple[Trials, np.ndarray]:
    """Spikes of neurons whose log rates are linear in a spiral, with trials of unequal length; and their rates."""
    generator = np.random.default_rng(seed)
    readout = np.random.default_rng(99).normal(0, 0.7, (2, N_NEURONS))
    start = generator.normal(0, 1.5, (n, 2))
    latents = np.stack([start @ expm(SPIRAL * t).T for t in range(N_BINS)], axis=1)
    rates = np.exp(latents @ readout - 0.5)
    mask = np.arange(N_BINS) < generator.integers(20, N_BINS + 1, n)[:, None]
    values = np.where(mask[..., None], generator.poisson(rates), 0).astype(np.float32)
    times = np.where(mask, np.arange(N_BINS), 0.0)
    return Trials(values, mask, mask, times, np.arange(n), latents=latents), rates


TRAIN, VALIDATION, (TEST, RATES) = spiral_trials(96, 0)[0], spiral_trials(24, 1)[0], spiral_trials(32, 2)
QUICK = replace(LIGHT, curved=False, width=32, field_width=32, steps=240, batches=8, learning_rate=1e-2)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Shooting]:
    found = {"moving": Shooting(2, 0, (QUICK,)), "frozen": ShootingFrozen(2, 0, (QUICK,))}
    for model in found.values():
        model.fit(TRAIN, VALIDATION)
    # The same fit as that of the first.
    found["one state"] = ShootingOneState(2, 0, (QUICK,))
    for name in ("kind", "scale", "settings", "model"):
        setattr(found["one state"], name, getattr(found["moving"], name))
    return found


def rates_r2(model: Shooting) -> float:
    return float(r2_neuron(RATES[TEST.mask], model.reconstruct(TEST)[TEST.mask]))


@pytest.mark.slow
def test_the_first_frames_determine_the_rest_of_a_spiral(fitted):
    """Against the true rates; the first state alone is noisy, and ten frames are nearly as good as the trial."""
    model = fitted["one state"]

    def r2(predicted: np.ndarray) -> float:
        rest = TEST.mask & (np.arange(N_BINS) >= 10)
        return r2_neuron(RATES[rest], predicted[rest])

    by_frames = [r2(model.onset(TEST, n_frames)) for n_frames in (1, 10)]
    assert by_frames[0] < by_frames[1] < r2(model.reconstruct(TEST)) + 0.02
    assert by_frames[1] > 0.7 > r2(Persistence().onset(TEST, 10))
    # Activity is the expected number of spikes.
    assert model.event_rates("onset", TEST, 10) == pytest.approx(model.onset(TEST, 10))


@pytest.mark.slow
def test_the_field_finds_rates_that_a_frozen_one_does_not(fitted):
    found = {name: rates_r2(model) for name, model in fitted.items()}
    assert found["moving"] > 0.8 and found["one state"] > 0.85
    assert found["frozen"] < min(found["moving"], found["one state"]) - 0.1


@pytest.mark.slow
def test_no_latent_is_lost(fitted):
    covariance = np.cov(fitted["moving"].infer(TRAIN)[TRAIN.mask].T)
    assert np.linalg.eigvalsh(covariance).min() > 0.2


@pytest.mark.slow
def test_hidden_neurons_are_predicted_from_the_others_alone(fitted):
    held_out = held_out_neurons(N_NEURONS, 0)
    model = fitted["moving"]
    activity, rates = model.hidden_neurons(TEST, held_out)
    changed = replace(TEST, values=np.where(held_out, np.nan, TEST.values))
    for before, after in zip((activity, rates), model.hidden_neurons(changed, held_out), strict=True):
        assert np.array_equal(before, after)
    assert r2_neuron(RATES[TEST.mask][:, held_out], rates[TEST.mask]) > 0.7
    scores = hidden_neurons(model, VALIDATION, TEST, 0)
    assert 0 < scores["r2_neuron"] < 1 and scores["n_values"] == TEST.mask.sum() * held_out.sum()


@pytest.mark.slow
def test_hidden_frames_are_predicted_from_the_others_alone(fitted):
    hidden = np.random.default_rng(0).random(TEST.mask.shape) < 0.3
    asked, found = hidden & TEST.mask, {}
    for name in ("moving", "frozen", "one state"):
        activity, events = fitted[name].hidden_frames(TEST, hidden)
        unknown = replace(TEST, values=np.where(hidden[..., None], np.nan, TEST.values))
        assert np.array_equal(fitted[name].hidden_frames(unknown, hidden)[0], activity)
        # Counts of events are the activity.
        assert np.array_equal(activity, events)
        found[name] = r2_neuron(RATES[asked], activity[asked])
    assert found["moving"] > max(0.7, found["frozen"] + 0.1) and found["one state"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [None, held_out_neurons(N_NEURONS, 0)], ids=["all seen", "a quarter hidden"])
def test_intervals_hold_what_they_promise(fitted, hidden):
    model, before = fitted["moving"], torch.get_rng_state()
    ranks = model.ranks(TEST, hidden)[TEST.mask]
    ranks = ranks if hidden is None else ranks[:, hidden]
    for coverage in (0.5, 0.9):
        assert (abs(ranks - 0.5) <= coverage / 2).mean() == pytest.approx(coverage, abs=0.03)
    (lower, upper), (outer_lower, outer_upper) = (model.interval(TEST, coverage, hidden) for coverage in (0.5, 0.9))
    assert (outer_lower <= lower).all() and (lower <= upper).all() and (upper <= outer_upper).all()
    inside = ((outer_lower <= TEST.values) & (TEST.values <= outer_upper))[TEST.mask]
    # Counts: the ends belong to the interval, so it holds more than it promises.
    assert 0.89 < inside.mean() < 0.99
    assert torch.equal(before, torch.get_rng_state())
    if hidden is not None:
        unknown = replace(TEST, values=np.where(hidden, np.nan, TEST.values))
        assert np.array_equal(model.interval(unknown, 0.5, hidden)[1], upper)


def test_drawn_paths_keep_to_the_posterior_of_their_knots():
    model, phase = model_of(4), 2
    model.field = Linear()
    knots = model.knots(12, phase)
    path = model.blocks(torch.randn(3, len(knots), 2), knots, 12)[0]
    certain = drawn_paths(model, path, torch.full_like(path, -60.0), phase, 2)
    assert torch.allclose(certain, path.expand(2, -1, -1, -1), atol=1e-5)
    drawn = drawn_paths(model, path, torch.full_like(path, math.log(0.25)), phase, 4000)[:, :, knots] - path[:, knots]
    assert drawn.mean(dim=0).abs().max() < 0.05 and drawn.std(dim=0).numpy() == pytest.approx(0.5, abs=0.03)


def test_the_same_seed_gives_the_same_model():
    short = (replace(QUICK, steps=10),)
    models = [Shooting(2, seed, short) for seed in (0, 0, 1)]
    for model in models:
        # Whether knots move is not asked here.
        model.refines = False
        model.fit(TRAIN, VALIDATION)
    assert models[0].history == models[1].history != models[2].history


def unscaled(trials: Trials) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(trials.values), torch.from_numpy(trials.recorded)


@pytest.mark.slow
def test_settings_are_those_under_which_hidden_activity_is_likeliest():
    """A model whose decoder starts far off and hardly learns loses the race, whatever it says of what it sees."""
    torch.manual_seed(0)
    moves, stuck = replace(QUICK, steps=60), replace(QUICK, steps=60, learning_rate=1e-7)
    fit = fit_shooting(unscaled(TRAIN), unscaled(VALIDATION), SPIKES, 2, candidates=[stuck, moves])
    losses = [row["val_loss"] for row in fit.history]
    assert fit.settings.learning_rate == QUICK.learning_rate and min(losses) == pytest.approx(min(losses[1:]))
    assert fit.best.epoch == 1 + losses.index(min(losses)) and fit.best.score == -min(losses)
    for row in fit.history:
        assert row["train_loss"] == pytest.approx(row["train_reconstruction"] + row["train_weighted_kl"])


@pytest.mark.slow
def test_activity_that_is_an_exponential_of_the_latents_gets_a_log_link():
    def dense(n: int, seed: int) -> Trials:
        trials, rates = spiral_trials(n, seed)
        noisy = rates + 0.3 * np.random.default_rng(seed).standard_normal(rates.shape)
        return replace(trials, values=np.where(trials.mask[..., None], noisy, 0).astype(np.float32))

    train, validation, test = dense(96, 0), dense(24, 1), dense(32, 2)
    model = Shooting(2, 0, (QUICK, replace(QUICK, log_link=True)))
    # Whether knots move is not asked here.
    model.refines = False
    model.fit(train, validation)
    assert model.kind == DENSE and model.settings.log_link
    inferred = [(model.infer(trials)[trials.mask], trials.latents[trials.mask]) for trials in (train, test)]
    assert LinearRegression().fit(*inferred[0]).score(*inferred[1]) > 0.95


def test_a_tuned_decoder_can_be_any_place_cells():
    """Those of the simulated disc, whose fields have one width."""
    generator = torch.Generator().manual_seed(0)
    centres, positions = (2 * torch.rand(n, 2, generator=generator) - 1 for n in (7, 50))
    decoder = TunedDecoder(2, torch.zeros(7))
    curvature = 1 / (2 * FIELD_WIDTH**2)
    with torch.no_grad():
        decoder.slopes.weight.copy_(2 * curvature * centres / TUNING_GAIN)
        decoder.slopes.bias.copy_((math.log(PEAK) - curvature * centres.square().sum(dim=1)) / TUNING_GAIN)
        decoder.curvature.fill_(math.log(math.expm1(curvature)))
        activity = torch.exp(decoder(positions))
    expected = place_fields(positions.double().numpy(), centres.double().numpy())
    assert activity.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_refined_state_is_the_likeliest_one():
    """Without noise, under the true field and readout: the state that made the trial."""
    model = model_of(4, curved=False)
    model.field = Linear()
    # Many counts, so that the prior of the state counts for nothing.
    model.decoder.bias += math.log(50)
    truth = torch.tensor([[1.0, -0.5], [0.3, 0.8]])
    rates = torch.exp(model.decoder(model.solve(truth, 39)))
    path = refined_path(model, truth + 0.4, rates, torch.ones(2, 40, 1, dtype=torch.bool))
    assert path[:, 0].numpy() == pytest.approx(truth.numpy(), abs=0.03)


def test_smoothed_knots_are_the_least_squares_of_a_linear_system():
    """Linear field, linear readout, Gaussian noise: the likeliest knots solve linear equations."""
    generator = torch.Generator().manual_seed(0)
    n_bins, block, continuity = 12, 4, 0.3
    frames = torch.randn(40, N_NEURONS, generator=generator)
    torch.manual_seed(0)
    network = ShootingVAE(
        Gaussian(frames), N_NEURONS, 2, block_frames=block, width=16, field_width=16, curved=False
    ).requires_grad_(False)
    network.field = Linear()
    truth = network.solve(torch.randn(2, 2, generator=generator), n_bins - 1)
    values = network.decoder(truth) + 0.5 * torch.randn(2, n_bins, N_NEURONS, generator=generator)
    recorded = torch.arange(n_bins) < torch.tensor([[12], [9]])
    counted = recorded[..., None] & (torch.rand(values.shape, generator=generator) < 0.8)
    (path,) = smoothed_paths(network, truth + 0.3, values, recorded, counted, [2], continuity)
    knots = np.array([0, 2, 6, 10])
    weight, bias, sd = (
        x.numpy() for x in (network.decoder.weight, network.decoder.bias, network.likelihood.log_sd.exp())
    )
    for trial in range(2):
        n_knots, rows, wanted = len(knots), [], []
        for b in range(n_bins):
            k = int((knots <= b).sum()) - 1
            for n in np.nonzero(counted[trial, b].numpy())[0]:
                row = np.zeros((n_knots, 2))
                row[k] = weight[n] @ expm(SPIRAL * (b - knots[k])) / sd[n]
                rows.append(row.ravel())
                wanted.append((float(values[trial, b, n]) - bias[n]) / sd[n])
        rows.append(np.eye(n_knots * 2)[0]), rows.append(np.eye(n_knots * 2)[1]), wanted.extend([0.0, 0.0])
        for k in range(1, n_knots):
            if recorded[trial, knots[k]]:
                jump = np.zeros((2, n_knots, 2))
                jump[:, k], jump[:, k - 1] = np.eye(2), -expm(SPIRAL * (knots[k] - knots[k - 1]))
                rows.extend(jump.reshape(2, -1) / continuity)
                wanted.extend([0.0, 0.0])
        states = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0].reshape(n_knots, 2)
        inside = recorded[trial, knots].numpy()
        assert path[trial, knots].numpy()[inside] == pytest.approx(states[inside], abs=0.02)


SETTINGS = {"linear": replace(LIGHT, curved=False), "bent": LIGHT}


@pytest.mark.parametrize(
    ("gains", "in_full", "chosen"),
    [
        # A linear decoder that learns slowly, and then says as much.
        ((0.6, 1.0), (0.97, 1.0), "linear"),
        ((0.6, 1.0), (0.9, 1.0), "bent"),
        ((1.0, 0.9), (1.0,), "linear"),
        ((0.2, 1.0), (1.0,), "bent"),
    ],
)
def test_a_linear_decoder_is_preferred_if_it_says_nearly_as_much(gains, in_full, chosen):
    contenders = contending(list(SETTINGS.values()), gains)
    assert len(contenders) == len(in_full)
    taken = contenders[preferred(contenders, [max(in_full) if each.curved else min(in_full) for each in contenders])]
    steps = LIGHT.steps * (LINEAR_STEPS if chosen == "linear" else 1)
    assert taken == replace(SETTINGS[chosen], steps=steps)


def test_velocities_get_time_to_pay_off():
    first, second = TUNED, replace(TUNED, second_order=True)
    assert contending([first, second], (1.0, 0.6)) == [first, second]
    assert contending([first, second], (1.0, 0.4)) == [first]
    assert contending([first, second], (0.6, 1.0)) == [second]
    # Half of the latents are read, so nearly as much is enough.
    assert preferred([first, second], (1.0, 0.96)) == 1 and preferred([first, second], (1.0, 0.94)) == 0


def test_nothing_is_what_the_mean_activity_says():
    values, recorded = unscaled(VALIDATION)
    model = model_of(4)
    rate = torch.exp(model.likelihood.start)
    expected = (rate - values * torch.log(rate))[recorded].mean()
    assert loss_of_nothing(model.likelihood, values, recorded) == pytest.approx(float(expected), rel=1e-5)


def test_bins_outside_a_trial_change_nothing():
    model, (values, recorded) = model_of(4), unscaled(TEST)
    values = values[:4]
    recorded = torch.arange(N_BINS) < torch.tensor([[20], [25], [30], [12]])
    other = torch.where(recorded[..., None], values, 7.0)
    sets = hidden_sets(values, torch.Generator().manual_seed(0))
    inside = torch.where(recorded[..., None], values, 0.0)
    assert hidden_loss(model, inside, recorded, sets) == pytest.approx(hidden_loss(model, other, recorded, sets))
    objective = ShootingObjective(model, QUICK)
    losses = []
    for given_values in (inside, other):
        torch.manual_seed(0)
        losses.append(objective(given_values, recorded).item())
        objective.step = 0
    assert losses[0] == pytest.approx(losses[1])


def test_a_loss_that_is_no_number_is_one_sentence():
    values, recorded = unscaled(TRAIN)
    torch.manual_seed(0)
    with pytest.raises(OdevaeError, match="training loss is nan in step 1 of"):
        fit_shooting((values * torch.nan, recorded), unscaled(VALIDATION), SPIKES, 2, candidates=CANDIDATES[SPIKES][:1])
