"""Training that never collapses: each cure by itself, and all of them with ``robust: true``."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from conftest import ABOUT
from torch import nn

from odevae.models.dynamics import FIELDS, TIME_CONSTANT_RANGE, BoundedSpeed, build_field
from odevae.models.odevae import build
from odevae.models.presets import PRESETS, ROBUST, ModelSpec, model_spec
from odevae.storage.run_folder import CHECKPOINT_FILE, HISTORY_FILE, read_history
from odevae.training import descent, schedules
from odevae.training.descent import Diverged, descend, weights_of
from odevae.training.loop import fit, validate
from odevae.training.recorder import train
from odevae.training.reproducibility import seed_everything
from odevae.training.state import Training

NOW = torch.tensor(0.0)
# Short enough that every schedule ends within three epochs.
SHORT = {"learning_rate_warmup_epochs": 2, "horizon_epochs": 2}


@pytest.fixture
def robust(tiny):
    return replace(tiny, **ROBUST | SHORT)


@pytest.fixture
def epochs_of(heldout_fold):
    """Trains with a seed; gives the model and the epochs."""

    def run(spec, fold=heldout_fold, start=None):
        seed_everything(7)
        model = build(spec, fold.preprocessor.n_channels, 2)
        return model, fit(model, fold, spec, 5e-4, start=start)

    return run


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# The settings


def test_the_published_models_have_no_cure():
    off = {field.name: field.default for field in fields(ModelSpec)}
    for spec in PRESETS.values():
        assert all(getattr(spec, name) == off[name] for name in ROBUST)
    assert all(value != off[name] for name, value in ROBUST.items())


def test_robust_turns_every_cure_on_and_each_can_be_overridden():
    entry = {"preset": "v5", "robust": True}
    assert model_spec("mine", {"mine": entry}) == replace(PRESETS["v5"], **ROBUST)
    for name in ROBUST:
        off = getattr(ModelSpec(), name)
        assert getattr(model_spec("mine", {"mine": entry | {name: off}}), name) == off
    assert model_spec("mine", {"mine": {"preset": "v5", "robust": False}}) == PRESETS["v5"]


# The field


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("kind", FIELDS)
def test_the_field_is_bounded_and_near_zero_at_the_start(kind, second_order):
    torch.manual_seed(0)
    field = build_field(kind, 3, False, second_order, time_constant=0.5, field_start=0.1)
    state = 3 * torch.randn(200, 6 if second_order else 3)
    speed = field(NOW, state)[:, -3:].abs()
    torch.manual_seed(0)
    unscaled = build_field(kind, 3, False, second_order, time_constant=0.5)(NOW, state)[:, -3:].abs()
    assert speed.max() < unscaled.max() / 5
    for parameter in field.parameters():
        nn.init.normal_(parameter, std=30)
    assert field(NOW, state)[:, -3:].abs().max() <= TIME_CONSTANT_RANGE / 0.5


def test_one_learned_time_constant():
    bounded, x = BoundedSpeed(0.25), torch.randn(5, 3)
    torch.testing.assert_close(bounded(x), torch.tanh(x) / 0.25)
    nn.init.constant_(bounded.stretch, 0.3)
    torch.testing.assert_close(bounded(x), torch.tanh(x) / (0.25 * 10 ** math.tanh(0.3)))
    assert [parameter.shape for parameter in bounded.parameters()] == [()]


def test_where_the_norm_has_a_steep_gradient_the_bound_has_none():
    """Almost constant over dimensions: what makes gradients of the published field explode along a path."""
    x = torch.full((1, 3), 0.2, dtype=torch.float64) + 1e-6 * torch.arange(3)
    steep, bounded = (
        torch.autograd.functional.jacobian(lambda v, end=end: end(v), x).abs().max()
        for end in (nn.LayerNorm(3).double(), BoundedSpeed(1.0).double())
    )
    assert steep > 100
    assert bounded <= 1


def test_a_factor_on_a_layer_norm_comes_after_it():
    torch.manual_seed(0)
    whole = build_field("moe", 3, False, False)
    torch.manual_seed(0)
    tenth = build_field("moe", 3, False, False, field_start=0.1)
    state = torch.randn(5, 3)
    torch.testing.assert_close(tenth(NOW, state), 0.1 * whole(NOW, state))


# Schedules


def test_the_learning_rate_grows_and_falls():
    spec = ModelSpec(epochs=100, learning_rate=1.0, learning_rate_warmup_epochs=5, learning_rate_end=0.1)
    rates = [schedules.learning_rate(spec, epoch) for epoch in range(1, 101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4] and rates[4] == pytest.approx(1, abs=0.01)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[49] + rates[50] == pytest.approx(1.1)  # half a cosine is symmetric about its middle
    assert {schedules.learning_rate(PRESETS["v5"], epoch) for epoch in (1, 75, 150)} == {PRESETS["v5"].learning_rate}


def test_the_horizon_grows_to_the_whole_trial():
    spec = ModelSpec(horizon_start=0.25, horizon_epochs=4)
    assert [schedules.horizon(spec, epoch, 80) for epoch in range(1, 7)] == [20, 35, 50, 65, 80, 80]
    assert [schedules.horizon(spec, 1, n_bins) for n_bins in (1, 2, 3, 20)] == [1, 2, 2, 5]
    assert schedules.horizon(ModelSpec(), 1, 80) == 80


def test_training_sees_no_bin_beyond_the_horizon(heldout_fold, tiny, epochs_of):
    spec = replace(tiny, epochs=1, horizon_start=0.5, horizon_epochs=10)
    longest = heldout_fold.raw.mask[heldout_fold.parts["train"]].sum(axis=1).max()
    observed = heldout_fold.observed.copy()
    late = heldout_fold.parts["train"][:, None], np.arange(math.ceil(longest / 2), observed.shape[1])
    observed[late] = 1e4
    found = [
        next(epochs_of(spec, fold)[1]).state.model for fold in (heldout_fold, replace(heldout_fold, observed=observed))
    ]
    assert same(*found)


def test_patience_begins_when_everything_has_grown_up(tiny, epochs_of):
    spec = replace(tiny, epochs=40, patience=3, learning_rate=1e-12, beta_warmup_epochs=9, patience_after_warmup=True)
    *_, last = epochs_of(spec)[1]
    assert last.state.epoch == max(9, last.state.best.epoch) + 3
    assert schedules.grown_up(replace(spec, horizon_epochs=12)) == 12
    assert schedules.grown_up(replace(spec, transition_warmup_epochs=15)) == 15
    assert schedules.grown_up(replace(spec, transition_warmup_epochs=15, lambda_transition=0.0)) == 9


# The best epoch, and averaged weights


def test_the_best_epoch_has_the_lowest_validation_loss(tmp_path, heldout_fold, robust, make_key):
    run = train(heldout_fold, make_key(), replace(robust, epochs=8), tmp_path, ABOUT)
    rows = read_history(tmp_path / HISTORY_FILE)
    losses = [row["val_loss"] for row in rows]
    assert run["best_epoch"] == 1 + losses.index(min(losses))
    assert run["best_r2"] == rows[run["best_epoch"] - 1]["val_r2"]
    assert run["best_val_loss"] == min(losses)


def test_validation_and_checkpoints_use_the_running_mean(tmp_path, heldout_fold, robust, make_key, epochs_of):
    spec = replace(robust, weight_average=0.9, epochs=2)
    model, epochs = epochs_of(spec)
    seen = []
    original = Training.step

    def step(training, loss):
        original(training, loss)
        seen.append(weights_of(model))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "step", step)
        *_, last = epochs
    mean = seen[0]
    for values in seen[1:]:
        mean = {name: 0.9 * mean[name] + 0.1 * values[name] for name in mean}
    for name, _ in model.named_parameters():
        torch.testing.assert_close(last.state.judged[name], mean[name])
    assert same(last.state.model, seen[-1]) and not same(last.state.judged, last.state.model)
    train(heldout_fold, make_key(), spec, tmp_path, ABOUT)
    assert same(torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["last"], last.state.judged)


# Steps that fail


def fail_at(monkeypatch, steps, how=math.nan):
    """Make the loss of these training steps, counted from 1, no number."""
    count = iter(range(1, 10_000))
    original = Training.step

    def step(training, loss):
        original(training, loss * how if next(count) in steps else loss)

    monkeypatch.setattr(Training, "step", step)


def test_a_step_that_fails_is_skipped(epochs_of, tiny, monkeypatch):
    fail_at(monkeypatch, {4})
    whole = [epoch.row for epoch in epochs_of(replace(tiny, skip_steps=3))[1]]
    assert [row["skipped_steps"] for row in whole] == [0, 1, 0]
    assert all(math.isfinite(value) for row in whole for value in row.values())


def test_after_two_in_a_row_training_goes_back(epochs_of, tiny, monkeypatch):
    model, epochs = epochs_of(replace(tiny, skip_steps=3))
    first = next(epochs)
    steps = []
    original = Training.skip

    def skip(training, error):
        original(training, error)
        steps.append(same(weights_of(model), first.state.model))

    monkeypatch.setattr(Training, "skip", skip)
    fail_at(monkeypatch, {2, 3})
    assert next(epochs).row["skipped_steps"] == 2
    assert steps == [False, True]


def test_a_failed_step_halves_the_learning_rate_until_an_epoch_is_clean(epochs_of, tiny, monkeypatch):
    rates = []
    original = descent.descend

    def watched(loss, model, optimiser, **settings):
        rates.append(optimiser.param_groups[0]["lr"] / tiny.learning_rate)
        original(loss, model, optimiser, **settings)

    monkeypatch.setattr("odevae.training.state.descend", watched)
    fail_at(monkeypatch, {2})
    list(epochs_of(replace(tiny, skip_steps=3))[1])
    assert rates == [1, 1, 0.5, 0.5, 0.5, 0.5, 1, 1, 1]


def test_a_gradient_that_is_no_number_leaves_the_weights_alone(tiny, heldout_fold):
    model = nn.Linear(2, 1)
    before = weights_of(model)
    loss = torch.sqrt(model.weight.sum() * 0)  # zero, with an infinite slope
    with pytest.raises(Diverged, match="norm of the gradient is nan"):
        descend(loss, model, torch.optim.Adam(model.parameters()), check_gradient=True)
    assert same(weights_of(model), before)


def test_weights_that_cannot_be_validated_are_taken_back(epochs_of, robust, monkeypatch):
    _, epochs = epochs_of(robust)
    first = next(epochs)
    original, calls = validate, []

    def once_broken(*arguments):
        calls.append(weights_of(arguments[0]))
        if len(calls) == 1:
            raise Diverged("validation loss is nan")
        return original(*arguments)

    monkeypatch.setattr("odevae.training.loop.validate", once_broken)
    second = next(epochs)
    assert second.row["skipped_steps"] == 1
    assert same(calls[1], first.state.judged) and not same(calls[0], calls[1])
    assert same(second.state.model, first.state.model)


def test_only_repeated_failure_is_a_collapse(tmp_path, heldout_fold, robust, make_key):
    observed = heldout_fold.observed.copy()
    observed[heldout_fold.parts["train"], 0] = np.nan
    fold = replace(heldout_fold, observed=observed)
    run = train(fold, make_key(), replace(robust, skip_steps=4), tmp_path, ABOUT)
    assert run["status"] == "diverged"
    assert run["reason"].startswith("epoch 1: ") and run["reason"].endswith(", after 5 failed steps")


def test_one_bad_trial_does_not_end_a_robust_training(tmp_path, heldout_fold, robust, make_key):
    observed = heldout_fold.observed.copy()
    observed[heldout_fold.parts["train"][0], 0] = np.nan
    fold = replace(heldout_fold, observed=observed)
    run = train(fold, make_key(), robust, tmp_path, ABOUT)
    assert run["status"] == "ok"
    assert [row["skipped_steps"] for row in read_history(tmp_path / HISTORY_FILE)] == [1, 1, 1]


@pytest.mark.parametrize("learning_rate", [0.1, 1e30])
def test_a_learning_rate_far_too_high(tmp_path, heldout_fold, robust, make_key, learning_rate):
    spec = replace(robust, learning_rate=learning_rate, epochs=3 if learning_rate < 1 else 30)
    run = train(heldout_fold, make_key(), spec, tmp_path, ABOUT)
    states = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in states["best"].values())
    assert run["status"] == ("ok" if learning_rate < 1 else "diverged")


# Going on from a stop


@pytest.mark.parametrize("failing", [(), (5,), (4, 5, 6)])
def test_a_robust_training_goes_on_from_any_epoch_with_the_same_bits(epochs_of, robust, monkeypatch, failing):
    spec = replace(robust, epochs=4)
    with monkeypatch.context() as patch:
        fail_at(patch, set(failing))
        whole = list(epochs_of(spec)[1])
    assert sum(epoch.row["skipped_steps"] for epoch in whole) == len(failing)
    for epoch in whole[:-1]:
        if epoch.state.epoch == 1 and failing:
            continue  # the failures come again at other steps
        for again, expected in zip(epochs_of(spec, start=epoch.state)[1], whole[epoch.state.epoch :], strict=True):
            for part in ("model", "average"):
                assert same(getattr(again.state, part), getattr(expected.state, part))
            assert same(again.state.best.weights, expected.state.best.weights)
            assert {**again.row, "seconds": None} == {**expected.row, "seconds": None}


def test_the_state_that_a_training_goes_on_from_stays_as_it_was(epochs_of, robust):
    first = next(epochs_of(robust)[1])
    before = {key: value.clone() for key, value in first.state.optimiser["state"][0].items()}
    next(epochs_of(robust, start=first.state)[1])
    assert all(torch.equal(first.state.optimiser["state"][0][key], value) for key, value in before.items())
