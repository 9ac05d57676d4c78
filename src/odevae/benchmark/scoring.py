"""Every score of one model on one split: one for each task whose method the model implements."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from odevae.benchmark.decoding import decode
from odevae.benchmark.dimension import intrinsic_dimension
from odevae.benchmark.dynamics import SecondHalves, verdict
from odevae.benchmark.event_scorer import EventScorer
from odevae.benchmark.families import DYNAMICS, Task
from odevae.benchmark.ground_truth import truth_scores
from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.benchmark.new_events import NEW_EVENT_HORIZONS, new_events
from odevae.benchmark.tasks import HORIZONS, ONSETS, cosmooth, forecast, hidden_neurons, onset, reconstruct
from odevae.data.trials import Trials

Scores = dict[str, dict[str, float]]


class ScoredFit(NamedTuple):
    """Attributes:
    scores: by task, ``onset1``, ``decode/Position`` and so on.
    fit_s: processor time (s) of the fit on all neurons, its reconstructions and forecasts: some models fit a horizon
        when they are first asked for it. What a model shares between dimensions is counted at the first of them.
    second_halves: of a model with a verdict on dynamics, what the verdict rests on.
    """

    scores: Scores
    fit_s: float
    second_halves: SecondHalves | None


def all_scores(
    make: Callable[[int], BenchmarkModel],
    latent_dims: Sequence[int],
    train: Trials,
    validation: Trials,
    test: Trials,
    covariates: tuple[str, ...],
    draw: int,
    expected: np.ndarray | None = None,
    events: EventScorer | None = None,
    units: Sequence[float] | None = None,
) -> list[ScoredFit]:
    """Scores of every task that a model answers, at some dimensions.

    Args:
        make: gives a model to fit, of a latent dimension.
        latent_dims: the dimensions.
        train, validation, test: trials of one split.
        covariates: names of the behaviour to decode.
        draw: see `cosmooth`.
        expected: of a simulation, the activity ``(B, L, N)`` of the test trials without noise. There the truth is known
            and is scored in place of held-out neurons.
        events: scores the events of each task; None if the recording has none.
        units: what each test trial belongs to, see `Fold.independent_units`; by default each trial is by itself.

    Returns:
        One for each dimension.
    """
    first: dict[str, BenchmarkModel] = {}

    def fit(latent_dim: int, trials: str, train: Trials, validation: Trials) -> BenchmarkModel:
        """A fitted model; `trials` names the training trials. It takes over what does not depend on the dimension."""
        model = make(latent_dim)
        if trials in first:
            model.take_over(first[trials])
        model.fit(train, validation)
        first.setdefault(trials, model)
        return model

    dimension: dict[str, float] = {}
    found = []
    for latent_dim in latent_dims:
        started = time.process_time()
        model = fit(latent_dim, "all neurons", train, validation)
        scores: Scores = {}
        if model.answers("reconstruct"):
            scores["reconstruct"] = reconstruct(model, test, events)
        if model.answers("onset"):
            scores |= {Task("onset", n).name: onset(model, test, n, events) for n in ONSETS}
        if model.answers("forecast"):
            scores |= {Task("forecast", h).name: forecast(model, test, h, events) for h in HORIZONS}
        if events is not None and (model.answers("forecast") or model.answers("new_events")):
            scores |= {Task("new_events", h).name: new_events(model, test, h, events) for h in NEW_EVENT_HORIZONS}
        fit_s = time.process_time() - started

        latents = None
        if model.answers("infer"):
            # A model that does not reconstruct sees the onset only, so cosmooth does not apply to it.
            if expected is None and model.answers("hidden_neurons"):
                scores["cosmooth"] = hidden_neurons(model, validation, test, draw, events)
            elif expected is None and model.answers("reconstruct"):
                scores["cosmooth"] = cosmooth(
                    partial(fit, latent_dim, "some neurons"), train, validation, test, draw, events
                )
            parts = [(model.infer(trials), trials) for trials in (train, validation, test)]
            latents = parts[0][0], parts[2][0]
            decoded = decode(*parts, covariates)
            scores |= {Task("decode", subject=name).name: values for name, values in decoded.items()}
        if model.answers("intrinsic_dimension"):
            # It is the same at every dimension of the latents.
            shifted = partial(fit, latent_dim, "shifted neurons")
            dimension = dimension or intrinsic_dimension(model, shifted, train, validation)
            scores["intrinsic_dimension"] = dimension
        if expected is not None:
            scores |= truth_scores(model, train, test, expected, latents)
        halves = None
        if model.answers("second_halves"):
            gain, predictable = model.second_halves(test)
            unit = test.trial_ids if units is None else units
            halves = SecondHalves(*(np.asarray(values).tolist() for values in (gain, predictable, unit)))
            judged = verdict(*halves)
            scores[DYNAMICS] = {name: getattr(judged, name) for name in ("share", "low", "high")} | {
                "n_values": judged.n_units
            }
        found.append(ScoredFit(scores, fit_s, halves))
    return found
