"""Fitted models against the truth behind a simulated recording, on trials they have never seen.

Two scores follow Sedler, Versteeg and Pandarinath (NBDT, 2023; arXiv 2212.03771). Their definitions are in the paper's
code, repository ``snel-repo/expressive-latent-dynamics-paper``, files ``paper_src/metrics.py`` and ``models.py``:

- "Rate R2": true rates against inferred ones, R2 of each neuron, plain mean over neurons; here ``r2_mean`` of `rates`.
- "Hidden R2": a linear regression with intercept from the true to the *inferred* latents, R2 of each inferred latent,
  plain mean over them; here `latent_reverse`. The paper fits this regression on the frames that it scores, and cuts
  the mean off at -10; we fit it on training frames and cut nothing off.
"""

import numpy as np

from odevae.benchmark.decoding import Part
from odevae.benchmark.families import Task
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.tasks import KEPT
from odevae.data.trials import Trials
from odevae.errors import OdevaeError
from odevae.metrics import score

# Frames that a forecast sees at first; after them it sees nothing.
SEEN = 5
# R2 of a frame below which a forecast has lost the truth; our choice.
LOST_BELOW = 0.5
# SD over the largest root mean square of all columns, below which a column holds rounding errors of single precision.
CONSTANT = 1e-6


def rates(model: BenchmarkModel, test: Trials, expected: np.ndarray) -> dict[str, float]:
    """Reconstructions from noisy trials against the activity without noise, so that noise puts no limit on the score.

    Args:
        model: a fitted model.
        test: trials that it sees whole.
        expected: ``(B, L, N)``, their activity without noise (`odevae.data.simulate.expected.expected_activity`).

    Returns:
        The scores of `odevae.benchmark.tasks.reconstruct`, and ``r2_mean``: R2 of each neuron, plain mean over neurons,
        which one neuron that hardly varies in these trials can bring far below 0.
    """
    predicted = model.reconstruct(test)
    scores = score(expected, predicted, test.mask)
    return {name: scores[name] for name in KEPT} | {"r2_mean": r2_mean(expected[test.mask], predicted[test.mask])}


def latent(train: Part, test: Part) -> dict[str, float]:
    """How much of the true latents is in the inferred ones: a linear regression from inferred to true latents.

    Args:
        train, test: inferred latents ``(B, L, D)`` and the trials that they belong to. The regression is fitted on all
            training frames and scored on all test frames.

    Returns:
        ``r2``, see `r2_mean`, and ``n_values``, the frames that were scored.
    """
    return _regression(_inferred_and_true(train), _inferred_and_true(test))


def latent_reverse(train: Part, test: Part) -> dict[str, float]:
    """How much of the inferred latents is true: the regression of `latent` in the other direction.

    Latents that hold noise, or what is not there, lower this score and not that of `latent`. Latents that are bent
    against the true ones score low in both, because the regression is linear. Constant latents are left out.
    """
    return _regression(_inferred_and_true(train)[::-1], _inferred_and_true(test)[::-1])


