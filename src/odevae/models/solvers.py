"""Solve a latent field from an initial state, and give the path at any times."""

import math
from collections.abc import Callable

import torch
from torch import nn

Field = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``f(t, z) -> dz/dt``: ``t`` a scalar or ``(B, 1)``, ``z`` and ``dz/dt`` ``(B, D)``."""

# Tolerances of the paper's source, on CPU and CUDA.
RTOL, ATOL = 1e-3, 1e-4

# Error of a path that `DenseRK4` allows, as `path_error` measures it. `Dopri5` errs by 1e-5 to 6e-3 on the fields of v1
# and v5 (docs/speed.md).
TOLERANCE = 1e-3
FIRST_STEPS, FEWEST_STEPS, MOST_STEPS = 8, 2, 64
# Training solves from one check of the error to the next.
CHECK_EVERY = 10
# The number of steps aims at this share of the tolerance, because the field may sharpen before the next check.
AIM = 0.5
# What a check counts in the average over checks: about the last four decide.
WEIGHT = 0.25
# Of Runge-Kutta and of the polynomial.
ORDER = 4
# In place of the step of a trial with one frame.
SMALLEST_STEP = 1e-30


class SolverError(ArithmeticError):
    """The field cannot be integrated: its values exploded or the step size underflowed."""


class Solver(nn.Module):
    """Gives the path of a field. A solver that adapts to the field also says how, once an epoch."""

    def forward(self, field: Field, z0: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Solve ``dz/dt = field(t, z)`` (paper, eq. 3).

        Args:
            field: the vector field.
            z0: ``(B, D)``, the state at the first time.
            times: ``(L,)``, strictly increasing, shared by the batch.

        Returns:
            ``(B, L, D)``.

        Raises:
            SolverError: if the state is not finite or a step underflows.
        """
        raise NotImplementedError

    def end_epoch(self) -> dict[str, float]:
        """Columns of the history about the training solves since the last call."""
        return {}


