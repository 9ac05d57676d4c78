"""Integrate a latent field from an initial state over given times."""

from collections.abc import Callable

import torch
from torchdiffeq import odeint

from odevae.errors import OdevaeError

Field = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``f(t, z) -> dz/dt``: ``t`` a scalar, ``z`` and ``dz/dt`` ``(B, D)``."""

# Tolerances of the paper's source, on CPU and CUDA.
RTOL, ATOL = 1e-3, 1e-4
METHODS = ("dopri5", "rk4")


class SolverError(ArithmeticError):
    """The field cannot be integrated: its values exploded or the step size underflowed."""


def integrate(field: Field, z0: torch.Tensor, times: torch.Tensor, method: str) -> torch.Tensor:
    """Solve ``dz/dt = field(t, z)`` (paper, eq. 3).

    Args:
        field: the vector field.
        z0: ``(B, D)``, state at ``times[0]``.
        times: ``(L,)``, strictly increasing, shared by the batch.
        method: ``dopri5`` (adaptive Dormand-Prince, as in the paper) or ``rk4`` (fixed steps of half the grid spacing,
            as the source uses on Apple's MPS device).

    Returns:
        ``(B, L, D)``.

    Raises:
        OdevaeError: if the method does not exist.
        SolverError: if the state is not finite or the adaptive step underflows.
    """
    if method not in METHODS:
        raise OdevaeError(f"solver {method!r} is unknown; use one of {', '.join(METHODS)}.")
    options = {"step_size": float(times[1] - times[0]) / 2} if method == "rk4" else {}
    try:
        path = odeint(field, z0, times, rtol=RTOL, atol=ATOL, method=method, options=options)
    except AssertionError as error:  # torchdiffeq asserts that its step stays above the time's resolution
        raise SolverError(str(error)) from error
    if not torch.isfinite(path).all():
        raise SolverError("the latent path is not finite")
    return path.transpose(0, 1)
