"""The scores of a run as tidy rows, as ``metrics.json`` holds them: one row for each number."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from odevae.errors import OdevaeError

# In place of a checkpoint, for the trivial references.
REFERENCE = "reference"
# In place of a space of neurons, for numbers about latent paths.
LATENT = "latent"


class Score(NamedTuple):
    """One number.

    Attributes:
        part: ``validation`` or ``test``.
        space: ``pca``, ``zscore`` or ``raw``; `LATENT`.
        task: ``onset``, ``onset5`` or ``reconstruct``.
        checkpoint: ``best`` or ``last`` of a model, `REFERENCE` of a trivial reference.
        estimate: ``mean`` or ``sampled`` of a model, the name of a trivial reference.
        metric: as in docs/metrics.md.
        value: NaN where the metric is not defined.
    """

    part: str
    space: str
    task: str
    checkpoint: str
    estimate: str
    metric: str
    value: float

    @property
    def name(self) -> str:
        """``<part>/<space>/<task>/<checkpoint>/<estimate>/<metric>``: its name in MLflow and in messages."""
        return "/".join(self[:-1])


def scores_of(metrics: dict) -> list[Score]:
    """The scores in the content of ``metrics.json``.

    Raises:
        OdevaeError: if it has no rows of scores.
    """
    if "scores" not in metrics:
        raise OdevaeError(
            f"metrics.json of {metrics.get('run', 'a run')} holds no rows of scores, so another version of odevae "
            "wrote it; delete it and run the workflow again."
        )
    return [Score(**row) for row in metrics["scores"]]


def select(scores: Iterable[Score], **fields: str) -> list[Score]:
    """The scores whose fields have these values: ``select(scores, part="test", metric="r")``."""
    return [score for score in scores if all(getattr(score, name) == value for name, value in fields.items())]


def headline(metrics: dict, audit: dict) -> dict[str, float | None]:
    """The scores of a run that tables show: raw units, best epoch, posterior mean, on the part that was scored.

    Args:
        metrics: content of ``metrics.json``.
        audit: content of ``audit.json`` of its fold.

    Returns:
        ``r2_neuron``, ``r2_pooled``, ``r`` and ``skill``, None if the run diverged; ``event_auc`` and
        ``bits_per_event``, None also without events; ``latent_rank`` and ``participation_ratio`` of the latent paths,
        None if the run diverged; ``trivial_r2_neuron`` and ``trivial_bits_per_event`` of the best trivial reference on
        the same values; ``test_trials``, on how many trials they rest; and ``shared_trials`` and ``padded_fraction`` of
        the audit.
    """
    of_part = select(scores_of(metrics), part=metrics["scored_part"], task=metrics["task"])
    scored, latent = select(of_part, space="raw"), select(of_part, space=LATENT)
    best = {score.metric: score.value for score in select([*scored, *latent], checkpoint="best", estimate="mean")}
    bits = select(scored, metric="bits_per_event")
    return {
        **{name: best.get(name) for name in ("r2_neuron", "r2_pooled", "r", "event_auc", "bits_per_event", "skill")},
        **{name: best.get(name) for name in ("latent_rank", "participation_ratio")},
        "trivial_r2_neuron": best_reference(select(scored, metric="r2_neuron")).value,
        # Only on test trials, of recordings that have events.
        "trivial_bits_per_event": best_reference(bits).value if bits else None,
        "test_trials": len(set(audit["scored_trial_ids"])),
        **{name: audit[name] for name in ("shared_trials", "padded_fraction")},
    }


def best_reference(scores: Iterable[Score]) -> Score:
    """The best of the trivial references among scores of one metric (higher is better); NaN is the worst."""
    references = select(scores, checkpoint=REFERENCE)
    return max(references, key=lambda score: -math.inf if math.isnan(score.value) else score.value)