class Dopri5(Solver):
    """Adaptive Dormand-Prince, as in the paper: steps and error control for the whole batch, by ``torchdiffeq``."""

    def __init__(self, rtol: float = RTOL, atol: float = ATOL):
        super().__init__()
        self.rtol, self.atol = rtol, atol

    def forward(self, field: Field, z0: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return _odeint(field, z0, times, method="dopri5", rtol=self.rtol, atol=self.atol)


class FixedRK4(Solver):
    """Runge-Kutta of order four with steps of half the first interval, as the source uses on Apple's MPS device.

    The times must be at a steady interval.
    """

    def forward(self, field: Field, z0: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return _odeint(field, z0, times, method="rk4", options={"step_size": float(times[1] - times[0]) / 2})


class DenseRK4(Solver):
    """A few coarse Runge-Kutta steps, read at all times by cubic Hermite interpolation.

    Trials may have their own times; all of them take the same number of steps. How long a step may be follows from step
    doubling: a path is compared with that of half as many steps, and a fifteenth of the difference estimates its error,
    which is of order four. In training the first solve of an epoch and every `CHECK_EVERY`-th one after it are such
    checks. A check looks at one batch, and batches differ, so the solves between checks take the geometric mean of the
    steps that recent checks allowed. But a check that finds an error above the tolerance shortens the steps at once.
    In evaluation every solve is checked and nothing is stored, so that a result does not depend on what was solved
    before. Where `MOST_STEPS` do not suffice, `Dopri5` solves, with a hundredth of the tolerance, because its error
    grows along the path.

    Attributes:
        tolerance: the `path_error` allowed.
        step: the longest of the next solve, in units of the times; 0 before the first check. Saved with the weights.
    """

    def __init__(self, tolerance: float = TOLERANCE):
        super().__init__()
        self.tolerance = tolerance
        self.register_buffer("step", torch.tensor(0.0, dtype=torch.float64))
        self.fallback = Dopri5(rtol=tolerance / 100, atol=tolerance / 100)
        self._steps: list[int] = []
        self._errors: list[float] = []

    def forward(self, field: Field, z0: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """As `Solver.forward`, but the times can also be ``(B, L)``: increasing, a trial's last one may be repeated."""
        span = (times[..., -1] - times[..., 0]).max().item()
        if span == 0:
            return z0[:, None].expand(-1, times.shape[-1], -1)
        n_steps = self.n_steps(span)
        if not self.training:
            return self._checked(field, z0, times, n_steps)[0]
        if len(self._steps) % CHECK_EVERY == 0:
            path, wanted, error = self._checked(field, z0, times, n_steps)
            self._adapt(span / wanted, error)
            self._errors.append(error)
            n_steps = self.n_steps(span)
        elif n_steps < MOST_STEPS:
            path = _finite(dense_rk4(field, z0, times, n_steps))
        else:
            path = self._fall_back(field, z0, times)
        self._steps.append(n_steps)
        return path

    def n_steps(self, span: float) -> int:
        """The number of steps for trials of this length, in units of the times; with `MOST_STEPS`, `Dopri5` solves."""
        step = self.step.item()
        if not step:
            return FIRST_STEPS
        # Less a little, so that a quotient of rounded numbers does not add a step.
        return min(max(math.ceil(span / step - 1e-6), FEWEST_STEPS), MOST_STEPS)

    def end_epoch(self) -> dict[str, float]:
        """The mean number of steps, and the largest error that a check found for steps as long as those before it.

        `MOST_STEPS` and the tolerance stand for solves by `Dopri5`.
        """
        report = {"solver_steps": sum(self._steps) / len(self._steps), "solver_error": max(self._errors)}
        self._steps, self._errors = [], []
        return report

    def _adapt(self, allowed: float, error: float) -> None:
        """Set the step after a check that allows one of this length and found this error."""
        step = self.step.item()
        if step and (error <= self.tolerance or allowed > step):
            allowed = step * (allowed / step) ** WEIGHT
        self.step.fill_(allowed)

    def _checked(
        self, field: Field, z0: torch.Tensor, times: torch.Tensor, n_steps: int
    ) -> tuple[torch.Tensor, float, float]:
        """A path within the tolerance, how many steps the field needs (not rounded), and the error of `n_steps`."""
        error_now = self.tolerance if n_steps >= MOST_STEPS else None
        n_steps += n_steps % 2
        with torch.no_grad():
            coarse = dense_rk4(field, z0, times, n_steps // 2)
        while True:
            fine = dense_rk4(field, z0, times, n_steps)
            error = path_error(coarse, fine.detach()) / (2**ORDER - 1)
            error_now = error if error_now is None else error_now
            wanted = n_steps * (error / (AIM * self.tolerance)) ** (1 / ORDER)
            if wanted <= n_steps:
                return fine, max(wanted, FEWEST_STEPS), error_now
            if n_steps >= MOST_STEPS:
                return self._fall_back(field, z0, times), MOST_STEPS, error_now
            n_steps, coarse = min(2 * n_steps, MOST_STEPS), fine.detach()

    def _fall_back(self, field: Field, z0: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        _finite(z0)
        if times.dim() == 1:
            return self.fallback(field, z0, times)
        # One clock for all trials: the share of a trial's own time that has passed.
        start, span = times[:, :1], times[:, -1:] - times[:, :1]
        shares = (times - start) / span.clamp_min(SMALLEST_STEP)
        common, place = torch.unique(shares, return_inverse=True)
        path = self.fallback(lambda share, z: span * field(start + share * span, z), z0, common)
        return path[torch.arange(len(times), device=times.device)[:, None], place]


def path_error(path: torch.Tensor, finer: torch.Tensor) -> float:
    """How far two paths ``(B, L, D)`` of a batch are apart: the root mean square, over everything, of the difference
    relative to ``1 + |z|`` of the finer one; infinite if one of them is not finite."""
    error = ((path - finer) / (1 + finer.abs())).square().mean().sqrt().item()
    return error if math.isfinite(error) else math.inf


def dense_rk4(field: Field, z0: torch.Tensor, times: torch.Tensor, n_steps: int) -> torch.Tensor:
    """Equal Runge-Kutta steps from each trial's first time to its last, and the cubic Hermite polynomial between them.

    Args:
        field: the vector field; gets ``t`` as ``(1, 1)`` or, if the times differ between trials, ``(B, 1)``.
        z0: ``(B, D)``, the state at the first time.
        times: ``(L,)`` or ``(B, L)``, increasing.
        n_steps: at least 1.

    Returns:
        ``(B, L, D)``, with an error of order four in the step (Hairer, Norsett and Wanner 1993, II.1 and II.6).
    """
    times = times.to(z0.dtype)
    start, end = (times[..., i].reshape(-1, 1) for i in (0, -1))
    step = (end - start) / n_steps
    states, slopes = [z0], []
    for i in range(n_steps):
        t, z = start + i * step, states[-1]
        middle = t + step / 2
        k1 = field(t, z)
        k2 = field(middle, torch.addcmul(z, step, k1, value=0.5))
        k3 = field(middle, torch.addcmul(z, step, k2, value=0.5))
        k4 = field(t + step, torch.addcmul(z, step, k3))
        slopes.append(k1)
        states.append(torch.addcmul(z, step, torch.add(k1 + k4, k2 + k3, alpha=2), value=1 / 6))
    slopes.append(field(end, states[-1]))
    knots = torch.stack([*states, *(step * slope for slope in slopes)])  # (2 n + 2, B, D)
    weights = _hermite_weights((times - start) / step.clamp_min(SMALLEST_STEP), n_steps)  # (1 or B, L, 2 n + 2)
    if len(weights) == 1:
        path = weights[0] @ knots.flatten(1)  # (L, B D): one product for all trials
        return path.unflatten(1, z0.shape).transpose(0, 1)
    return weights @ knots.transpose(0, 1)


def _hermite_weights(places: torch.Tensor, n_steps: int) -> torch.Tensor:
    """What each knot counts at each time.

    Args:
        places: ``(1 or B, L)``, times counted in steps, between 0 and `n_steps`.
        n_steps: the number of knots less one.

    Returns:
        ``(1 or B, L, 2 n_steps + 2)``, first for the states at the knots, then for their slopes times the step.
    """
    left = places.floor().clamp(0, n_steps - 1)
    s = places - left
    back = 1 - s
    # The four polynomials of Hermite: state at the left and the right knot, slope at the left and the right knot.
    basis = torch.stack([(1 + 2 * s) * back**2, s**2 * (3 - 2 * s), s * back**2, -(s**2) * back], dim=-1)
    first = left.long()
    column = torch.stack([first, first + 1, first + n_steps + 1, first + n_steps + 2], dim=-1)
    return torch.zeros(*places.shape, 2 * n_steps + 2, dtype=places.dtype, device=places.device).scatter(
        -1, column, basis
    )


def _odeint(field: Field, z0: torch.Tensor, times: torch.Tensor, **settings) -> torch.Tensor:
    from torchdiffeq import odeint  # imports SciPy, which costs half a second that `DenseRK4` does not need

    try:
        path = odeint(field, z0, times, **settings)
    except AssertionError as error:  # torchdiffeq asserts that its step stays above the time's resolution
        raise SolverError(str(error)) from error
    return _finite(path.transpose(0, 1))


def _finite(path: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(path).all():
        raise SolverError("the latent path is not finite")
    return path


SOLVERS = {"dopri5": Dopri5, "rk4": FixedRK4, "rk4_dense": DenseRK4}
