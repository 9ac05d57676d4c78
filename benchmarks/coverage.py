"""How often the intervals of ``shooting`` hold the activity: `python benchmarks/coverage.py --latent-dim D FOLD...`.

A FOLD is a folder that the workflow has made, such as ``results/e65/heldout/split5/neurons``. The model is fitted to
its training and validation trials and answers for its test trials, once for all neurons, which it sees, and once for a
quarter of them that it does not. A rank is uniform if the intervals are right, see `Shooting.ranks`. Prints a Markdown
table for docs/benchmark.md.
"""

import numpy as np
from folds import fold_arguments

from odevae.benchmark.models.shooting import Shooting
from odevae.benchmark.tasks import held_out_neurons
from odevae.protocols.fold import load_fold

COVERAGES = (0.5, 0.8, 0.9, 0.95)


def shares(ranks: np.ndarray) -> list[float]:
    """Share of some ranks ``(M,)`` in the central interval of each of `COVERAGES`."""
    return [float((np.abs(ranks - 0.5) <= coverage / 2).mean()) for coverage in COVERAGES]


def main() -> None:
    arguments = fold_arguments(__doc__)
    print(f"| fold | neurons | {' | '.join(f'{coverage:.0%}' for coverage in COVERAGES)} | 90%, active | values |")
    print(f"|{'---|' * (len(COVERAGES) + 4)}")
    for folder in arguments.folds:
        fold = load_fold(folder)
        train, validation, test = (fold.raw.take(fold.parts[part]) for part in ("train", "validation", "test"))
        model = Shooting(arguments.latent_dim)
        model.fit(train, validation)
        held_out = held_out_neurons(test.values.shape[2], fold.about["split"])
        for seen, hidden in (("seen", None), ("not seen", held_out)):
            counted = test.mask[..., None] & (True if hidden is None else hidden)
            counted = np.broadcast_to(counted, test.values.shape)
            ranks = model.ranks(test, hidden)
            lower, upper = model.interval(test, 0.9, hidden)
            active = counted & (test.values > 0)
            inside = (lower <= test.values) & (test.values <= upper)
            cells = [f"{share:.3f}" for share in (*shares(ranks[counted]), inside[active].mean())]
            print(f"| {'/'.join(folder.parts[-4:-1])} | {seen} | {' | '.join(cells)} | {counted.sum()} |", flush=True)


if __name__ == "__main__":
    main()
