"""The families of tasks, the name of each task, and the score that is compared."""

import re
from collections.abc import Container
from typing import NamedTuple

# The family whose scores are verdicts over all splits together.
DYNAMICS = "dynamics"
# A family with scores has a figure.
FAMILIES = (
    "reconstruct",
    "onset",
    "forecast",
    "new_events",
    "cosmooth",
    "decode",
    "rates",
    "latent",
    "lost",
    DYNAMICS,
)
# Of every task, the score that is compared: the first that it has.
HEADLINE = {
    "decode": ("r2", "balanced_accuracy"),
    "new_events": ("event_auc",),
    "latent": ("r2",),
    "rates": ("r2_neuron", "r2_mean"),
    "lost": ("frames",),
    DYNAMICS: ("share",),
    "intrinsic_dimension": ("correlation_dimension",),
}
DEFAULT_HEADLINE = ("r2_neuron",)
# Scores of events, next to the headline of every task that has them.
EVENT_SCORES = ("event_auc", "bits_per_event")
# Families whose name has an @ before the number.
AHEAD = ("forecast", "new_events")


class Task(NamedTuple):
    """What a model has to predict. Tasks are sorted by family, then by number.

    Attributes:
        family: one of `FAMILIES`, or another that has no figure.
        number: frames that an ``onset`` sees, frames ahead of a ``forecast`` or of ``new_events``; 0 for the others.
        subject: what is decoded or scored, such as a covariate.
    """

    family: str
    number: int = 0
    subject: str = ""

    @property
    def name(self) -> str:
        """Its name in files and tables: ``onset1``, ``forecast@5``, ``decode/Position``."""
        before = "@" if self.family in AHEAD else ""
        return self.family + (f"{before}{self.number}" if self.number else "") + (self.subject and f"/{self.subject}")

    @classmethod
    def parse(cls, name: str) -> "Task":
        """The task of a name."""
        family, _, subject = name.partition("/")
        family, number = re.fullmatch(r"(.*?)@?(\d*)", family).groups()
        return cls(family, int(number or 0), subject)

    def headline(self, scores: Container[str]) -> str | None:
        """The metric among `scores` that is compared first; None if they are other metrics."""
        return next((name for name in HEADLINE.get(self.family, DEFAULT_HEADLINE) if name in scores), None)

    def compared(self, scores: dict[str, float]) -> list[str]:
        """The metrics among `scores` that are compared: the headline, and those of events."""
        return list(dict.fromkeys([self.headline(scores), *(name for name in EVENT_SCORES if name in scores)]))


def compared_metric(task: str, scores: dict[str, float]) -> str:
    """The metric among the scores of a task, given by its name, that a benchmark compares first."""
    return Task.parse(task).headline(scores)
