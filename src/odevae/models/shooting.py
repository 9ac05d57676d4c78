"""A latent neural ODE with multiple shooting (Iakovlev, Yildiz, Heinonen & Laehdesmaeki, ICLR 2023).

An encoder of the whole trial gives a Gaussian posterior of the latent state at every frame. A trial is cut into blocks
of `ShootingVAE.block_frames`; the states at the first frames of the blocks, the knots, are taken from their posteriors,
and a neural ODE gives the path inside each block. All blocks of all trials are one batch of the solver. A continuity
prior draws the end of a block to the next knot. With one block a trial this is the paper's model with an encoder of the
whole trial; with blocks of one frame it is an autoencoder.

Time is counted in frames. Trials are ``(B, L, N)`` in units of the model's scale, with recorded bins ``(B, L)``, which
come first in each trial.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from odevae.models.likelihoods import Likelihood
from odevae.models.solvers import dense_rk4

# Frames between two copies that a convolution adds up; together the encoder sees 61 frames.
DILATIONS = (1, 2, 4, 8)
KERNEL = 5
# Of a posterior before training: a wide one would hide from the decoder what the encoder has still to learn.
POSTERIOR_LOG_VARIANCE = -4.0
LOG_VARIANCE_RANGE = (-10.0, 4.0)
# The largest speed of a latent, in units of its SD, per frame. It keeps every path finite.
SPEED = 2.0
# Frames of one Runge-Kutta step.
FRAMES_PER_STEP = 2
# At first the decoder is almost linear, so that latents unfold before the field bends them.
LINEAR_SHARE, CURVED_SHARE = 0.3, 0.1
# Logarithm of activity for one unit of a weight of a tuned decoder. Fields that are narrow next to the range of the
# latents need slopes of ten, and Adam moves a weight by no more than its learning rate.
TUNING_GAIN = 5.0
# A curvature before training, through softplus: broad fields.
TUNING_START = -2.0
# Logarithm of what a unit of velocity moves a latent in a frame, before training.
VELOCITY_START = -2.0
# Shares of a trial over which an initial state is refined in turn, and steps of each; the first rate of Adam.
REFINEMENT = ((0.3, 60), (0.6, 60), (1.0, 120))
REFINING_RATE = 0.03
# Of Adam, for the states at all knots.
SMOOTHING_STEPS, SMOOTHING_RATE = 60, 0.05


class DilatedConvolution(nn.Module):
    """Along time within each unit, then across units: ``(B, L, width)`` to the same shape, zeros around the trial."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        bound = 1 / math.sqrt(KERNEL)
        self.dilation = dilation
        self.along = nn.Parameter(torch.empty(KERNEL, width).uniform_(-bound, bound))
        self.across = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        n_bins, reach = hidden.shape[1], KERNEL // 2 * self.dilation
        padded = functional.pad(hidden, (0, 0, reach, reach))
        total = padded[:, :n_bins] * self.along[0]
        for lag, weight in enumerate(self.along[1:], start=1):
            first = lag * self.dilation
            total = torch.addcmul(total, weight, padded[:, first : first + n_bins])
        return self.across(total)


