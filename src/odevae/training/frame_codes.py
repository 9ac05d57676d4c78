"""Latents of single frames, found by descent in place of an encoder's answer.

An encoder learns from few trials how to infer latents, and does it worse than the decoder allows: the amortisation gap
(Cremer, Li & Duvenaud, ICML 2018). The likeliest latents of a frame need no more than the decoder and a unit Gaussian
prior.
"""

import torch

from odevae.models.shooting import ShootingVAE
from odevae.training.shooting import gaussian_kl

# Of Adam, whose rate falls to zero: for the decoder with posteriors of all training frames, and for the codes alone.
DECODER_STEPS, DECODER_RATE = 1000, 0.02
CODE_STEPS, CODE_RATE = 200, 0.1


def refine_decoder(model: ShootingVAE, values: torch.Tensor, recorded: torch.Tensor) -> None:
    """Train the decoder in place with a Gaussian posterior of every frame that is free: variational EM.

    It begins from the encoder's posteriors, and maximises the evidence lower bound of frames that are seen whole.

    Args:
        model: fitted, its weights need no gradient.
        values, recorded: training trials ``(B, L, N)`` and ``(B, L)``, as in `odevae.training.shooting.fit_shooting`.
    """
    with torch.no_grad():
        start = model.encoder(model.likelihood.seen(values), recorded)
    frames = values[recorded]
    mean, log_variance = (of[recorded].clone().requires_grad_(True) for of in start)
    weights = [weight.requires_grad_(True) for weight in model.decoder.parameters()]
    optimiser = torch.optim.Adam([mean, log_variance, *weights], DECODER_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, DECODER_STEPS)
    for _ in range(DECODER_STEPS):
        codes = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        unlikely = model.likelihood.negative_log(model.decoder(codes), frames).sum()
        loss = unlikely + gaussian_kl(mean, log_variance, torch.zeros_like(mean), 1.0).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.requires_grad_(False)


def likeliest_codes(
    model: ShootingVAE, start: torch.Tensor, values: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """Latents ``(B, L, D)`` of the highest posterior density, each frame for itself; 0 where nothing is seen.

    Args:
        model: its weights need no gradient.
        start: ``(B, L, D)``, where to begin.
        values: ``(B, L, N)`` in units of the model's scale, finite.
        counted: ``(B, L, N)`` bool, the entries that are seen.
    """
    codes = start.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([codes], CODE_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, CODE_STEPS)
    for _ in range(CODE_STEPS):
        with torch.enable_grad():
            unlikely = (model.likelihood.negative_log(model.decoder(codes), values) * counted).sum()
            loss = unlikely + codes.square().sum() / 2
        (codes.grad,) = torch.autograd.grad(loss, codes)
        optimiser.step()
        schedule.step()
    return codes.detach()
