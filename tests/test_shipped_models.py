"""What holds for every model that the shipped benchmarks compare."""

from dataclasses import replace
from functools import cache, partialmethod

import numpy as np
import pytest
import yaml
from workflow_project import CHECKOUT

from odevae.benchmark.event_scorer import EventScorer
from odevae.benchmark.grid import model_class
from odevae.benchmark.models import dynamics
from odevae.benchmark.models.dynamics import Dynamics
from odevae.benchmark.models.neural import history_mlp
from odevae.benchmark.models.neural.neural_model import NeuralModel
from odevae.benchmark.models.ode_vae import Preset
from odevae.benchmark.models.shooting import Shooting
from odevae.benchmark.models.shooting_causal import ShootingCausal
from odevae.benchmark.models.state_space.linear_gaussian import LinearGaussian
from odevae.benchmark.scoring import all_scores
from odevae.data.trials import Trials
from odevae.models import shooting
from odevae.training import causal, frame_codes
from odevae.training.shooting import HEAVY

CONFIG = yaml.safe_load((CHECKOUT / "config/config.yaml").read_text(encoding="utf-8"))
LATENT_DIM, N_NEURONS = 2, 8


def trials(lengths: list[int], seed: int) -> Trials:
    """Neurons that fire in places of a track that every trial runs along at its own pace."""
    generator = np.random.default_rng(seed)
    mask = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
    pace = generator.uniform(0.6, 1.0, (len(lengths), 1))
    position = np.where(mask, pace * np.arange(mask.shape[1]) / mask.shape[1], 0.0)
    choice = np.where(mask, np.arange(len(lengths))[:, None] % 2, 0)
    places = np.linspace(0, 1, N_NEURONS)
    activity = np.exp(-np.square(position[..., None] - places) / 0.05) * (1 + choice[..., None] * (places > 0.5))
    activity += 0.05 * generator.random(activity.shape)
    # Mostly silent, so that there are events.
    activity[activity < 0.4] = 0
    return Trials(
        values=np.where(mask[..., None], activity, 0).astype(np.float32),
        mask=mask,
        recorded=mask,
        times=np.where(mask, 0.1 * np.arange(mask.shape[1]), 0.0),
        trial_ids=np.arange(len(lengths)),
        covariates={"Position": position, "Choice": choice.astype(float)},
    )


TRAIN, VALIDATION = trials([14, 18, 16, 20] * 4, 1), trials([15, 19, 17], 2)
CLEAN = trials([20, 15, 18], 3)
EVENTS = EventScorer.of("sparse", 1, TRAIN, VALIDATION)

every_model = pytest.mark.parametrize("name", CONFIG["benchmark_models"])


@pytest.fixture(autouse=True)
def short_fits(monkeypatch):
    """What is asked here does not hang on how long a network is trained."""
    monkeypatch.setattr(history_mlp, "EPOCHS", 2)
    monkeypatch.setattr(shooting, "REFINEMENT", ((0.5, 3), (1.0, 3)))
    monkeypatch.setattr(causal, "STEPS", 10)
    monkeypatch.setattr(frame_codes, "DECODER_STEPS", 10)
    monkeypatch.setattr(frame_codes, "CODE_STEPS", 10)


def quick_shooting(found: type[Shooting]) -> type[Shooting]:
    quick = (replace(HEAVY, steps=10, width=16, block_frames=4),)
    return type(found.__name__, (found,), {"default_candidates": lambda *_: quick})


