import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import HELDOUT_SMALL

from odevae.benchmark.models.ode_vae import V1, V5, V6
from odevae.data.simulate.foraging import foraging
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.evaluation.run_scores import predict
from odevae.models.odevae import build
from odevae.models.solvers import TOLERANCE, SolverError
from odevae.protocols.recipes import heldout
from odevae.training.checkpoints import load_checkpoint
from odevae.training.recorder import train
from odevae.training.reproducibility import seed_everything

PRESETS = [V1, V5, V6]
SETTINGS = {"latent_dim": 2, "seed": 3, "epochs": 2}


@pytest.fixture(scope="module")
def recording():
    """Eight trials of 8 to 12 frames, 20 neurons, one of which is silent."""
    whole = foraging(n_neurons=20, n_frames=96, n_trials=8, seed=1, noise=0.05)
    keep = whole.time < (12 - 2 * (whole.trial % 3)) / 10 - 0.05
    activity = whole.activity.copy()
    activity[:, 5] = 0
    return replace(
        whole,
        activity=activity[keep],
        trial=whole.trial[keep],
        time=whole.time[keep],
        covariates={},
        latents=whole.latents[keep],
    )


@pytest.fixture(scope="module")
def parts(recording) -> dict[str, Trials]:
    fold = heldout(recording, "neurons", split=0, settings=HELDOUT_SMALL)
    return {name: fold.raw.take(rows) for name, rows in fold.parts.items()}


def fitted_on(preset, parts: dict[str, Trials], **changes):
    model = preset(**(SETTINGS | changes))
    model.fit(parts["train"], parts["validation"])
    return model


@pytest.fixture(scope="module")
def fitted(parts):
    """Each preset after two epochs; read only."""
    return {preset: fitted_on(preset, parts) for preset in PRESETS}


def answers(model, trials: Trials) -> dict[str, np.ndarray]:
    return {"infer": model.infer(trials)} | {f"onset{n}": model.onset(trials, n) for n in (1, 3, 5, 50)}


def poisoned(trials: Trials, where: np.ndarray) -> Trials:
    """NaN in the bins `where` ``(B, L)``."""
    return replace(trials, values=np.where(where[..., None], np.nan, trials.values).astype(np.float32))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_answers_are_those_of_a_run_of_the_workflow(preset, recording, parts, fitted, make_key, tmp_path):
    model = fitted[preset]
    fold = heldout(recording, model.spec.observations, split=0, settings=HELDOUT_SMALL)
    run = train(fold, make_key(latent_dim=2, seed=3, model="other"), model.spec, tmp_path, about={})
    assert run["best_epoch"] == model.best.epoch > 0
    ordinary = build(model.spec, fold.preprocessor.n_channels, 2)
    ordinary.load_state_dict(load_checkpoint(tmp_path, run)["best"])
    predicted, path = predict(ordinary, fold, "test")
    np.testing.assert_array_equal(model.onset(parts["test"], 5), fold.carried("test", predicted, "raw"))
    np.testing.assert_array_equal(model.infer(parts["test"]), path)


@pytest.mark.parametrize("preset", PRESETS)
def test_which_tasks_are_answered_and_shapes(preset, parts, fitted):
    assert {task for task in ("reconstruct", "onset", "forecast", "infer") if preset.answers(task)} == {
        "onset",
        "infer",
    }
    n_trials, n_bins = parts["test"].mask.shape
    for task, answer in answers(fitted[preset], parts["test"]).items():
        assert answer.shape == (n_trials, n_bins, 2 if task == "infer" else 20), task
        assert np.isfinite(answer).all(), task


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_frames", [1, 3, 5])
def test_onset_sees_the_first_frames_only(preset, n_frames, parts, fitted):
    test, model = parts["test"], fitted[preset]
    bins = np.broadcast_to(np.arange(test.mask.shape[1]), test.mask.shape)
    later = poisoned(test, bins >= n_frames)
    np.testing.assert_array_equal(model.onset(later, n_frames), model.onset(test, n_frames))
    changed = replace(test, values=test.values + (bins == n_frames - 1)[..., None].astype(np.float32))
    sees = n_frames == 1 or preset is not V1
    assert np.array_equal(model.onset(changed, n_frames), model.onset(test, n_frames)) != sees
    np.testing.assert_array_equal(model.infer(poisoned(test, bins >= 5)), model.infer(test))


