"""Which trials are held out: the paper's last sequences, whole trials at random, or whole groups of trials in turn."""

import math
from collections.abc import Callable

import numpy as np

from odevae.errors import OdevaeError


def last_sequences(n_sequences: int, holdout: int) -> dict[str, np.ndarray]:
    """The published split: validation is the last ``min(holdout, max(1, n // 5))`` sequences, training the rest."""
    n_held_out = min(holdout, max(1, n_sequences // 5))
    rows = np.arange(n_sequences)
    return {"train": rows[:-n_held_out], "validation": rows[-n_held_out:]}


def random_sequences(n_sequences: int, fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Validation is a random `fraction` of the sequences, training the rest; a trial may be in both."""
    order = np.random.default_rng(seed).permutation(n_sequences)
    n_validation = max(1, round(fraction * n_sequences))
    return {"train": np.sort(order[n_validation:]), "validation": np.sort(order[:n_validation])}


def random_trials(
    n_trials: int, test_fraction: float, validation_fraction: float, seed: int, split: int
) -> dict[str, np.ndarray]:
    """Hold out whole trials at random, for test and for validation; training is the rest.

    Every part has at least one trial, and its rows ascend. The same `seed` and `split` give the same parts.

    Raises:
        OdevaeError: if there are too few trials for three parts; the caller names the data set.
    """
    n_test = max(1, round(test_fraction * n_trials))
    n_validation = max(1, round(validation_fraction * n_trials))
    if n_trials - n_test - n_validation < 1:
        raise OdevaeError(
            f"{n_trials} trials cannot be split into {n_test} for test, {n_validation} for validation and at least one "
            "for training"
        )
    order = np.random.default_rng([seed, split]).permutation(n_trials)
    return {
        "train": np.sort(order[n_test + n_validation :]),
        "validation": np.sort(order[n_test : n_test + n_validation]),
        "test": np.sort(order[:n_test]),
    }


def grouped_trials(
    groups: np.ndarray, test_fraction: float, validation_fraction: float, seed: int, split: int
) -> dict[str, np.ndarray]:
    """Hold out whole groups of trials, in turn: the splits from 0 test each group once.

    The groups are put into an order, and the order is cut into as many stretches as there are splits; split k tests the
    k-th. The groups that follow it are for validation, and after the last group comes the first. If each split tests
    one group, the order is that of their values; else it is random.

    Of two groups one is tested. The other then has the training trials and, at its end, a share `validation_fraction`
    of its trials for validation.

    Args:
        groups: ``(B,)``, the group of each trial, trials in the order of recording.
        test_fraction, validation_fraction: shares of the groups; at least one group each.
        seed: of the random order.
        split: number of the split.

    Returns:
        Ascending rows of the trials by part.

    Raises:
        OdevaeError: if there are too few groups, or fewer splits than `split` asks for; the caller names the data set.
    """
    order = np.unique(groups)
    n_groups = len(order)
    n_test, n_validation = (max(1, round(share * n_groups)) for share in (test_fraction, validation_fraction))
    n_splits = math.ceil(n_groups / n_test)
    if n_groups < 2:
        raise OdevaeError("all trials are of one group, so none can be held out")
    if n_groups > 2 and n_groups - n_test - n_validation < 1:
        raise OdevaeError(
            f"{n_groups} groups cannot be split into {n_test} for test, {n_validation} for validation and at least one "
            "for training"
        )
    if split >= n_splits:
        raise OdevaeError(
            f"there is no split {split}, because splits 0 to {n_splits - 1} test each of {n_groups} groups once"
        )
    if n_test > 1:
        order = np.random.default_rng(seed).permutation(order)
    starts = np.linspace(0, n_groups, n_splits + 1).round().astype(int)
    order = np.roll(order, -starts[split])
    n_test = starts[split + 1] - starts[split]
    test = np.isin(groups, order[:n_test])
    if n_groups == 2:
        rest = np.flatnonzero(~test)
        n_last = max(1, round(validation_fraction * len(rest)))
        if len(rest) <= n_last:
            raise OdevaeError("the one group that is not tested has too few trials for training and validation")
        train, validation = rest[:-n_last], rest[-n_last:]
    else:
        is_validation = np.isin(groups, order[n_test : n_test + n_validation])
        train, validation = np.flatnonzero(~test & ~is_validation), np.flatnonzero(is_validation)
    return {"train": train, "validation": validation, "test": np.flatnonzero(test)}


def with_gap(
    parts: dict[str, np.ndarray], nearest: Callable[[np.ndarray, np.ndarray], np.ndarray], gap: float
) -> dict[str, np.ndarray]:
    """Leave out trials that are nearer than a gap to trials of another part; every trial of ``test`` stays.

    Args:
        parts: rows of trials, ``train``, ``validation`` and ``test``.
        nearest: from the rows of some trials and of others to the time from each of them to the nearest of the others.
        gap: the least time between trials of two parts.

    Raises:
        OdevaeError: if no trial is left in a part; the caller names the data set.
    """

    def away(part: str, others: np.ndarray) -> np.ndarray:
        kept = parts[part][nearest(parts[part], others) >= gap]
        if not len(kept):
            raise OdevaeError(f"every trial for {part} lies within gap_s of a trial that is held out")
        return kept

    validation = away("validation", parts["test"])
    train = away("train", np.concatenate([parts["test"], validation]))
    return {"train": train, "validation": validation, "test": parts["test"]}
