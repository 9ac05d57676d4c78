"""Observation models: how activity is distributed about what a decoder gives, one for each kind of events.

Values and what a decoder gives are in units of the model's scale (`odevae.models.shooting.ShootingVAE`); counts stay
counts. Every observation model answers with the expected activity, and with the expected number of events: what
`odevae.events` scores.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from odevae.events import DENSE, SPARSE, SPIKES

# Bounds of the logarithm of a rate or of an amplitude: no batch can send an exponential to infinity.
LOG_BOUND = 8.0
# Smallest mean activity, or share of active frames, whose logarithm the decoder starts from.
RAREST = 1e-3
# Spikes a bin of a neuron that never fires, so that one spike of it is no surprise without end.
SMALLEST_RATE = 1e-4
# Shape of the gamma distribution before training; 1 would be exponential.
GAMMA_SHAPE = 1.5


class Likelihood(nn.Module):
    """How activity is distributed about what a decoder gives.

    Attributes:
        n_outputs: numbers that the decoder gives for each neuron.
        start: ``(n_outputs N,)``, what it gives before training, so that every neuron starts at its mean activity.
        exact: whether the activity itself is recorded, so that a good reconstruction copies it; else there is noise
            about it, so that a good one smooths.
    """

    n_outputs = 1
    exact = False

    def __init__(self, start: torch.Tensor):
        super().__init__()
        self.register_buffer("start", start)

    def seen(self, values: torch.Tensor) -> torch.Tensor:
        """What an encoder is given of activity ``(..., N)``: on a scale on which a large value does not outweigh all
        others, and 0 where there is nothing to see."""
        return torch.log1p(values)

    def negative_log(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """``(..., n_outputs N)`` from the decoder and activity ``(..., N)`` -> nats ``(..., N)``, up to a constant."""
        raise NotImplementedError

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        """Expected activity ``(..., N)``."""
        raise NotImplementedError

    def events(self, output: torch.Tensor) -> torch.Tensor:
        """Expected number of events ``(..., N)``: spikes, or the probability to be active."""
        return self.mean(output)

    def draw(self, output: torch.Tensor) -> torch.Tensor:
        """One draw of the activity ``(..., N)``."""
        raise NotImplementedError


class Poisson(Likelihood):
    """Spike counts; the decoder gives the logarithm of the rate."""

    def __init__(self, frames: torch.Tensor):
        super().__init__(torch.log(frames.mean(dim=0).clamp_min(RAREST)))

    def negative_log(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        log_rate = output.clamp(max=LOG_BOUND)
        return torch.exp(log_rate) - values * log_rate

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        return torch.exp(output.clamp(max=LOG_BOUND))

    def draw(self, output: torch.Tensor) -> torch.Tensor:
        return torch.poisson(self.mean(output))


class SoftplusPoisson(Poisson):
    """Spike counts whose rate is a softplus of what the decoder gives, linear where it is high.

    Under an exponential a state a little beyond those of the training trials has a far higher rate.
    """

    def __init__(self, frames: torch.Tensor):
        super().__init__(frames)
        self.start.copy_(torch.log(torch.expm1(torch.exp(self.start))))

    def negative_log(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        rate = self.mean(output)
        return rate - values * torch.log(rate)

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        return functional.softplus(output) + SMALLEST_RATE


class Gaussian(Likelihood):
    """Dense activity; each neuron has a noise of its own, learned."""

    start: torch.Tensor

    def __init__(self, frames: torch.Tensor):
        super().__init__(frames.mean(dim=0))
        self.register_buffer("spread", frames.std(dim=0).clamp_min(RAREST))
        self.log_sd = nn.Parameter(torch.log(self.spread))

    def seen(self, values: torch.Tensor) -> torch.Tensor:
        return (values - self.start) / self.spread

    def negative_log(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        log_sd = self.log_sd.clamp(-LOG_BOUND, LOG_BOUND)
        return ((values - output) * torch.exp(-log_sd)).square() / 2 + log_sd

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        return output

    def draw(self, output: torch.Tensor) -> torch.Tensor:
        return output + torch.exp(self.log_sd.clamp(-LOG_BOUND, LOG_BOUND)) * torch.randn_like(output)


class LogLinkGaussian(Gaussian):
    """Dense activity that grows exponentially with what the decoder gives, from a level of each neuron's own.

    Calcium follows spikes, whose rate is an exponential of what drives them in most models of neurons, as in `Poisson`.
    With this link a linear decoder can follow such activity, whose latents a bent decoder would distort.
    """

    def __init__(self, frames: torch.Tensor):
        super().__init__(frames)
        self.register_buffer("centre", self.start)
        self.level = nn.Parameter(self.centre - self.spread)
        self.start = torch.log(self.spread)

    def seen(self, values: torch.Tensor) -> torch.Tensor:
        return (values - self.centre) / self.spread

    def negative_log(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return super().negative_log(self.mean(output), values)

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        return self.level + torch.exp(output.clamp(max=LOG_BOUND))

    def draw(self, output: torch.Tensor) -> torch.Tensor:
        return super().draw(self.mean(output))


class ZeroInflatedGamma(Likelihood):
    """Sparse activity: active or not, and a gamma-distributed amplitude where active (Wei et al., PLoS Comput. Biol.
    2020; for latent models of calcium Zhu et al., Nat. Neurosci. 2022).

    The decoder gives the log odds of being active, then the logarithm of the mean amplitude. Each neuron has a shape of
    its own, learned.
    """

    n_outputs = 2
    exact = True

    def __init__(self, frames: torch.Tensor):
        active = frames > 0
        share = active.float().mean(dim=0).clamp(RAREST, 1 - RAREST)
        # A neuron that is never active has the amplitude of all others.
        common = frames[active].mean() if active.any() else frames.new_ones(())
        amplitude = torch.where(active.any(dim=0), frames.sum(dim=0) / active.sum(dim=0).clamp_min(1), common)
        super().__init__(torch.cat([torch.logit(share), torch.log(amplitude)]))
        self.log_shape = nn.Parameter(torch.full_like(share, math.log(GAMMA_SHAPE)))

    def negative_log(self, output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        log_odds, log_amplitude = self._parts(output)
        active, shape = values > 0, self._shape()
        # Where nothing is active any positive number serves, because it does not count.
        size = torch.where(active, values, torch.ones_like(values))
        of_amplitude = (
            shape * (size * torch.exp(-log_amplitude) + log_amplitude - torch.log(shape))
            - (shape - 1) * torch.log(size)
            + torch.lgamma(shape)
        )
        return functional.softplus(log_odds) - active * log_odds + active * of_amplitude

    def mean(self, output: torch.Tensor) -> torch.Tensor:
        log_odds, log_amplitude = self._parts(output)
        return torch.sigmoid(log_odds) * torch.exp(log_amplitude)

    def events(self, output: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self._parts(output)[0])

    def draw(self, output: torch.Tensor) -> torch.Tensor:
        log_odds, log_amplitude = self._parts(output)
        shape = self._shape().expand_as(log_amplitude)
        size = torch.distributions.Gamma(shape, shape * torch.exp(-log_amplitude)).sample()
        return torch.bernoulli(torch.sigmoid(log_odds)) * size

    def _shape(self) -> torch.Tensor:
        return torch.exp(self.log_shape.clamp(-LOG_BOUND, LOG_BOUND))

    @staticmethod
    def _parts(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_odds, log_amplitude = output.chunk(2, dim=-1)
        return log_odds, log_amplitude.clamp(-LOG_BOUND, LOG_BOUND)


# By what counts as an event in the recording, see `odevae.events.KINDS`.
LIKELIHOODS = {SPIKES: Poisson, SPARSE: ZeroInflatedGamma, DENSE: Gaussian}
