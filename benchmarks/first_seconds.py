"""How far the first seconds of a trial determine the rest: `python benchmarks/first_seconds.py --frames N
--latent-dim D FOLD...`.

A FOLD is a folder that the workflow has made, such as ``results/aplysia_may2214/heldout/split0/neurons``. On its
training trials ``shooting_one_state`` and its references are fitted. Each sees the first N frames of a test trial and
predicts the frames after them: ours by the field alone from one state, the linear system by its own dynamics, the
others by holding the last frame or by the mean of the training trials at that time.

Prints a Markdown table for docs/dynamics.md, test trials: r2_neuron and bits a spike (or an active frame) of each
model, mean and SD over the folds, and how much more ours has, with the 95 % interval.
"""

from pathlib import Path

import numpy as np
from folds import fold_arguments

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.event_scorer import EventScorer
from odevae.benchmark.models.means import Persistence, TrialTimeMean
from odevae.benchmark.models.shooting import ShootingOneState
from odevae.benchmark.models.state_space.lds import LDS
from odevae.benchmark.tasks import onset
from odevae.protocols.fold import load_fold

OURS = "shooting_one_state"
MODELS = {OURS: ShootingOneState, "lds": LDS, "persistence": Persistence, "trial_time_mean": TrialTimeMean}
ASKED = ("r2_neuron", "bits_per_event")


def scores(fold_folder: Path, n_frames: int, latent_dim: int) -> tuple[list[list[float]], float]:
    """What is `ASKED` of each of `MODELS` on one fold; and test trials over training trials."""
    fold = load_fold(fold_folder)
    train, validation, test = (fold.raw.take(fold.parts[part]) for part in ("train", "validation", "test"))
    events = EventScorer.of(fold.events, 1, train, validation)
    found = []
    for kind in MODELS.values():
        model = kind(latent_dim=latent_dim, seed=0)
        model.fit(train, validation)
        scored = onset(model, test, n_frames, events)
        found.append([scored[name] for name in ASKED])
    return found, len(test) / len(train)


def main() -> None:
    arguments = fold_arguments(__doc__, "--frames")
    by_fold, ratios = zip(
        *(scores(folder, arguments.frames, arguments.latent_dim) for folder in arguments.folds), strict=True
    )
    # Folds x models x scores to models x scores x folds.
    values = dict(zip(MODELS, np.transpose(by_fold, (1, 2, 0)), strict=True))
    print(
        f"{len(by_fold)} folds\n\n| model | r2_neuron | ours less that | bits | ours less that |\n|---|---|---|---|---|"
    )
    for name, of_model in values.items():
        cells = []
        for ours, other in zip(values[OURS], of_model, strict=True):
            less = paired_difference(ours, other, float(np.mean(ratios)))
            cells.append(f"{other.mean():.3f} ± {other.std(ddof=1):.3f}")
            cells.append("" if name == OURS else f"{less.mean:.3f} [{less.low:.3f}, {less.high:.3f}]")
        print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
