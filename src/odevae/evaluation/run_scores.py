"""Applying the definitions of `metrics` to a trained run, in every space, beside the trivial references."""

import logging
from pathlib import Path

import numpy as np
import torch

from odevae.evaluation.trivial import TRIVIAL
from odevae.metrics import r2_batched, score
from odevae.models.encoders import ENCODERS
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import ModelSpec
from odevae.models.solvers import SolverError
from odevae.protocols.fold import SPACES, Fold
from odevae.protocols.observations import BASELINE_BINS, Observations
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE
from odevae.training.checkpoints import load_checkpoint
from odevae.training.reproducibility import seed_everything

log = logging.getLogger(__name__)

CHECKPOINTS = ("best", "last")


def task_of(spec: ModelSpec) -> str:
    """What the model is asked.

    ``reconstruct`` sees the whole trial, ``onset`` its first frame, ``onset5`` that and the mean of the first five (its
    baseline).
    """
    if ENCODERS[spec.encoder].sees_whole_trial:
        return "reconstruct"
    return f"onset{BASELINE_BINS}" if Observations.parse(spec.observations).baseline else "onset"


def evaluate(fold: Fold, run_folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Predict every held-out part with a trained run, and score that.

    Returns:
        The content of ``metrics.json`` (see `metrics_of`), and the arrays of ``predictions.npz``: rows of the fold,
        predictions in ``pca`` space and latent paths. A diverged run has rows only.
    """
    run = read_json(run_folder / RUN_FILE)
    spec = ModelSpec(**run["spec"])
    predictions: dict[str, np.ndarray] = {f"{part}_rows": fold.parts[part] for part in held_out_parts(fold)}
    if run["status"] == "ok":
        states = load_checkpoint(run_folder, run)
        model = build(spec, fold.preprocessor.n_channels, run["key"]["latent_dim"])
        for checkpoint in CHECKPOINTS:
            model.load_state_dict(states[checkpoint])
            for part in held_out_parts(fold):
                predicted, path = predict(model, fold, part)
                predictions[f"{part}_{checkpoint}"] = predicted
                predictions[f"{part}_{checkpoint}_path"] = path
                seed_everything(run["key"]["seed"])
                predictions[f"{part}_{checkpoint}_sampled"], _ = predict(model, fold, part, sample=True)
    return metrics_of(fold, run, predictions), predictions


def metrics_of(fold: Fold, run: dict, predictions: dict[str, np.ndarray]) -> dict:
    """The content of ``metrics.json`` of a run, from its ``run.json`` and the arrays of its ``predictions.npz``.

    Returns:
        Under ``values`` one number for each key ``<part>/<space>/<task>/<best|last>/<mean|sampled>/<metric>`` and
        ``<part>/<space>/<task>/reference/<name>/<metric>``. ``mean`` uses the posterior mean, ``sampled`` one draw from
        the posterior, as published; ``r2_batched`` is the published definition. A diverged run has references only.
    """
    spec = ModelSpec(**run["spec"])
    task = task_of(spec)
    values: dict[str, float] = {}
    for part in held_out_parts(fold):
        values |= _prefixed(f"{part}/{{space}}/{task}/reference/{{name}}", references(fold, part, spec.batch_size))
        for checkpoint in CHECKPOINTS if run["status"] == "ok" else ():
            name, prefix = f"{part}_{checkpoint}", f"{part}/{{space}}/{task}/{checkpoint}"
            values |= _prefixed(f"{prefix}/mean", score_spaces(fold, part, predictions[name]))
            drawn = published_scores(fold, part, predictions[f"{name}_sampled"], spec.batch_size)
            values |= _prefixed(f"{prefix}/sampled", drawn)
    return {
        "run": run["run"],
        "attempt": run["attempt"],
        "status": run["status"],
        "task": task,
        "scored_part": fold.scored_part,
        "values": _with_skill(values),
    }


def held_out_parts(fold: Fold) -> list[str]:
    """The parts that no model is trained on."""
    return [part for part in ("validation", "test") if part in fold.parts]


def predict(model: ODEVAE, fold: Fold, part: str, sample: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Predictions ``(B, L, K)`` in observation space and latent paths ``(B, L, D)`` of one part, float32.

    Both are NaN throughout if the path of a held-out trial cannot be integrated.
    """
    observed, mask = fold.sequences(part)
    model.eval()
    try:
        with torch.no_grad():
            output = model(
                torch.from_numpy(observed), torch.from_numpy(mask), torch.from_numpy(fold.times), sample=sample
            )
    except SolverError as error:
        log.info(f"{part}: no prediction, {error}")
        path_shape = (*observed.shape[:2], model.latent_dim)
        return np.full_like(observed, np.nan), np.full(path_shape, np.nan, np.float32)
    return output.reconstruction.numpy(), output.path.numpy()


def score_spaces(fold: Fold, part: str, observed: np.ndarray) -> dict[tuple[str, str], dict[str, float]]:
    """Scores by (space, "") of predictions in observation space."""
    mask = fold.raw.mask[fold.parts[part]]
    return {(space, ""): score(fold.truth(part, space), fold.carried(part, observed, space), mask) for space in SPACES}


def published_scores(fold: Fold, part: str, drawn: np.ndarray, batch_size: int) -> dict:
    """The published definition, of predictions from a drawn initial state, in observation space."""
    observed, mask = fold.sequences(part)
    return {
        ("pca", ""): {
            "r2_batched": r2_batched(observed, drawn, mask, batch_size),
            "r2_pooled": score(observed, drawn, mask)["r2_pooled"],
        }
    }


def references(fold: Fold, part: str, batch_size: int) -> dict[tuple[str, str], dict[str, float]]:
    """Scores by (space, name) of the trivial references, on the very values that the model is scored on."""
    train_mask, mask = fold.raw.mask[fold.parts["train"]], fold.raw.mask[fold.parts[part]]
    scores = {}
    for space in SPACES:
        train, held_out = fold.truth("train", space), fold.truth(part, space)
        for name, reference in TRIVIAL.items():
            predicted = reference(train, train_mask, held_out, mask)
            scores[space, name] = score(held_out, predicted, mask)
            scores[space, name]["r2_batched"] = r2_batched(held_out, predicted, mask, batch_size)
    return scores


def best_reference(values: dict[str, float], part: str, space: str, task: str, metric: str) -> tuple[str, float]:
    """Name and score of the trivial reference that is best by `metric` (higher is better)."""
    scores = {name: values[f"{part}/{space}/{task}/reference/{name}/{metric}"] for name in TRIVIAL}
    name = max(scores, key=lambda n: -np.inf if np.isnan(scores[n]) else scores[n])
    return name, scores[name]


def _prefixed(prefix: str, scores: dict[tuple[str, str], dict[str, float]]) -> dict[str, float]:
    return {
        f"{prefix.format(space=space, name=name)}/{metric}": value
        for (space, name), metrics in scores.items()
        for metric, value in metrics.items()
    }


def _with_skill(values: dict[str, float]) -> dict[str, float]:
    """Add ``skill``: one minus the mean squared error over that of the best trivial reference on the same values."""
    skill = {}
    for key, error in values.items():
        part, space, task, checkpoint, estimate, metric = key.split("/")
        if metric != "mse" or checkpoint == "reference":
            continue
        best = min(values[f"{part}/{space}/{task}/reference/{name}/mse"] for name in TRIVIAL)
        skill[f"{part}/{space}/{task}/{checkpoint}/{estimate}/skill"] = 1 - error / best if best > 0 else float("nan")
    return values | skill
