"""What changes from epoch to epoch in a training: all of it follows from the settings and the epoch alone."""

import math

from odevae.models.presets import ModelSpec


def ramp(epoch: int, warmup_epochs: int) -> float:
    """Linear warm-up: the share that is reached at the end of `epoch` (from 1)."""
    return min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0


def learning_rate(spec: ModelSpec, epoch: int) -> float:
    """Linear warm-up (Goyal et al. 2017), times half a cosine from 1 in the first epoch to `learning_rate_end` in the
    last (Loshchilov & Hutter 2017)."""
    passed = (epoch - 1) / max(1, spec.epochs - 1)
    lost = (1 - spec.learning_rate_end) * (1 - math.cos(math.pi * passed)) / 2
    return spec.learning_rate * ramp(epoch, spec.learning_rate_warmup_epochs) * (1 - lost)


def horizon(spec: ModelSpec, epoch: int, n_bins: int) -> int:
    """How many of a batch's bins are trained on in `epoch`: at least two, for a path."""
    share = spec.horizon_start + (1 - spec.horizon_start) * ramp(epoch - 1, spec.horizon_epochs)
    # Less a little, so that a rounded product does not add a bin.
    return min(n_bins, max(2, math.ceil(share * n_bins - 1e-9)))


def grown_up(spec: ModelSpec) -> int:
    """The epoch in which the last warm-up ends, 0 without any."""
    warmups = (spec.beta_warmup_epochs, spec.learning_rate_warmup_epochs, spec.horizon_epochs)
    # A term without weight has nothing to warm up.
    return max(*warmups, spec.transition_warmup_epochs if spec.lambda_transition else 0)
