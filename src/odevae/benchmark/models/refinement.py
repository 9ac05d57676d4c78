"""The code of each frame that its decoder explains the frame best with, found by descent and not by an encoder.

How much a code of ``D`` numbers keeps depends on who chooses it: an encoder answers at once, and leaves a gap to the
best code (the amortisation gap; Cremer, Li & Duvenaud, ICML 2018). Descent from the encoder's answer closes most of it,
as in the semi-amortised variational autoencoder (Kim et al., ICML 2018), for every decoder alike. Two models are
compared fairly only if both are refined, or neither.
"""

from collections.abc import Callable

import torch

# Of Adam, whose rate falls to zero; and how strongly codes are drawn to where they began. Chosen on validation trials
# of split 0 of E65.
STEPS, RATE, PULL = 200, 0.3, 0.1


def refined_codes(start: torch.Tensor, misfit: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Codes ``(B, L, D)`` of a smaller misfit.

    Args:
        start: ``(B, L, D)``, the encoder's codes.
        misfit: gives ``(B, L)``, zero in bins that are not seen, for codes ``(B, L, D)``.
    """
    codes = start.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([codes], RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        with torch.enable_grad():
            loss = misfit(codes).sum() + PULL / 2 * (codes - start).square().sum()
        (codes.grad,) = torch.autograd.grad(loss, codes)
        optimiser.step()
        schedule.step()
    return codes.detach()