def quick_class(name: str) -> type:
    found = model_class(CONFIG["benchmark_models"][name]["class"])
    if issubclass(found, NeuralModel):
        return type(name, (found,), {"default_settings": replace(found.default_settings, steps=12, check_every=6)})
    if issubclass(found, Preset):
        return type(name, (found,), {"__init__": partialmethod(found.__init__, epochs=2)})
    if issubclass(found, Shooting):
        return quick_shooting(found)
    if issubclass(found, LinearGaussian):
        return type(name, (found,), {"__init__": partialmethod(found.__init__, max_iterations=20)})
    if issubclass(found, Dynamics):
        quick = replace(dynamics.SETTINGS, steps=10, width=16)
        return type(name, (found,), {"__init__": partialmethod(found.__init__, settings=quick)})
    if issubclass(found, ShootingCausal):
        return type(name, (found,), {"shooting_class": quick_shooting(found.shooting_class)})
    return found


def scores_of(model: type, latent_dims: list[int], test: Trials = CLEAN) -> list[dict]:
    found = all_scores(
        lambda latent_dim: model(latent_dim=latent_dim, seed=0),
        latent_dims,
        TRAIN,
        VALIDATION,
        test,
        ("Position", "Choice"),
        draw=0,
        events=EVENTS,
    )
    return [fit.scores for fit in found]


@cache
def scores_alone(name: str) -> dict:
    """Of the shortened model, at one dimension."""
    (scores,) = scores_of(quick_class(name), [LATENT_DIM])
    return scores


@pytest.mark.slow
@every_model
def test_test_trials_are_nan_until_scoring_and_nothing_changes(name):
    """No model and no choice between settings sees a test trial: while any fit goes on, they hold nothing but NaN."""
    fits, test = [], replace(CLEAN, values=CLEAN.values.copy())

    class Watched(quick_class(name)):
        def fit(self, train, validation):
            test.values[...] = np.nan
            super().fit(train, validation)
            test.values[...] = CLEAN.values
            fits.append(self)

    clean = scores_alone(name)
    assert clean and scores_of(Watched, [LATENT_DIM], test) == [clean]
    # Cosmooth fits once more, and so does the control of the intrinsic dimension.
    answers = quick_class(name).answers
    read_out = answers("infer") and answers("reconstruct") and not answers("hidden_neurons")
    refits = read_out + answers("intrinsic_dimension")
    assert len(fits) == 1 + refits
    assert all(np.isfinite(list(values.values())).all() for values in clean.values())


@pytest.mark.slow
@every_model
def test_the_answer_for_a_trial_does_not_depend_on_the_others(name):
    """Nor on what lies outside its recorded bins, or after the frames that a task shows."""
    model = quick_class(name)(latent_dim=LATENT_DIM, seed=0)
    model.fit(TRAIN, VALIDATION)
    alone = CLEAN.take(np.array([1]))
    unseen = replace(CLEAN, values=CLEAN.values.copy())
    unseen.values[:, 6:] = 7.0
    asked = {
        "reconstruct": lambda given: model.reconstruct(given),
        "infer": lambda given: model.infer(given),
        "onset": lambda given: model.onset(given, 5),
        "forecast": lambda given: model.forecast(given, 2),
        "new_events": lambda given: model.new_events(given, 2, 1),
    }
    for task, ask in asked.items():
        if not model.answers(task):
            continue
        whole = ask(CLEAN)
        known = alone.mask[0] & np.isfinite(whole[1]).all(axis=-1)
        assert known.any()
        assert ask(alone)[0][known] == pytest.approx(whole[1][known], rel=1e-3, abs=1e-4), task
        if task == "onset":
            assert np.array_equal(ask(unseen), whole, equal_nan=True)
        if task == "forecast":
            # Bins up to 7 rest on bins up to 5.
            assert np.array_equal(ask(unseen)[:, :8], whole[:, :8], equal_nan=True)
        if task == "new_events":
            assert np.array_equal(ask(unseen)[:, :6], whole[:, :6])


@pytest.mark.slow
@every_model
def test_a_dimension_is_the_same_with_others_and_alone(name):
    """A cell fits its dimensions one after the other, and a model may share between them what is the same in all."""
    assert scores_of(quick_class(name), [LATENT_DIM + 1, LATENT_DIM])[1] == scores_alone(name)
