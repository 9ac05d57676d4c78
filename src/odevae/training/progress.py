"""The lines that say how far a training is."""

import logging

from odevae.training.loop import Epoch

logger = logging.getLogger(__name__)

# About this many lines a training.
PROGRESS_LINES = 30


def report_progress(name: str, epoch: Epoch, epochs: int) -> None:
    """Log how the training `name` of that many epochs goes, now and then."""
    row, best = epoch.row, epoch.state.best
    number = epoch.state.epoch
    if number % max(1, epochs // PROGRESS_LINES) and number not in (1, epochs):
        return
    eta_s = int(row["seconds"] / number * (epochs - number))
    logger.info(
        f"{name}: epoch {number}/{epochs} | train {row['train_loss']:.4f} | validation {row['val_loss']:.4f} "
        f"(reconstruction {row['val_reconstruction']:.4f}, KL {row['val_kl']:.3f}) | R2 {row['val_r2']:.4f} "
        f"(best epoch {best.epoch}) | ETA {eta_s // 60}:{eta_s % 60:02d}"
    )
