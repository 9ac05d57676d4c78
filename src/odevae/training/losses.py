"""The training objective, equations 6 to 12 of the paper in order, with masks for bins that do not count.

With every bin counted each term equals the source's. Two differ from the paper's text, as the source does: the KL and
the LLE term are means over latent dimensions too, not sums.
"""

from typing import NamedTuple

import torch

from odevae.models.odevae import Output
from odevae.models.presets import ModelSpec
from odevae.training.schedules import ramp

# The log variance is held in this range in the loss, not in the draw (source).
LOG_VARIANCE_RANGE = (-10.0, 10.0)
# Soft LLE (eq. 11 and section 5): neighbours, points at most, temperature.
LLE_NEIGHBOURS, LLE_POINTS, LLE_TEMPERATURE = 8, 256, 0.1


class Terms(NamedTuple):
    """One value for each term of eq. 12: the terms as they are, or their weights."""

    reconstruction: torch.Tensor | float
    kl: torch.Tensor | float
    smoothness: torch.Tensor | float
    transition: torch.Tensor | float
    lle: torch.Tensor | float


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``(B, L, C)`` over counted bins ``(B, L)`` and all channels."""
    return (values * mask[..., None]).sum() / (mask.sum() * values.shape[-1])


def reconstruction(predicted: torch.Tensor, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eq. 7: mean squared error."""
    return masked_mean((predicted - observed) ** 2, mask)


def kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Eq. 8: divergence of the posterior ``(B, D)`` from the unit Gaussian, mean over trials and dimensions."""
    log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
    # torch.distributions.kl_divergence takes the logarithm of the exponential: other last bits, so other trainings.
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()


def smoothness(path: torch.Tensor, times: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eq. 9: mean squared finite-difference velocity of the latent path ``(B, L, D)``."""
    velocity = path.diff(dim=1) / times.diff()[:, None]
    return masked_mean(velocity**2, mask[:, 1:])


def transition(predicted: torch.Tensor, observed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eq. 10: mean squared error of the steps from bin to bin."""
    return masked_mean((predicted.diff(dim=1) - observed.diff(dim=1)) ** 2, mask[:, 1:])


def soft_lle(path: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eq. 11: how far latent points lie from a softmax-weighted mean of their nearest neighbours.

    At most `LLE_POINTS` points are drawn from the counted ones; zero where there are no more than `LLE_NEIGHBOURS`.
    """
    points = path[mask]
    if len(points) <= LLE_NEIGHBOURS:
        return path.new_zeros(())
    if len(points) > LLE_POINTS:
        points = points[torch.randperm(len(points), device=points.device)[:LLE_POINTS]]
    distances = torch.cdist(points, points)
    distances = distances.masked_fill(torch.eye(len(points), dtype=torch.bool, device=points.device), torch.inf)
    nearest, neighbours = distances.topk(LLE_NEIGHBOURS, largest=False)
    weights = torch.softmax(-nearest / LLE_TEMPERATURE, dim=-1)
    return ((points - (weights[..., None] * points[neighbours]).sum(dim=1)) ** 2).mean()


def weights(spec: ModelSpec, lambda_smooth: float, epoch: int | None) -> Terms:
    """Weights of eq. 12 in `epoch`; with None the full ones, by which validation is scored."""

    def warm(weight: float, warmup_epochs: int) -> float:
        return weight if epoch is None else weight * ramp(epoch, warmup_epochs)

    return Terms(
        reconstruction=1.0,
        kl=warm(spec.beta, spec.beta_warmup_epochs),
        smoothness=lambda_smooth,
        transition=warm(spec.lambda_transition, spec.transition_warmup_epochs),
        lle=spec.lambda_lle,
    )


def terms(output: Output, observed: torch.Tensor, mask: torch.Tensor, times: torch.Tensor, weight: Terms) -> Terms:
    """Every term as it is; one of no weight is left out (zero), as in the source."""

    def wanted(weight_of_term: float, compute) -> torch.Tensor:
        return compute() if weight_of_term else observed.new_zeros(())

    return Terms(
        reconstruction=reconstruction(output.reconstruction, observed, mask),
        kl=kl(output.posterior_mean, output.posterior_log_variance),
        smoothness=wanted(weight.smoothness, lambda: smoothness(output.path, times, mask)),
        transition=wanted(weight.transition, lambda: transition(output.reconstruction, observed, mask)),
        lle=wanted(weight.lle, lambda: soft_lle(output.path, mask)),
    )


def total(values: Terms, weight: Terms) -> torch.Tensor:
    """Eq. 12: the weighted sum (eq. 6 is its first two terms)."""
    return sum(value * w for value, w in zip(values, weight, strict=True))
