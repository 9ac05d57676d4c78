"""Applying the definitions of `metrics` to a trained run, in every space, next to the trivial references."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from odevae.benchmark.models.shooting import Shooting
from odevae.evaluation.latent_rank import latent_rank
from odevae.evaluation.trained_model import model_of_run
from odevae.evaluation.trivial import TRIVIAL
from odevae.events import DENSE, Null, calibration, event_scores, events_in
from odevae.metrics import Values, moments, r2_batched, score
from odevae.models.encoders import ENCODERS
from odevae.models.odevae import ODEVAE
from odevae.models.presets import ModelSpec, Spec, spec_from
from odevae.models.solvers import SolverError
from odevae.pieces import pieces
from odevae.protocols.fold import SPACES, Fold
from odevae.protocols.observations import BASELINE_BINS, Observations
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE
from odevae.storage.scores import LATENT, REFERENCE, Score, select
from odevae.training.checkpoints import load_checkpoint
from odevae.training.reproducibility import seed_everything

log = logging.getLogger(__name__)

CHECKPOINTS = ("best", "last")
# Numbers of a bin in a hidden layer of a decoder, where its channels are fewer.
DECODER_WIDTH = 256


def task_of(spec: Spec) -> str:
    """The task of the model.

    ``reconstruct`` sees the whole trial, ``onset`` its first frame, ``onset5`` that and the mean of the first five (its
    baseline).
    """
    if not isinstance(spec, ModelSpec) or ENCODERS[spec.encoder].sees_whole_trial:
        return "reconstruct"
    return f"onset{BASELINE_BINS}" if Observations.parse(spec.observations).baseline else "onset"


def evaluate(fold: Fold, run_folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Predict every held-out part with a trained run, and score that.

    Returns:
        The content of ``metrics.json`` (see `metrics_of`), and the arrays of ``predictions.npz``: rows of the fold,
        predictions in ``pca`` space and latent paths. A diverged run has rows only.
    """
    run = read_json(run_folder / RUN_FILE)
    predictions: dict[str, np.ndarray] = {f"{part}_rows": fold.parts[part] for part in held_out_parts(fold)}
    if run["status"] == "ok":
        states = load_checkpoint(run_folder, run)
        for checkpoint in CHECKPOINTS:
            model = model_of_run(run, states[checkpoint])
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
        Under ``scores`` a row for each number, with the fields of `Score`. The estimate ``mean`` uses the posterior
        mean, ``sampled`` one draw from the posterior, as published; ``r2_batched`` is the published definition. The
        space ``latent`` has the effective dimension of the paths. A diverged run has references only.
    """
    spec = spec_from(run["spec"])
    task = task_of(spec)
    scores: list[Score] = []
    for part in held_out_parts(fold):
        references = reference_scores(fold, part, task, spec.batch_size)
        scores += references
        for checkpoint in CHECKPOINTS if run["status"] == "ok" else ():
            predicted, drawn = (predictions[f"{part}_{checkpoint}{kind}"] for kind in ("", "_sampled"))
            scores += model_scores(fold, part, task, checkpoint, predicted, references)
            scores += published_scores(fold, part, task, checkpoint, drawn, spec.batch_size)
            rank = latent_rank(predictions[f"{part}_{checkpoint}_path"], fold.raw.mask[fold.parts[part]])
            scores += _rows(part, LATENT, task, checkpoint, "mean", rank._asdict())
    scores += event_scores_of_references(fold, task)
    for checkpoint in CHECKPOINTS if run["status"] == "ok" else ():
        raw = {part: fold.carried(part, predictions[f"{part}_{checkpoint}"], "raw") for part in held_out_parts(fold)}
        scores += event_scores_of(fold, task, checkpoint, "mean", raw)
    return {
        **{name: run[name] for name in ("run", "attempt", "status")},
        "task": task,
        "scored_part": fold.scored_part,
        "scores": [row._asdict() for row in scores],
    }


def held_out_parts(fold: Fold) -> list[str]:
    """The parts that no model is trained on."""
    return [part for part in ("validation", "test") if part in fold.parts]


def predict(model: ODEVAE | Shooting, fold: Fold, part: str, sample: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Predictions ``(B, L, C)`` in observation space and latent paths ``(B, L, D)`` of one part, float32.

    Both are NaN if the path of a held-out trial cannot be integrated.
    """
    if isinstance(model, Shooting):
        trials = fold.raw.take(fold.parts[part])
        activity = model.sampled(trials) if sample else model.reconstruct(trials)
        return fold.preprocessor.transform(activity).astype(np.float32), model.infer(trials)
    observed, mask = fold.sequences(part)
    model.eval()
    # All paths together, because the solver takes steps that suit them all; then decoded in pieces.
    undecoded = ODEVAE(model.encoder, model.field, nn.Identity(), model.solver, model.latent_dim).eval()
    predicted = np.empty_like(observed)
    try:
        with torch.no_grad():
            path = undecoded(*map(torch.from_numpy, (observed, mask, fold.times)), sample=sample).path
            for rows in pieces(len(path), path.shape[1] * max(observed.shape[2], DECODER_WIDTH)):
                predicted[rows] = model.decoder(path[rows]).numpy()
    except SolverError as error:
        log.info(f"{part}: no prediction, {error}")
        path_shape = (*observed.shape[:2], model.latent_dim)
        return np.full_like(observed, np.nan), np.full(path_shape, np.nan, np.float32)
    return predicted, path.numpy()


