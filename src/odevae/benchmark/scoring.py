"""Every score of one model on one split: what it answers, it is asked."""

import time
from collections.abc import Callable

import numpy as np

from odevae.baselines.reference import Reference
from odevae.benchmark.decoding import decode
from odevae.benchmark.dimension import intrinsic_dimension
from odevae.benchmark.tasks import HORIZONS, ONSETS, cosmooth, forecast, onset, reconstruct
from odevae.benchmark.truth import truth_scores
from odevae.trials import Trials


def all_scores(
    make: Callable[[], Reference],
    train: Trials,
    validation: Trials,
    test: Trials,
    covariates: tuple[str, ...],
    draw: int,
    expected: np.ndarray | None = None,
) -> tuple[dict[str, dict[str, float]], float]:
    """Scores of every task that a model answers.

    Args:
        make: gives a model to fit.
        train, validation, test: trials of one split.
        covariates: names of the behaviour to decode.
        draw: see `cosmooth`.
        expected: of a simulation, the activity ``(B, L, N)`` of the test trials without noise. There the truth is known
            and is asked for in place of held-out neurons.

    Returns:
        Scores by task, ``reconstruct``, ``onset1``, ``forecast@5``, ``cosmooth``, ``decode/Position`` and so on; and
        the processor time of the fit on all neurons and of its reconstructions and forecasts, s: some models fit a
        horizon when they are first asked for it.
    """
    model = make()
    started = time.process_time()
    model.fit(train, validation)
    scores: dict[str, dict[str, float]] = {}
    if model.answers("reconstruct"):
        scores["reconstruct"] = reconstruct(model, test)
    if model.answers("onset"):
        scores |= {f"onset{n}": onset(model, test, n) for n in ONSETS}
    if model.answers("forecast"):
        scores |= {f"forecast@{h}": forecast(model, test, h) for h in HORIZONS}
    fit_s = time.process_time() - started
    if model.answers("infer"):
        # A model of the onset alone sees no frame in which neurons could be hidden from it.
        if expected is None and model.answers("reconstruct"):
            scores["cosmooth"] = cosmooth(make, train, validation, test, draw)
        parts = [(model.infer(trials), trials) for trials in (train, validation, test)]
        decoded = decode(*parts, covariates)
        scores |= {f"decode/{name}": values for name, values in decoded.items()}
    if model.answers("intrinsic_dimension"):
        scores["intrinsic_dimension"] = intrinsic_dimension(model, make, train, validation)
    if expected is not None:
        scores |= truth_scores(model, train, test, expected)
    return scores, fit_s