@pytest.mark.parametrize("preset", [V5, V6])
def test_the_baseline_is_the_mean_of_what_is_seen(preset, parts, fitted):
    """One frame is its own baseline: the latents of all trials are the same, only the level differs."""
    test, model = parts["test"], fitted[preset]
    predicted = model.onset(test, 1)
    np.testing.assert_allclose(predicted - predicted[:1], (predicted - predicted[:1])[:, :1].repeat(12, 1), atol=1e-5)
    # More than five frames are no news.
    np.testing.assert_array_equal(model.onset(test, 5), model.onset(test, 9))
    assert not np.allclose(model.onset(test, 5), model.onset(test, 3))


@pytest.mark.parametrize("preset", PRESETS)
def test_test_trials_and_bins_outside_trials_reach_nothing_that_is_fitted(preset, recording, parts, fitted):
    activity = recording.activity.copy()
    activity[np.isin(recording.trial, parts["test"].trial_ids)] = 1e4
    fold = heldout(replace(recording, activity=activity), "neurons", split=0, settings=HELDOUT_SMALL)
    dirty = {name: fold.raw.take(rows) for name, rows in fold.parts.items()}
    again = fitted_on(preset, {name: poisoned(trials, ~trials.recorded) for name, trials in dirty.items()})
    expected = answers(fitted[preset], parts["test"])
    for task, answer in answers(again, poisoned(parts["test"], ~parts["test"].recorded)).items():
        np.testing.assert_array_equal(answer, expected[task], err_msg=task)
    fitted_trials = np.concatenate([parts["train"].trial_ids, parts["validation"].trial_ids])
    np.testing.assert_array_equal(again.fold.raw.trial_ids, fitted_trials)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_length_of_the_arrays_is_nothing_to_learn_from(preset, parts, fitted):
    def longer(trials: Trials, by: int) -> Trials:
        arrays = {name: getattr(trials, name) for name in ("values", "mask", "recorded", "times")}
        padded = {name: np.pad(a, [(0, 0), (0, by), *[(0, 0)] * (a.ndim - 2)]) for name, a in arrays.items()}
        return Trials(**padded, trial_ids=trials.trial_ids)

    again = fitted_on(preset, {"train": longer(parts["train"], 2), "validation": longer(parts["validation"], 4)})
    expected = answers(fitted[preset], parts["test"])
    for task, answer in answers(again, longer(parts["test"], 3)).items():
        np.testing.assert_allclose(answer[:, :12], expected[task], atol=5 * TOLERANCE, err_msg=task)


def test_the_seed_decides_and_the_global_random_state_is_left_alone(parts, fitted):
    seed_everything(5)
    torch.use_deterministic_algorithms(False)
    expected = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    same, other = fitted_on(V1, parts), fitted_on(V1, parts, seed=4)
    np.testing.assert_array_equal(same.onset(parts["test"], 1), fitted[V1].onset(parts["test"], 1))
    assert not np.array_equal(other.onset(parts["test"], 1), fitted[V1].onset(parts["test"], 1))
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == expected[1:]  # noqa: NPY002
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_training_that_diverges_is_refused(parts):
    model = V1(**SETTINGS)
    model.spec = replace(model.spec, learning_rate=1e30)
    with pytest.raises(OdevaeError, match=r"v1 with 2 latent dimensions: its training diverged in epoch [12]: "):
        model.fit(parts["train"], parts["validation"])


def test_a_path_that_cannot_be_integrated_is_refused(parts, fitted, monkeypatch):
    def broken(*arguments):
        raise SolverError("the latent path is not finite")

    monkeypatch.setattr("odevae.models.solvers.DenseRK4.forward", broken)
    with pytest.raises(OdevaeError, match=r"v1 .*cannot be integrated \(the latent path is not finite\)"):
        fitted[V1].onset(parts["test"], 1)
