"""Which trials are held out: the paper's last sequences, or whole trials at random."""

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
