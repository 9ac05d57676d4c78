"""What a field is worth where the truth is known: `python benchmarks/frozen_field.py --latent-dim D FOLD...`.

A FOLD is a folder of one simulation that the workflow has made, such as ``results/lorenz/heldout/split0/neurons``. On
its training trials ``shooting`` is fitted, and the same model with a field that never moves and with block lengths of
its own. Of the test trials both are asked for entries that are hidden from the encoder, for the activity without noise,
and for that of the whole trial from one state.

Prints a Markdown table for docs/benchmark.md: the mean of both models over the folds, and their difference with its
95 % interval.
"""

from pathlib import Path

import numpy as np
import torch
from folds import fold_arguments

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.ground_truth import r2_mean
from odevae.benchmark.models.shooting import Shooting, ShootingFrozen, ShootingOneState
from odevae.data.recording import load_recording
from odevae.data.simulate.expected import expected_activity
from odevae.data.trials import Trials, cut
from odevae.protocols.fold import load_fold
from odevae.training.hidden_activity import hidden_loss, hidden_sets
from odevae.training.shooting import tensors

# Test trials that are asked at once; each lot hides other entries.
LOT = 64
ASKED = ("hidden entries, nats", "rates", "rates from one state")


def hidden_likelihood(model: Shooting, trials: Trials) -> float:
    """Nats an entry of entries that are hidden from the encoder, up to a constant of the recording."""
    continuity = model.settings.tight if model.smooths else None
    lots = zip(*(tensor.split(LOT) for tensor in tensors(trials, model.scale)), strict=True)
    losses = [
        hidden_loss(model.model, *lot, hidden_sets(lot[0], torch.Generator().manual_seed(number)), continuity)
        for number, lot in enumerate(lots)
    ]
    return -float(np.mean(losses))


def of_one_state(model: Shooting) -> ShootingOneState:
    """The same fitted model, asked for whole trials from one state each."""
    found = ShootingOneState(model.latent_dim, model.seed)
    for name in ("kind", "scale", "settings", "model"):
        setattr(found, name, getattr(model, name))
    return found


def scores(fold_folder: Path, latent_dim: int) -> tuple[list[list[float]], float]:
    """What is `ASKED` of ``shooting``, then of the frozen model; and test trials over training trials."""
    fold, recording = load_fold(fold_folder), load_recording(fold_folder.parents[2] / "recording.npz")
    train, validation, test = (fold.raw.take(fold.parts[part]) for part in ("train", "validation", "test"))
    truth = cut(recording, expected_activity(recording), test.trial_ids).values[test.mask].astype(float)
    found = []
    for kind in (Shooting, ShootingFrozen):
        model = kind(latent_dim, seed=0)
        model.fit(train, validation)
        rates = (r2_mean(truth, answer.reconstruct(test)[test.mask]) for answer in (model, of_one_state(model)))
        found.append([hidden_likelihood(model, test), *rates])
        # Each fold takes a quarter of an hour, so what it gives is shown at once.
        about = ", ".join(f"{asked} {score:.4f}" for asked, score in zip(ASKED, found[-1], strict=True))
        knots = f"{model.settings.block_frames} frames between knots"
        print(f"{fold_folder}: {kind.__name__}, {knots}: {about}", flush=True)
    return found, len(test) / len(train)


def main() -> None:
    arguments = fold_arguments(__doc__)
    by_fold, ratios = zip(*(scores(folder, arguments.latent_dim) for folder in arguments.folds), strict=True)
    print("| | moving | frozen | difference |\n|---|---|---|---|")
    for asked, moving, frozen in zip(ASKED, *np.transpose(by_fold, (1, 2, 0)), strict=True):
        less = paired_difference(moving, frozen, float(np.mean(ratios)))
        difference = f"{less.mean:.3f} [{less.low:.3f}, {less.high:.3f}]"
        print(f"| {asked} | {moving.mean():.3f} | {frozen.mean():.3f} | {difference} |")


if __name__ == "__main__":
    main()
