"""What every training shares, that of the ODE-VAE and those of the neural references: a step, and the best weights."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from odevae.errors import OdevaeError
from odevae.training.optimisers import AdamW

GRADIENT_NORM = 1.0


class Diverged(ArithmeticError):
    """The loss is no longer a number, or the latent path cannot be integrated."""


def require_finite(loss: torch.Tensor, name: str) -> None:
    """Raises `Diverged` if the loss, a scalar of this name, is no number."""
    if not torch.isfinite(loss):
        raise Diverged(f"{name} loss is {loss.item()}")


def descend(
    loss: torch.Tensor, model: nn.Module, optimiser: torch.optim.Optimizer, check_gradient: bool = False
) -> None:
    """One step down: backward, clip, step.

    Args:
        loss: a scalar.
        model: whose gradient is clipped.
        optimiser: of the model.
        check_gradient: refuse a gradient that is no number. Clipping turns it into weights that are none.

    Raises:
        Diverged: if the loss is no number, or the gradient if it is checked; the weights are left as they are.
    """
    require_finite(loss, "training")
    optimiser.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
    if check_gradient and not torch.isfinite(norm):
        raise Diverged(f"norm of the gradient is {norm.item()}")
    optimiser.step()


def descend_averaged(
    model: nn.Module,
    batches: Iterable[tuple],
    objective: Callable[..., torch.Tensor],
    *,
    steps: int,
    look_every: int,
    learning_rate: float,
    weight_decay: float,
    decay: float,
) -> Iterator[nn.Module]:
    """Train with AdamW on a one-cycle schedule; the running mean of the weights is what is looked at.

    Args:
        model: is trained in place.
        batches: at least `steps` of them.
        objective: gives the loss of a batch.
        steps: of the optimiser.
        look_every: steps between two looks.
        learning_rate: the peak of the schedule.
        weight_decay: of AdamW.
        decay: share of the running mean that stays at each step.

    Yields:
        A module of averaged weights every `look_every` steps and after the last one; the next step changes it.

    Raises:
        OdevaeError: if the loss is no number.
    """
    optimiser = AdamW(model.parameters(), learning_rate, weight_decay=weight_decay, fused=True)
    schedule = OneCycleLR(optimiser, learning_rate, total_steps=steps)
    average = running_mean(model, decay)
    for step, batch in enumerate(islice(batches, steps), start=1):
        model.train()
        try:
            descend(objective(*batch), model, optimiser)
        except Diverged as error:
            raise OdevaeError(
                f"{type(model).__name__}: its {error} in step {step} of {steps}; check the recording for values far "
                "beyond the others, or lower the learning rate."
            ) from error
        schedule.step()
        average.update_parameters(model)
        if step % look_every == 0 or step == steps:
            yield average.module.eval()


@dataclass(frozen=True)
class Best:
    """The weights of the highest score so far.

    Attributes:
        weights: a copy, on the CPU.
        epoch: the one that they had this score after; 0 before the first.
        score: what is compared; higher is better.
    """

    weights: dict[str, torch.Tensor]
    epoch: int = 0
    score: float = float("-inf")

    def or_better(self, epoch: int, score: float, model: nn.Module) -> "Best":
        """The weights of `model` if their score is higher, else these."""
        return Best(weights_of(model), epoch, score) if score > self.score else self


def running_mean(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model for the running mean of its weights, of which a share `decay` stays at each update."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights that later steps leave alone, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
