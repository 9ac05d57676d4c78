"""Event scores against written-out sums, other libraries, and simulations whose true rates are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from odevae.events import (
    DENSE,
    FEWEST_EVENTS,
    SPARSE,
    SPIKES,
    Null,
    bits_per_event,
    calibration,
    event_auc,
    event_scores,
    events_in,
    kind_of,
)

# Two trials of four bins of three neurons.
COUNTS = (np.arange(24).reshape(2, 4, 3) * 7 % 5 % 3).astype(float)
RATES = 0.25 + (np.arange(24).reshape(2, 4, 3) * 5 % 7) / 4
# What `bits_per_spike(RATES, COUNTS)` of nlb_tools 0.0.4 gives.
NLB = -0.21920599751793726


def simulated(seed: int, kind: str, n_frames: int = 4000, n_neurons: int = 12):
    """Events and the rates that they were drawn from: each neuron follows a common state in its own way."""
    generator = np.random.default_rng(seed)
    state = np.sin(np.arange(n_frames) / 30) + 0.3 * generator.standard_normal(n_frames)
    gain, base = generator.standard_normal((2, n_neurons))
    drive = gain * state[:, None] + base - 2
    rates = np.exp(drive) if kind == SPIKES else 1 / (1 + np.exp(-drive))
    return (generator.poisson(rates) if kind == SPIKES else generator.random(rates.shape) < rates).astype(float), rates


def test_bits_are_those_of_the_neural_latents_benchmark():
    counts, rates = COUNTS.reshape(-1, 3), RATES.reshape(-1, 3)
    assert bits_per_event(counts, rates, counts.mean(axis=0), SPIKES) == pytest.approx(NLB, rel=1e-12)


@pytest.mark.parametrize("kind", [SPIKES, SPARSE])
def test_bits_are_a_difference_of_log_likelihoods(kind):
    events, rates = simulated(0, kind, 50)
    null = np.full(events.shape[1], 0.2)
    if kind == SPIKES:
        model, constant = (stats.poisson.logpmf(events, r).sum() for r in (rates, null))
    else:
        constant_rates = np.broadcast_to(null, events.shape)
        model, constant = (-log_loss(events.ravel(), r.ravel(), normalize=False) for r in (rates, constant_rates))
    expected = (model - constant) / (events.sum() * np.log(2))
    assert bits_per_event(events, rates, null, kind) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", [SPIKES, SPARSE])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_true_rates_are_the_ceiling_and_the_null_is_zero(kind, seed):
    events, rates = simulated(seed, kind)
    null = Null.of(events, kind).rate
    ceiling = bits_per_event(events, rates, null, kind)
    generator = np.random.default_rng(seed)
    noisy = rates * np.exp(0.5 * generator.standard_normal(rates.shape))
    others = [0.5 * rates + 0.5 * null, noisy, rates[generator.permutation(len(rates))], rates**2]
    assert all(bits_per_event(events, other, null, kind) < ceiling for other in others)
    assert bits_per_event(events, np.broadcast_to(null, events.shape), null, kind) == 0


def test_a_calibrated_prediction_stays_below_the_true_rates_and_near_them():
    for kind in (SPIKES, SPARSE):
        held, held_rates = simulated(3, kind, 12_000)
        parts = [(held[rows], held_rates[rows]) for rows in (slice(0, 6000), slice(6000, 12_000))]
        (validation, validation_rates), (test, rates) = parts
        null = Null.of(validation, kind).rate
        # Any monotone prediction is as good as the rates themselves; one that knows nothing gains nothing.
        calibrate = calibration(validation_rates**3 - 7, validation)
        ceiling = bits_per_event(test, rates, null, kind)
        assert 0.95 * ceiling < bits_per_event(test, calibrate(rates**3 - 7), null, kind) <= ceiling + 0.01
        generator = np.random.default_rng(0)
        noise = [generator.standard_normal(part.shape) for part in (validation, test)]
        common = np.full(test.shape[1], validation.mean())
        assert bits_per_event(test, calibration(noise[0], validation)(noise[1]), common, kind) == pytest.approx(
            0, abs=0.02
        )


def test_a_calibration_is_monotone_and_never_certain():
    generator = np.random.default_rng(1)
    predicted = np.concatenate([np.zeros(500), generator.random(500)])
    events = (predicted > 0).astype(float)
    calibrate = calibration(predicted, events)
    rates = calibrate(np.array([-5.0, 0.0, 0.2, 0.5, 9.0]))
    assert (np.diff(rates) >= 0).all() and 0 < rates[0] < 0.01 and 0.99 < rates[-1] < 1
    assert np.isnan(calibrate(np.array([np.nan]))).all()
    assert np.isnan(calibration(np.full(3, np.nan), np.zeros(3))(np.zeros(2))).all()


def test_expected_activity_over_the_size_of_events_is_their_rate():
    generator = np.random.default_rng(2)
    active = generator.random((5000, 4)) < [0.3, 0.1, 0.02, 0]
    values = active * generator.gamma(2, [1.0, 2.0, 5.0, 1.0], active.shape)
    null = Null.of(values, SPARSE)
    assert np.allclose(values.mean(axis=0)[:3] / null.size[:3], null.rate[:3]) and null.rate[3] == 0.5 / 5000
    assert (Null.of(active.astype(int), SPIKES).size == 1).all()


def test_neurons_with_few_events_are_left_out_of_the_auc_and_not_of_the_bits():
    generator = np.random.default_rng(3)
    events = (generator.random((300, 4)) < 0.2).astype(float)
    events[:, 1] = np.arange(300) < FEWEST_EVENTS - 1
    events[:, 2] = 1
    scores = generator.random(events.shape) + events
    auc, left_out = event_auc(events, scores)
    assert left_out == 2
    assert auc == pytest.approx(np.mean([roc_auc_score(events[:, n], scores[:, n]) for n in (0, 3)]))
    rates, null = np.full(events.shape, 0.3), np.full(4, 0.2)
    found = event_scores(events, scores, rates, null, SPARSE)
    assert found["n_events"] == events.sum() and found["auc_left_out"] == 2
    one_by_one = [
        bits_per_event(events[:, [n]], rates[:, [n]], null[[n]], SPARSE) * events[:, n].sum() for n in range(4)
    ]
    assert found["bits_per_event"] == pytest.approx(sum(one_by_one) / events.sum())


def test_entries_that_are_not_counted_change_nothing():
    events, rates = simulated(4, SPARSE, 600)
    null, counted = np.full(events.shape[1], 0.1), np.random.default_rng(0).random(events.shape) < 0.6
    poisoned = np.where(counted, rates, np.nan)
    found = event_scores(events, poisoned, poisoned, null, SPARSE, counted)
    assert np.isfinite([*found.values()]).all()
    one = counted[:, 0]
    alone = event_scores(events[one][:, :1], rates[one][:, :1], rates[one][:, :1], null[:1], SPARSE)
    single = (x[:, :1] for x in (events, poisoned, poisoned))
    assert alone == event_scores(*single, null[:1], SPARSE, counted[:, :1])


def test_what_is_not_defined_is_nan():
    nothing = np.zeros((20, 2))
    found = event_scores(nothing, nothing, nothing + 0.1, np.array([0.1, 0.1]), SPARSE)
    assert np.isnan(found["event_auc"]) and np.isnan(found["bits_per_event"]) and found["auc_left_out"] == 2
    events = np.tile([[0.0], [1.0]], (10, 2))
    diverged = np.full(events.shape, np.nan)
    found = event_scores(events, diverged, diverged, np.array([0.5, 0.5]), SPARSE)
    assert np.isnan(found["event_auc"]) and np.isnan(found["bits_per_event"])


def test_the_kind_of_a_recording_is_found_from_its_values():
    generator = np.random.default_rng(0)
    trace = generator.standard_normal((50, 3))
    assert kind_of(generator.poisson(0.3, (50, 3)).astype(np.float32)) == SPIKES
    assert kind_of(np.maximum(trace - 1, 0)) == SPARSE
    assert kind_of(trace) == DENSE and kind_of(np.abs(trace)) == DENSE
    assert events_in(np.array([0.0, 0.4, 2.0]), SPARSE).tolist() == [0, 1, 1]
    assert events_in(np.array([0, 1, 2]), SPIKES).tolist() == [0, 1, 2]
