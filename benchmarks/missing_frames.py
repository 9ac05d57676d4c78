"""Frames that nobody recorded: `python benchmarks/missing_frames.py --latent-dim D FOLD...`.

Of the test trials a share of the frames is hidden, of all neurons at once, in gaps of one length. ``shooting``, the
same model with a field that never moves, and a straight line between the frames around a gap say which neurons were
active in it. A FOLD is a folder that the workflow has made, such as ``results/e65/heldout/split5/neurons``.

Prints a Markdown table for docs/dynamics.md: bits an event, mean and SD over the folds, and paired differences with
95 % intervals.
"""

from itertools import product
from pathlib import Path

import numpy as np
from folds import fold_arguments

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.models.shooting import Shooting, ShootingFrozen
from odevae.data.trials import Trials
from odevae.events import Null, bits_per_event, calibration, events_in
from odevae.protocols.fold import load_fold

SHARES = (0.1, 0.3, 0.5)
# Frames; the second is longer than the smoothing kernel of E65.
GAPS = (1, 12)


def gaps(shape: tuple[int, int], share: float, length: int, generator: np.random.Generator) -> np.ndarray:
    """Bins ``(B, L)`` bool in gaps of one length, this share of them on average; gaps may touch."""
    # A bin is seen if none of the last `length` bins, itself included, begins a gap.
    begins = generator.random((shape[0], shape[1] + length - 1)) < 1 - (1 - share) ** (1 / length)
    return np.lib.stride_tricks.sliding_window_view(begins, length, axis=1).any(axis=-1)


def straight_line(trials: Trials, hidden: np.ndarray) -> np.ndarray:
    """Activity ``(B, L, N)`` on straight lines between the recorded frames that are not hidden."""
    bins, found = np.arange(hidden.shape[1]), np.zeros_like(trials.values, dtype=np.float64)
    for row, (values, unseen, recorded) in enumerate(zip(trials.values, hidden, trials.recorded, strict=True)):
        seen = np.flatnonzero(recorded & ~unseen)
        if len(seen):
            found[row] = np.stack([np.interp(bins, seen, column[seen]) for column in values.T], axis=1)
    return found


def scores(fold_folder: Path, latent_dim: int) -> tuple[dict[tuple[float, int], dict[str, float]], float]:
    """Bits an event by share, gap and model; and test trials over training trials."""
    fold = load_fold(fold_folder)
    train, validation, test = (fold.raw.take(fold.parts[part]) for part in ("train", "validation", "test"))
    frames, kind = train.values[train.mask], fold.events
    null = Null.of(frames, kind).rate
    answers = {}
    for name, kind_of_model in (("shooting", Shooting), ("frozen", ShootingFrozen)):
        model = kind_of_model(latent_dim)
        model.fit(train, validation)
        answers[name] = lambda trials, hidden, model=model: model.hidden_frames(trials, hidden)[1]
    answers["straight line"] = straight_line
    found = {}
    for share, length in product(SHARES, GAPS):
        generator = np.random.default_rng(0)
        asked = [(trials, gaps(trials.mask.shape, share, length, generator)) for trials in (validation, test)]
        known, wanted = (events_in(trials.values[trials.mask & hidden], kind) for trials, hidden in asked)
        for name, answer in answers.items():
            of_validation, of_test = (answer(trials, hidden)[trials.mask & hidden] for trials, hidden in asked)
            rates = calibration(of_validation, known)(of_test)
            found.setdefault((share, length), {})[name] = bits_per_event(wanted, rates, null, kind)
    return found, len(test) / len(train)


def main() -> None:
    arguments = fold_arguments(__doc__)
    by_fold, ratios = zip(*(scores(folder, arguments.latent_dim) for folder in arguments.folds), strict=True)
    names = list(next(iter(by_fold[0].values())))
    print(f"| frames hidden | gap | {' | '.join(names)} | shooting less frozen | less straight line |")
    print(f"|{'---|' * (len(names) + 4)}")
    for (share, length), _ in by_fold[0].items():
        values = {name: [found[share, length][name] for found in by_fold] for name in names}
        cells = [f"{np.mean(each):.3f} ± {np.std(each, ddof=1):.3f}" for each in values.values()]
        for other in names[1:]:
            difference = paired_difference(values["shooting"], values[other], float(np.mean(ratios)))
            cells.append(f"{difference.mean:.3f} [{difference.low:.3f}, {difference.high:.3f}]")
        print(f"| {share:.0%} | {length} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