class TrialEncoder(nn.Module):
    """Posterior of the latent state at every frame from the frames around it: linear to `width`, then residual
    convolutions of growing reach."""

    def __init__(self, n_neurons: int, latent_dim: int, width: int, dropout: float):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(n_neurons, width), nn.GELU(), nn.LayerNorm(width))
        self.convolutions = nn.ModuleList(DilatedConvolution(width, dilation) for dilation in DILATIONS)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 2 * latent_dim)
        with torch.no_grad():
            self.head.bias[latent_dim:] = POSTERIOR_LOG_VARIANCE

    def forward(self, seen: torch.Tensor, recorded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is seen ``(B, L, N)`` and recorded bins ``(B, L)`` -> mean and log variance, each ``(B, L, D)``."""
        inside = recorded[..., None]
        hidden = self.read(seen) * inside
        for convolution in self.convolutions:
            # What lies outside the trial must stay zero, or the next convolution would carry it back inside.
            hidden = (hidden + functional.gelu(convolution(self.dropout(hidden)))) * inside
        mean, log_variance = self.head(self.dropout(hidden)).chunk(2, dim=-1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)


class BoundedField(nn.Module):
    """``D -> width -> width -> D`` with SiLU, each speed bounded; at first nothing moves.

    Attributes:
        frozen: whether nothing ever moves: the control that shows what a field is worth.
    """

    def __init__(self, latent_dim: int, width: int, frozen: bool, n_outputs: int | None = None):
        super().__init__()
        self.frozen = frozen
        n_outputs = n_outputs or latent_dim
        self.body = nn.Sequential(
            nn.Linear(latent_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, n_outputs)
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """``(M, D)`` -> ``(M, D)``, per frame; the field does not depend on the time `t`."""
        return torch.zeros_like(z) if self.frozen else SPEED * torch.tanh(self.body(z) / SPEED)


class SecondOrderField(BoundedField):
    """The same for positions and velocities: ``dq/dt = exp(s) v``, and the network gives ``dv/dt`` (Norcliffe et al.,
    NeurIPS 2020).

    A velocity has the SD of a position, as the prior of the knots asks; the scales s of the dimensions are learned.
    """

    def __init__(self, latent_dim: int, width: int, frozen: bool):
        super().__init__(latent_dim, width, frozen, latent_dim // 2)
        self.log_scale = nn.Parameter(torch.full((latent_dim // 2,), VELOCITY_START))

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        if self.frozen:
            return torch.zeros_like(z)
        velocity = z[..., z.shape[-1] // 2 :]
        return torch.cat([torch.exp(self.log_scale) * velocity, super().forward(t, z)], dim=-1)


class LinearDecoder(nn.Linear):
    """``(..., D)`` -> ``(..., n_outputs N)``, what the likelihood takes; starts at the mean activity."""

    def __init__(self, latent_dim: int, start: torch.Tensor):
        super().__init__(latent_dim, len(start))
        with torch.no_grad():
            self.bias.copy_(start)


class CurvedDecoder(nn.Module):
    """The same, plus a network ``D -> width -> width`` with GELU."""

    def __init__(self, latent_dim: int, width: int, start: torch.Tensor, dropout: float):
        super().__init__()
        self.linear = LinearDecoder(latent_dim, start)
        self.curved = nn.Sequential(
            nn.Linear(latent_dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout)
        )
        self.output = nn.Linear(width, len(start), bias=False)
        with torch.no_grad():
            self.linear.weight.mul_(LINEAR_SHARE)
            self.output.weight.mul_(CURVED_SHARE)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.linear(z) + self.output(self.curved(z))


class TunedDecoder(nn.Module):
    """The same, with a Gaussian tuning curve for each number, if it is the logarithm of activity.

    ``start + GAIN (W z + b) - softplus(a) |z|^2``: highest at one place of the latents, ``GAIN W / (2 softplus(a))``,
    and lower by the square of the distance from it, as in the place cells of `odevae.data.simulate.foraging`. Unlike
    a network, such fields cannot follow activity along bent latents.
    """

    def __init__(self, latent_dim: int, start: torch.Tensor):
        super().__init__()
        self.slopes = nn.Linear(latent_dim, len(start))
        self.curvature = nn.Parameter(torch.full_like(start, TUNING_START))
        self.register_buffer("start", start.clone())
        with torch.no_grad():
            self.slopes.weight.div_(TUNING_GAIN)
            self.slopes.bias.zero_()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        squared = z.square().sum(dim=-1, keepdim=True)
        return self.start + TUNING_GAIN * self.slopes(z) - functional.softplus(self.curvature) * squared


class OfPositions(nn.Module):
    """A decoder that is given the first half of a state, the positions."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.decoder(z[..., : z.shape[-1] // 2])


class ShootingVAE(nn.Module):
    """Encoder, field, decoder and observation model, see the module.

    Attributes:
        block_frames: frames from one knot to the next.
        second_order: whether the first half of a state are positions, which activity depends on, and the second half
            their velocities.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        n_neurons: int,
        latent_dim: int,
        *,
        block_frames: int,
        width: int,
        field_width: int,
        dropout: float = 0.0,
        decoder_dropout: float = 0.0,
        curved: bool = True,
        tuned: bool = False,
        second_order: bool = False,
        frozen: bool = False,
    ):
        super().__init__()
        if second_order and latent_dim % 2:
            raise ValueError(f"positions and velocities in {latent_dim} dimensions")
        self.block_frames, self.second_order = block_frames, second_order
        self.likelihood = likelihood
        self.encoder = TrialEncoder(n_neurons, latent_dim, width, dropout)
        self.field = (SecondOrderField if second_order else BoundedField)(latent_dim, field_width, frozen)
        start, n_decoded = likelihood.start, latent_dim // 2 if second_order else latent_dim
        if tuned:
            decoder = TunedDecoder(n_decoded, start)
        elif curved:
            decoder = CurvedDecoder(n_decoded, width, start, decoder_dropout)
        else:
            decoder = LinearDecoder(n_decoded, start)
        self.decoder = OfPositions(decoder) if second_order else decoder

    def solve(self, z0: torch.Tensor, n_frames: int) -> torch.Tensor:
        """The path ``(M, n_frames + 1, D)`` from states ``(M, D)``, one state a frame.

        Steps always have `FRAMES_PER_STEP`, so that a path does not depend on how far it is followed.
        """
        n_steps = max(1, math.ceil(n_frames / FRAMES_PER_STEP))
        return dense_rk4(self.field, z0, torch.arange(n_steps * FRAMES_PER_STEP + 1.0), n_steps)[:, : n_frames + 1]

    def knots(self, n_bins: int, phase: int) -> torch.Tensor:
        """First frames of the blocks ``(K,)`` int64: 0, then every `block_frames` from `phase` on (from 1 on)."""
        return torch.tensor([0, *range(phase, n_bins, self.block_frames)])

    def blocks(self, states: torch.Tensor, knots: torch.Tensor, n_bins: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Paths from the states at the knots.

        Args:
            states: ``(B, K, D)``.
            knots: ``(K,)``, see `knots`.
            n_bins: ``L``.

        Returns:
            The path of every bin ``(B, L, D)``, and where the blocks end that another one follows ``(B, K - 1, D)``.
        """
        n_trials, n_blocks, _ = states.shape
        paths = self.solve(states.flatten(0, 1), self.block_frames).unflatten(0, (n_trials, n_blocks))
        bins = torch.arange(n_bins)
        block = torch.searchsorted(knots, bins, right=True) - 1
        return paths[:, block, bins - knots[block]], paths[:, torch.arange(n_blocks - 1), knots.diff()]

    def paths(self, states: torch.Tensor, phases: Sequence[int]) -> torch.Tensor:
        """Paths ``(P, B, L, D)`` from posterior means ``(B, L, D)``, with the knots at each of some phases."""
        n_bins = states.shape[1]
        knots = [self.knots(n_bins, phase) for phase in phases]
        return torch.stack([self.blocks(states[:, at], at, n_bins)[0] for at in knots])

    def phases(self, most: int) -> list[int]:
        """At most this many phases of the knots, evenly spread over a block."""
        n = min(most, self.block_frames)
        return [1 + i * self.block_frames // n for i in range(n)]


def smoothed_paths(
    model: ShootingVAE,
    states: torch.Tensor,
    values: torch.Tensor,
    recorded: torch.Tensor,
    counted: torch.Tensor,
    phases: Sequence[int],
    continuity: float,
) -> torch.Tensor:
    """Paths whose knots are where trial and continuity prior together are likeliest: the maximum a posteriori.

    An encoder answers at once and leaves a gap to the best answer (Cremer, Li & Duvenaud, ICML 2018). Where activity is
    noisy, a state a few frames later says as much about a knot as the frames around it, and only the field knows how.

    Args:
        model: its weights need no gradient.
        states: ``(B, L, D)``, where to begin.
        values: ``(B, L, N)`` in units of the model's scale, finite.
        recorded: ``(B, L)``.
        counted: ``(B, L, N)`` or ``(B, L, 1)`` bool, the entries that are seen.
        phases: of the knots, each for itself.
        continuity: SD of the prior of a knot around the end of the block before it.

    Returns:
        ``(P, B, L, D)``.
    """
    n_bins, found = values.shape[1], []
    for phase in phases:
        knots = model.knots(n_bins, phase)
        chosen, inside = states[:, knots].detach().clone().requires_grad_(True), recorded[:, knots, None]
        optimiser = torch.optim.Adam([chosen], SMOOTHING_RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, SMOOTHING_STEPS)
        for _ in range(SMOOTHING_STEPS):
            with torch.enable_grad():
                path, ends = model.blocks(chosen, knots, n_bins)
                unlikely = (model.likelihood.negative_log(model.decoder(path), values) * counted).sum()
                jumps = ((chosen[:, 1:] - ends) / continuity).square() * inside[:, 1:]
                loss = unlikely + jumps.sum() / 2 + chosen[:, 0].square().sum() / 2
            (chosen.grad,) = torch.autograd.grad(loss, chosen)
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            found.append(model.blocks(chosen, knots, n_bins)[0])
    return torch.stack(found)


def drawn_paths(
    model: ShootingVAE, path: torch.Tensor, log_variance: torch.Tensor, phase: int, n_draws: int
) -> torch.Tensor:
    """Paths ``(n_draws, B, L, D)`` whose knots are drawn about those of a path.

    Args:
        model: its weights need no gradient.
        path: ``(B, L, D)``, with knots at this phase.
        log_variance: ``(B, L, D)``, of the encoder's posterior.
        phase: of the knots.
        n_draws: how many.
    """
    n_bins = path.shape[1]
    knots = model.knots(n_bins, phase)
    mean, sd = path[:, knots], torch.exp(log_variance[:, knots] / 2)
    states = mean + sd * torch.randn(n_draws, *mean.shape)
    return model.blocks(states.flatten(0, 1), knots, n_bins)[0].unflatten(0, (n_draws, len(path)))


def refined_path(model: ShootingVAE, start: torch.Tensor, values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """The path of whole trials from one state each, moved to where the trial is likeliest under the field alone.

    First the beginning of a trial counts, then more of it, because over a long time the likelihood of a chaotic path
    has many maxima.

    Args:
        model: its weights need no gradient.
        start: ``(B, D)``, where to begin.
        values: ``(B, L, N)`` in units of the model's scale, finite.
        counted: ``(B, L, N)`` or ``(B, L, 1)`` bool, the entries that are seen.

    Returns:
        ``(B, L, D)``.
    """
    n_bins = values.shape[1]
    place = torch.arange(n_bins)[:, None] / counted.any(dim=2).sum(dim=1).clamp_min(1)[:, None, None]
    state = start.detach().clone().requires_grad_(True)
    for share, steps in REFINEMENT:
        asked = counted & (place < share)
        window = int(asked.any(dim=2).any(dim=0).sum())
        optimiser = torch.optim.Adam([state], REFINING_RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
        for _ in range(steps):
            with torch.enable_grad():
                path = model.solve(state, window - 1)
                unlikely = model.likelihood.negative_log(model.decoder(path), values[:, :window])
                loss = (unlikely * asked[:, :window]).sum() + state.square().sum() / 2
            (state.grad,) = torch.autograd.grad(loss, state)
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return model.solve(state, n_bins - 1)