def model_scores(
    fold: Fold, part: str, task: str, checkpoint: str, observed: np.ndarray, references: list[Score]
) -> list[Score]:
    """Scores in every space of predictions ``(B, L, C)`` in observation space from the posterior mean.

    ``skill`` is one minus the mean squared error over that of the best of the `references` on the same values.
    """
    mask = fold.raw.mask[fold.parts[part]]
    scores = []
    for space in SPACES:
        metrics = score(fold.truth(part, space), fold.carried(part, observed, space), mask)
        best = min(row.value for row in select(references, space=space, metric="mse"))
        metrics["skill"] = 1 - metrics["mse"] / best if best > 0 else float("nan")
        scores += _rows(part, space, task, checkpoint, "mean", metrics)
    return scores


def published_scores(
    fold: Fold, part: str, task: str, checkpoint: str, drawn: np.ndarray, batch_size: int
) -> list[Score]:
    """The published definition, of predictions from a drawn initial state, in observation space."""
    observed, mask = fold.truth(part, "pca"), fold.raw.mask[fold.parts[part]]
    metrics = {
        "r2_batched": r2_batched(observed, drawn, mask, batch_size),
        "r2_pooled": moments(observed, drawn, mask).r2_pooled(),
    }
    return _rows(part, "pca", task, checkpoint, "sampled", metrics)


def reference_scores(fold: Fold, part: str, task: str, batch_size: int) -> list[Score]:
    """Scores in every space of the trivial references, on the very values that the model is scored on."""
    train_mask, mask = fold.raw.mask[fold.parts["train"]], fold.raw.mask[fold.parts[part]]
    scores = []
    for space in SPACES:
        train, held_out = fold.truth("train", space), fold.truth(part, space)
        for name, reference in TRIVIAL.items():
            predicted = reference(train, train_mask, held_out, mask)
            metrics = score(held_out, predicted, mask)
            metrics["r2_batched"] = r2_batched(held_out, predicted, mask, batch_size)
            scores += _rows(part, space, task, REFERENCE, name, metrics)
    return scores


def event_scores_of_references(fold: Fold, task: str) -> list[Score]:
    """Scores of events of the trivial references, as of a model."""
    train, train_mask = fold.truth("train", "raw"), fold.raw.mask[fold.parts["train"]]
    scores = []
    for name, reference in TRIVIAL.items():
        guesses = {
            part: reference(train, train_mask, fold.truth(part, "raw"), fold.raw.mask[fold.parts[part]])
            for part in held_out_parts(fold)
        }
        scores += event_scores_of(fold, task, REFERENCE, name, guesses)
    return scores


def event_scores_of(fold: Fold, task: str, checkpoint: str, estimate: str, predicted: dict[str, Values]) -> list[Score]:
    """Scores of events in recorded units on test trials, see `odevae.events`.

    There are none if the recording has no events, and none without a test part: a calibration on trials that are
    scored would be worth nothing.

    Args:
        predicted: ``(B, L, N)`` in recorded units by part, of validation, where it is calibrated, and of test.
    """
    kind = fold.events
    if "test" not in fold.parts or kind == DENSE:
        return []

    def counted(part: str, values: Values) -> np.ndarray:
        return np.asarray(values)[fold.raw.mask[fold.parts[part]]]

    null = Null.of(counted("train", fold.truth("train", "raw")), kind)
    happened = {part: events_in(counted(part, fold.truth(part, "raw")), kind) for part in ("validation", "test")}
    scaled = {part: counted(part, predicted[part]) / null.size for part in ("validation", "test")}
    rates = calibration(scaled["validation"], happened["validation"])(scaled["test"])
    metrics = event_scores(happened["test"], scaled["test"], rates, null.rate, kind)
    return _rows("test", "raw", task, checkpoint, estimate, metrics)


def _rows(part: str, space: str, task: str, checkpoint: str, estimate: str, metrics: dict[str, float]) -> list[Score]:
    return [Score(part, space, task, checkpoint, estimate, metric, value) for metric, value in metrics.items()]
