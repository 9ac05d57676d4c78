"""A training between two steps: its state, the step down, and the way back from steps that fail."""

import copy
import logging
from dataclasses import dataclass

import torch

from odevae.models.odevae import ODEVAE
from odevae.models.presets import ModelSpec
from odevae.training.descent import Best, Diverged, descend, running_mean, weights_of
from odevae.training.optimisers import Adam
from odevae.training.reproducibility import generators, restore_generators

logger = logging.getLogger(__name__)

# After so many failed steps in a row it is the weights that are at fault, not the batch.
FAILED_IN_A_ROW = 2
# On the learning rate, for each failed step, until an epoch passes without one.
RATE_AFTER_FAILURE = 0.5
# Of the weights in the state of their running mean.
MEAN_PREFIX = "module."


@dataclass(frozen=True)
class State:
    """A training at the end of an epoch: everything that the epochs after it depend on, copied.

    Attributes:
        epoch: the last finished one; 0 before the first.
        seconds: trained so far, s.
        model, optimiser: their states. Schedules follow from the epoch.
        average: that of the running mean of the weights; empty without one.
        generators: states of every random generator in use.
        best: the epoch of the best validation score so far.
        failed: steps that failed since the last epoch without any.
    """

    epoch: int
    seconds: float
    model: dict
    optimiser: dict
    average: dict
    generators: dict
    best: Best
    failed: int

    @property
    def judged(self) -> dict[str, torch.Tensor]:
        """The weights that validation looks at: the running mean if there is one, else the model's own."""
        if not self.average:
            return self.model
        return {name.removeprefix(MEAN_PREFIX): self.average[name] for name in self.average if MEAN_PREFIX in name}


class Training:
    """A model, its optimiser and the running mean of its weights.

    A step that fails is skipped, as Chowdhery et al. (2022, section 5.1) skip batches; after `FAILED_IN_A_ROW` the
    training goes back to the end of the last epoch, with other draws from there on. Each failed step halves the
    learning rate until an epoch passes without one.

    Attributes:
        skipped: steps that failed in this epoch.
    """

    def __init__(self, model: ODEVAE, spec: ModelSpec):
        self.model, self.spec = model, spec
        self.optimiser = Adam(model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
        self.average = running_mean(model, spec.weight_average) if spec.weight_average else None
        self.failed = self.skipped = self._in_a_row = 0

    @property
    def judged(self) -> ODEVAE:
        """What validation looks at: a model of the mean weights if there are some, else the model itself."""
        return self.average.module if self.average else self.model

    def state(self, epoch: int, seconds: float, best: Best) -> State:
        """A copy of everything at the end of an epoch."""
        return State(
            epoch=epoch,
            seconds=seconds,
            model=weights_of(self.model),
            optimiser=copy.deepcopy(self.optimiser.state_dict()),
            average=weights_of(self.average) if self.average else {},
            generators=generators(),
            best=best,
            failed=self.failed if self.skipped else 0,
        )

    def resume(self, state: State) -> None:
        """Go on from a state, with its generators."""
        self._load(state)
        restore_generators(state.generators)

    def begin_epoch(self, last: State, learning_rate: float) -> None:
        """Begin the epoch after `last`, the state to go back to."""
        self._last, self._learning_rate = last, learning_rate
        self.failed, self.skipped, self._in_a_row = last.failed, 0, 0

    def step(self, loss: torch.Tensor) -> None:
        """One step down.

        Raises:
            Diverged: if the loss is no number, or, where steps may fail, its gradient.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate * RATE_AFTER_FAILURE**self.failed
        descend(loss, self.model, self.optimiser, check_gradient=self.spec.skip_steps > 0)
        if self.average:
            self.average.update_parameters(self.model)
        self._in_a_row = 0

    def skip(self, error: ArithmeticError) -> None:
        """Go on after a step that failed; go back if it is not the first in a row.

        Raises:
            Diverged: if more steps have failed than may.
        """
        self._count(error)
        self._in_a_row += 1
        if self._in_a_row >= FAILED_IN_A_ROW:
            self._load(self._last)

    def go_back(self, error: ArithmeticError) -> None:
        """Return to the end of the last epoch, because the weights of this one cannot be validated.

        Raises:
            Diverged: as `skip`.
        """
        self._count(error)
        self._load(self._last)

    def _count(self, error: ArithmeticError) -> None:
        self.failed += 1
        self.skipped += 1
        if self.failed > self.spec.skip_steps:
            times = f", after {self.failed} failed steps" if self.spec.skip_steps else ""
            raise Diverged(f"{error}{times}") from error
        logger.info(f"epoch {self._last.epoch + 1}: step skipped, {error}")

    def _load(self, state: State) -> None:
        self.model.load_state_dict(state.model)
        # The optimiser changes in place what it is given.
        self.optimiser.load_state_dict(copy.deepcopy(state.optimiser))
        if self.average:
            self.average.load_state_dict(state.average)
        self._in_a_row = 0
