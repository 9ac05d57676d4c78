"""Behaviour from latents, and what the same decoder reads from latents of another trial.

Position grows with time in every trial, so a decoder does well as soon as the latents follow the time. The null shows
how well: it pairs the latents of each trial with the behaviour of another trial, stretched to the same length (a
pseudo-session; Harris 2020, arXiv:2012.06862, on why frames must not be shuffled one by one).
"""

import numpy as np

from odevae.data.trials import Trials

# Strengths of every linear readout from latents, to behaviour or to held-out neurons; validation trials choose.
STRENGTHS = tuple(10.0**power for power in range(-3, 7))
# Behaviour with at most this many values, constant during each trial, is a class and not a number.
MOST_CLASSES = 5
NULL_DRAWS = 20
NULL_SEED = 0

Part = tuple[np.ndarray, Trials]


def decode(train: Part, validation: Part, test: Part, covariates: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """How well each covariate is read from the latents of test trials.

    Args:
        train, validation, test: latents ``(B, L, D)`` and the trials that they belong to. A linear decoder is fitted on
            training frames; validation frames choose its strength.
        covariates: names of behaviour; frames where one is not finite are left out.

    Returns:
        For each covariate ``r2`` (ridge, of a number) or ``balanced_accuracy`` (logistic regression, of a class), the
        same for the null as ``null_mean`` and ``null_95`` (percentile over `NULL_DRAWS` pseudo-sessions), and
        ``n_values``, the frames that were scored.
    """
    return {name: _decode_one(train, validation, test, name) for name in covariates}


def is_class(trials: Trials, name: str) -> bool:
    """Whether a covariate has few values and none changes during a trial."""
    values = np.where(trials.mask, trials.covariates[name], np.nan)
    known = values[np.isfinite(values)]
    if len(np.unique(known)) > MOST_CLASSES:
        return False
    return all(len(np.unique(row[np.isfinite(row)])) <= 1 for row in values)


def pseudo_session(trials: Trials, name: str, class_: bool, generator: np.random.Generator) -> np.ndarray:
    """The covariate ``(B, L)`` with every trial's replaced by that of another, stretched to its length.

    Between two frames of the other trial a number is interpolated, while a class, `class_`, is that of the nearer one.
    """
    lengths = trials.mask.sum(axis=1)
    # A circular shift of a random order: no trial keeps its own.
    order = generator.permutation(len(trials))
    donor = np.empty_like(order)
    donor[order] = np.roll(order, 1)
    swapped = np.full(trials.mask.shape, np.nan)
    for row, (length, other) in enumerate(zip(lengths, donor, strict=True)):
        source = trials.covariates[name][other, : lengths[other]]
        place = np.linspace(0, lengths[other] - 1, length)
        if class_:
            swapped[row, :length] = source[np.round(place).astype(int)]
        else:
            swapped[row, :length] = np.interp(place, np.arange(lengths[other]), source)
    return swapped


def _decode_one(train: Part, validation: Part, test: Part, name: str) -> dict[str, float]:
    # scikit-learn takes longer to import than a model without latents takes for all tasks; none of these decodes.
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import balanced_accuracy_score, r2_score

    class_ = is_class(train[1], name)
    measure = balanced_accuracy_score if class_ else r2_score

    def decoder(strength: float) -> Ridge | LogisticRegression:
        if class_:
            return LogisticRegression(C=1 / strength, class_weight="balanced", max_iter=1000)
        return Ridge(alpha=strength)

    def frames(part: Part, behaviour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        latents, trials = part
        keep = trials.mask & np.isfinite(behaviour)
        return latents[keep], behaviour[keep]

    def value(behaviours: list[np.ndarray], strengths: tuple[float, ...]) -> tuple[float, float, int]:
        fitting, choosing, scoring = map(frames, parts, behaviours)
        fits = {strength: decoder(strength).fit(*fitting) for strength in strengths}
        best = max(fits, key=lambda strength: measure(choosing[1], fits[strength].predict(choosing[0])))
        return float(measure(scoring[1], fits[best].predict(scoring[0]))), best, len(scoring[1])

    parts = (train, validation, test)
    found, strength, n_values = value([trials.covariates[name] for _, trials in parts], STRENGTHS)
    generator = np.random.default_rng(NULL_SEED)
    null = [
        value([pseudo_session(trials, name, class_, generator) for _, trials in parts], (strength,))[0]
        for _ in range(NULL_DRAWS)
    ]
    return {
        "balanced_accuracy" if class_ else "r2": found,
        "null_mean": float(np.mean(null)),
        "null_95": float(np.percentile(null, 95)),
        "n_values": n_values,
    }
