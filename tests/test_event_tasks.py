"""Event scores of the benchmark's tasks, asked of models whose answers are known, on simulations with known rates."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted, trials_of

from odevae.benchmark.event_readout import averaged, read_events
from odevae.benchmark.event_scorer import EventScorer
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.models.linear import AllNeurons
from odevae.benchmark.models.means import Persistence, TrainingMean
from odevae.benchmark.models.new_event_references import PopulationHistory, PositionTime
from odevae.benchmark.new_events import moments, new_events
from odevae.benchmark.scoring import all_scores
from odevae.benchmark.tasks import cosmooth, forecast, reconstruct
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

N_BINS, N_NEURONS = 40, 16
BASE, GAIN = np.random.default_rng(7).normal([[-2.5], [0]], [[0.5], [1.5]], (2, N_NEURONS))


def drawn(seed: int, n_trials: int, kind: str) -> tuple[Trials, np.ndarray]:
    """Trials of neurons that follow one slow state, and their true rates: probabilities, or expected counts."""
    generator = np.random.default_rng(seed)
    state = np.sin(np.arange(N_BINS) / 6 + generator.uniform(0, 6, (n_trials, 1)))
    drive = BASE + GAIN * state[..., None]
    rates = np.exp(drive) if kind == "spikes" else 1 / (1 + np.exp(-drive))
    if kind == "spikes":
        values = generator.poisson(rates)
    else:
        values = (generator.random(rates.shape) < rates) * generator.gamma(2, 1, rates.shape)
    lengths = generator.integers(30, N_BINS + 1, n_trials)
    covariates = {"Position": np.broadcast_to(state, (n_trials, N_BINS)).copy()}
    return trials_of(values.astype(float), lengths, covariates=covariates), rates


def parts_of(kind: str):
    (train, _), (validation, _), (test, rates) = drawn(1, 60, kind), drawn(2, 20, kind), drawn(3, 20, kind)
    return train, validation, test, rates


@pytest.fixture(scope="module", params=["spikes", "sparse"])
def parts(request):
    return *parts_of(request.param), request.param


class KnowsTheRates(BenchmarkModel):
    """Gives the true rates of the test trials."""

    def __init__(self, rates):
        super().__init__()
        self.rates = rates

    def reconstruct(self, trials):
        return np.zeros(trials.values.shape)

    def event_rates(self, task, trials, number):
        assert (task, number) == ("reconstruct", 0)
        return self.rates


class Predicts(BenchmarkModel):
    """A function of the trials as its prediction."""

    def __init__(self, predict):
        super().__init__()
        self.reconstruct = predict

    def reconstruct(self, trials):
        raise NotImplementedError


def from_position(trials):
    """Expected activity, up to a factor, from the true state."""
    return np.exp(0.7 * (BASE + GAIN * trials.covariates["Position"][..., None]))


def test_true_rates_are_the_ceiling_and_a_constant_one_is_zero(parts):
    train, validation, test, rates, kind = parts
    events = EventScorer.of(kind, 1, train, validation)
    ceiling = reconstruct(KnowsTheRates(rates), test, events)["bits_per_event"]
    assert ceiling > 0.2
    point = reconstruct(Predicts(from_position), test, events)
    assert 0.8 * ceiling < point["bits_per_event"] <= ceiling + 0.01
    constant = reconstruct(KnowsTheRates(np.broadcast_to(events.null.rate, rates.shape)), test, events)
    assert constant["bits_per_event"] == 0 and constant["event_auc"] == 0.5
    mean = reconstruct(fitted(TrainingMean(), train), test, events)
    assert mean["bits_per_event"] == pytest.approx(0, abs=0.03) and mean["event_auc"] == 0.5


def test_a_copy_wins_only_where_it_sees_what_is_scored(parts):
    train, validation, test, _, kind = parts
    events = EventScorer.of(kind, 1, train, validation)
    copied = reconstruct(AllNeurons(), test, events)
    assert copied["event_auc"] == 1

    class Noise(BenchmarkModel):
        def infer(self, trials):
            return np.random.default_rng(trials.values.shape[2]).standard_normal((*trials.mask.shape, 3))

    def fit(model):
        return lambda train, validation: fitted(model, train, validation)

    def known(model):
        model.fit = lambda train, validation: None
        return cosmooth(fit(model), train, validation, test, 0, events)

    nothing, others = known(Noise()), known(AllNeurons())
    assert nothing["event_auc"] == pytest.approx(0.5, abs=0.05) and nothing["bits_per_event"] < 0.02
    assert 0.55 < others["event_auc"] < 0.95 and nothing["bits_per_event"] < others["bits_per_event"]


def test_holding_the_last_frame_knows_nothing_of_new_events():
    train, validation, test, _ = parts_of("sparse")
    events = EventScorer.of("sparse", 3, train, validation)
    held = new_events(Persistence(), test, 5, events)
    assert held["event_auc"] == 0.5 and held["bits_per_event"] <= 0
    mean = new_events(fitted(TrainingMean(), train), test, 5, events)
    assert mean["event_auc"] == 0.5 and mean["bits_per_event"] == pytest.approx(0, abs=0.05)
    place = new_events(fitted(PositionTime(), train, validation), test, 5, events)
    population = new_events(fitted(PopulationHistory(latent_dim=3), train, validation), test, 5, events)
    assert place["event_auc"] > 0.55 and place["bits_per_event"] > 0
    assert population["event_auc"] > 0.55
    assert place["n_values"] == held["n_values"] == moments(test, 2, 5)[0].sum()


def test_moments_written_out():
    generator = np.random.default_rng(0)
    values = (generator.random((4, 15, 3)) < 0.15) * 1.0
    trials = trials_of(values, [15, 12, 9, 4])
    for silent, horizon in ((1, 1), (3, 2), (6, 5), (6, 20)):
        asked, happened = moments(trials, silent, horizon)
        for b, length in enumerate((15, 12, 9, 4)):
            for t in range(15):
                for n in range(3):
                    active = trials.values[b, :length, n] > 0
                    expected = silent - 1 <= t < length - horizon and not active[t - silent + 1 : t + 1].any()
                    assert asked[b, t, n] == expected
                    if expected:
                        assert happened[b, t, n] == active[t + 1 : t + 1 + horizon].any()


@pytest.mark.parametrize("make", [lambda: PopulationHistory(latent_dim=2), PositionTime])
def test_references_of_new_events_see_the_past_only(make):
    train, validation, test, _ = parts_of("sparse")
    model = fitted(make(), train, validation)
    seen = model.new_events(test, 5, 2)
    changed = test.values.copy()
    changed[:, 20:] = 9
    place = test.covariates["Position"].copy()
    place[:, 20:] = np.nan
    other = model.new_events(replace(test, values=changed, covariates={"Position": place}), 5, 2)
    assert np.array_equal(seen[:, :20], other[:, :20])
    assert not np.allclose(seen[:, 20:], other[:, 20:])


def test_a_masked_ridge_is_that_of_scikit_learn():
    from sklearn.linear_model import Ridge

    train, validation, _, _ = parts_of("sparse")
    model = fitted(PositionTime(), train, validation)
    weights = model._fitted(5, 2)
    asked, happened = moments(train, 2, 5)
    inputs = model._inputs(train)[..., :-1]
    fits = []
    for strength in (10.0**power for power in range(-3, 7)):
        fit = Ridge(alpha=strength).fit(inputs[asked[..., 4]], happened[..., 4][asked[..., 4]])
        fits.append(np.append(fit.coef_, fit.intercept_))
    assert min(np.abs(weights[:, 4] - fit).max() for fit in fits) < 1e-5


def test_test_trials_calibrate_nothing(parts):
    train, validation, test, _, kind = parts
    events = EventScorer.of(kind, 1, train, validation)
    model = Predicts(from_position)
    half = test.take(np.arange(len(test) // 2))
    whole, part = (reconstruct(model, trials, events) for trials in (test, half))
    # Scores of two halves add up to that of the whole, so that nothing was fitted to either.
    rest = reconstruct(model, test.take(np.arange(len(test) // 2, len(test))), events)
    total = part["bits_per_event"] * part["n_events"] + rest["bits_per_event"] * rest["n_events"]
    assert whole["bits_per_event"] == pytest.approx(total / whole["n_events"])


def test_every_task_of_a_recording_with_events_has_event_scores(parts):
    train, validation, test, _, kind = parts
    events = EventScorer.of(kind, 1, train, validation)

    def of(model, events):
        return all_scores(lambda _: model, [1], train, validation, test, (), 0, events=events)[0][0]

    scores = of(Persistence(), events)
    assert {"new_events@5", "new_events@10"} < set(scores)
    assert all("event_auc" in values for values in scores.values())
    assert all("event_auc" not in values for values in of(Persistence(), None).values())
    assert set(of(PopulationHistory(), events)) == {"new_events@5", "new_events@10"}
    assert EventScorer.of("dense", 1, train, validation) is None


def test_events_are_scored_where_the_task_is(parts):
    train, validation, test, _, kind = parts
    events = EventScorer.of(kind, 1, train, validation)
    found = forecast(Persistence(), test, 5, events)
    later = test.values[:, 5:][test.mask[:, 5:]]
    assert found["n_events"] == events.events(later).sum()


def test_a_diverged_prediction_has_no_event_scores(parts):
    train, validation, test, _, kind = parts
    events = EventScorer.of(kind, 1, train, validation)
    found = reconstruct(Predicts(lambda trials: np.full(trials.values.shape, np.nan)), test, events)
    assert np.isnan(found["event_auc"]) and np.isnan(found["bits_per_event"])


def test_averages_stay_inside_a_trial():
    generator = np.random.default_rng(0)
    values = generator.standard_normal((2, 8, 3))
    mask = np.arange(8) < np.array([[8], [5]])
    values[~mask] = 1e9
    found = averaged(values, mask, 3)
    assert np.allclose(found[0, 3], values[0, 2:5].mean(axis=0))
    assert np.allclose(found[1, 4], values[1, 3:5].mean(axis=0)) and np.allclose(
        found[0, 0], values[0, :2].mean(axis=0)
    )


def test_a_readout_does_not_depend_on_the_units_of_a_latent(parts):
    train, validation, test, *_ = parts
    trials, masks = (train, validation, test), [part.mask for part in (train, validation, test)]
    events = [(part.values[part.mask][:, :4] > 0).astype(float) for part in (train, validation)]
    latents = [part.values[:, :, 4:7].astype(float) for part in trials]
    read = read_events(latents, masks, events)
    scaled = read_events([z * np.array([1e3, 1e-3, 1.0]) for z in latents], masks, events)
    assert all(np.allclose(one, other) for one, other in zip(read, scaled, strict=True))


def test_a_recording_without_the_position_is_refused():
    train, *_ = parts_of("sparse")
    with pytest.raises(OdevaeError, match="no covariate 'Position' in the trials"):
        PositionTime().fit(replace(train, covariates={}), train)
