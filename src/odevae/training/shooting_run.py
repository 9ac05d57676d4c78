"""One run of the preset ``shooting`` on disk: ``run.json``, history and checkpoint, as `odevae.training.recorder`
writes them for the other presets."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from odevae.metrics import r2_batched
from odevae.models.presets import ShootingSpec
from odevae.models.shooting import ShootingVAE
from odevae.protocols.fold import Fold
from odevae.storage.files import write_json
from odevae.storage.run_folder import HISTORY_FILE, RESUME_FILE, RUN_FILE, RunKey, write_history
from odevae.training.hidden_activity import PHASES
from odevae.training.reproducibility import seed_everything
from odevae.training.run_record import begun, write_finished
from odevae.training.shooting import CANDIDATES, fit_trials, limited, tensors

logger = logging.getLogger(__name__)


def train_shooting(
    fold: Fold,
    key: RunKey,
    spec: ShootingSpec,
    folder: Path,
    about: dict,
    on_epoch: Callable[[], None] = lambda: None,
    device: str = "cpu",
) -> dict:
    """Choose settings on the validation trials, fit, and write the run.

    The fit is that of the estimator and of the benchmark: the same seed and trials give the same model. An epoch of the
    history is a look at the validation trials; its ``val_loss`` is that of neurons and entries hidden from the
    encoder, its ``val_r2`` the published definition on paths of the posterior mean. A fit that was stopped starts
    again, because it takes minutes.

    Args:
        fold: of the protocol ``heldout``.
        key, spec, folder, about: as in `odevae.training.recorder.train`; the key's lambda_smooth has no part in it.
        on_epoch: called once the history is there.
        device: is not used: the fit computes on the CPU.

    Returns:
        The content of ``run.json``; ``fitted`` holds what `odevae.benchmark.models.shooting.Shooting.restore` takes.

    Raises:
        OdevaeError: if the loss is no number.
    """
    seed_everything(key.seed)
    started = time.monotonic()
    run = begun(key, spec, "cpu", about | {"n_channels": fold.preprocessor.n_channels})
    write_json(folder / RUN_FILE, run)
    write_history(folder / HISTORY_FILE, [])
    # Of another preset, if the model's entry of the configuration was changed.
    (folder / RESUME_FILE).unlink(missing_ok=True)
    train, validation = (fold.raw.take(fold.parts[part]) for part in ("train", "validation"))
    truth, mask = fold.truth("validation", "zscore"), validation.mask

    def judge(model: ShootingVAE, scale: float) -> dict[str, float]:
        values, recorded = tensors(validation, scale)
        with torch.no_grad():
            states, _ = model.encoder(model.likelihood.seen(values), recorded)
            paths = model.paths(states, model.phases(PHASES))
            activity = torch.stack([model.likelihood.mean(model.decoder(path)) for path in paths]).mean(dim=0)
        r2 = r2_batched(truth, fold.preprocessor.zscore(activity.numpy() * scale), mask, spec.batch_size)
        logger.info(f"{key.path}: {time.monotonic() - started:.0f} s | validation R2 {r2:.4f}")
        return {"val_r2": r2}

    def candidates(kind: str):
        return limited(CANDIDATES[kind], spec.epochs, len(train)) if spec.epochs else CANDIDATES[kind]

    fitted = fit_trials(train, validation, key.latent_dim, candidates=candidates, judge=judge)
    fit = fitted.fit
    write_history(folder / HISTORY_FILE, fit.history)
    run = run | {
        "n_parameters": sum(p.numel() for p in fit.model.parameters()),
        "epochs": len(fit.history),
        "fitted": {
            "settings": asdict(fit.settings),
            "kind": fitted.kind,
            "scale": fitted.scale,
            "smooths": fitted.smooths,
        },
    }
    logger.info(
        f"{key.path}: knots every {fit.settings.block_frames} frames, "
        f"{'bent' if fit.settings.curved else 'linear'} decoder, best look {fit.best.epoch} of {len(fit.history)}"
    )
    scores = fit.history[fit.best.epoch - 1]["val_r2"], fit.history[-1]["val_r2"], -fit.best.score
    run = write_finished(
        folder,
        run,
        status="ok",
        reason="",
        scores=scores,
        best_epoch=fit.best.epoch,
        checkpoint={"best": fit.best.weights, "last": fit.last},
        started=started,
    )
    on_epoch()
    return run