def lost(model: BenchmarkModel, test: Trials, expected: np.ndarray) -> dict[str, float]:
    """How long a forecast keeps to the truth after it has seen the first `SEEN` frames of a trial.

    For each frame ``t`` alone, over the neurons ``n`` and the test trials ``b`` that reach it, R2 is
    ``1 - sum (x_btn - xhat_btn)^2 / sum (x_btn - m_n)^2``, with x the activity without noise and m_n its mean over all
    test frames: one mean for all frames, so a model also gets credit for what all trials have in common at that time.

    Args:
        model: a fitted model.
        test: trials of which it sees the first frames.
        expected: ``(B, L, N)``, their activity without noise.

    Returns:
        ``frames``: how many frames after the last seen one come before R2 is first below `LOST_BELOW`; ``censored``: 1
        if that never happens, and then ``frames`` are all that were scored, else 0; ``n_values``, as in
        `odevae.benchmark.tasks.onset`.
    """
    mask, predicted = test.mask, model.onset(test, SEEN)
    centre = expected[mask].mean(axis=0, dtype=np.float64)
    # Bins that do not count may hold anything, so they are replaced before they enter a sum.
    errors = np.where(mask[..., None], expected.astype(np.float64) - predicted, 0.0)
    deviations = np.where(mask[..., None], expected.astype(np.float64) - centre, 0.0)
    scored = np.arange(mask.shape[1]) >= SEEN
    scored &= mask.any(axis=0)
    error, variation = ((x[:, scored] ** 2).sum(axis=(0, 2)) for x in (errors, deviations))
    # Not a quotient, so that a frame without variation is kept if it is predicted exactly; a NaN is lost.
    kept = error <= (1 - LOST_BELOW) * variation
    return {
        "frames": int(len(kept) if kept.all() else kept.argmin()),
        "censored": int(kept.all()),
        "n_values": int(mask[:, scored].sum()) * expected.shape[2],
    }


def truth_scores(
    model: BenchmarkModel,
    train: Trials,
    test: Trials,
    expected_test: np.ndarray,
    latents: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores against the truth of every task that a model answers.

    Args:
        model: a fitted model.
        train, test: trials with true latents.
        expected_test: ``(B, L, N)``, activity of the test trials without noise:
            `odevae.data.simulate.expected.expected_activity`, cut as the trials were.
        latents: what the model infers of both, each ``(B, L, D)``, if it is known already.

    Returns:
        Scores by task: ``rates/variance_weighted`` and ``rates/plain_mean`` (both of `rates`),
        ``latent/true_from_inferred`` (`latent`), ``latent/inferred_from_true`` (`latent_reverse`) and ``lost``.

    Raises:
        OdevaeError: if the trials have no true latents.
        ValueError: if the expected activity is not that of the test trials.
    """
    if train.latents is None or test.latents is None:
        raise OdevaeError(
            "the trials have no true latents to score a model against; ask for these scores on simulated recordings."
        )
    if expected_test.shape != test.values.shape:
        raise ValueError(f"expected activity {expected_test.shape} of test trials {test.values.shape}")
    scores: dict[str, dict[str, float]] = {}
    if model.answers("reconstruct"):
        found = rates(model, test, expected_test)
        scores[Task("rates", subject="variance_weighted").name] = {name: found[name] for name in KEPT}
        scores[Task("rates", subject="plain_mean").name] = {name: found[name] for name in ("r2_mean", "n_values")}
    if model.answers("infer"):
        latents = latents or tuple(map(model.infer, (train, test)))
        parts = list(zip(latents, (train, test), strict=True))
        scores[Task("latent", subject="true_from_inferred").name] = latent(*parts)
        scores[Task("latent", subject="inferred_from_true").name] = latent_reverse(*parts)
    if model.answers("onset"):
        scores["lost"] = lost(model, test, expected_test)
    return scores


def r2_mean(true: np.ndarray, predicted: np.ndarray) -> float:
    """R2 of each column of ``(M, C)`` arrays about its own mean, plain mean over columns.

    Constant columns have no R2 and are left out; NaN if there are no others.
    """
    true = true.astype(np.float64)
    varies = true.std(axis=0) > CONSTANT * np.sqrt((true**2).mean(axis=0).max())
    if not varies.any():
        return float("nan")
    errors = ((true - predicted) ** 2).mean(axis=0)[varies]
    return float((1 - errors / true.var(axis=0)[varies]).mean())


def _inferred_and_true(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Latents of the frames that count, ``(M, D)`` and ``(M, d)`` float64."""
    inferred, trials = part
    return inferred[trials.mask].astype(np.float64), trials.latents[trials.mask]


def _regression(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    # Slow to import, and models without latents need none of it.
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(*train)
    given, asked = test
    return {"r2": r2_mean(asked, fitted.predict(given)), "n_values": len(asked)}
