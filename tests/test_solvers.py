"""Solvers against closed forms, against SciPy, and against dopri5 at a tolerance of 1e-9."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline
from scipy.linalg import expm
from torch import nn

from odevae.models.dynamics import build_field
from odevae.models.solvers import (
    CHECK_EVERY,
    FEWEST_STEPS,
    MOST_STEPS,
    SOLVERS,
    TOLERANCE,
    WEIGHT,
    DenseRK4,
    Dopri5,
    FixedRK4,
    SolverError,
    dense_rk4,
    path_error,
)

A = np.array([[-0.3, 2.0, 0.0], [-2.0, -0.3, 0.5], [0.1, 0.0, -1.0]])
Z0 = np.array([[1.0, 0.0, 0.5], [-0.4, 2.0, 1.0]])

precise = Dopri5(rtol=1e-9, atol=1e-9)


def linear(t, z):
    return z @ torch.tensor(A, dtype=z.dtype).T


def lorenz(t, z):
    x, y, w = z.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w], dim=-1)


def swing(t, state):
    place, velocity = state.chunk(2, dim=-1)
    return torch.cat([velocity, -4 * torch.sin(place) - 0.1 * velocity], dim=-1)


def driven(t, z):
    return torch.cos(3 * t) - z


def exact(times) -> np.ndarray:
    return np.stack([Z0 @ expm(A * t).T for t in times], axis=1)


class Scaled(nn.Module):
    """A field that is sped up."""

    def __init__(self, field, speed):
        super().__init__()
        self.field, self.speed = field, speed

    def forward(self, t, z):
        return self.speed * self.field(t, z)


def mixture(sharpness: float) -> nn.Module:
    """A field of v5 whose weights are `sharpness` times the initial ones, as training makes them larger."""
    torch.manual_seed(0)
    field = build_field("moe", 5, time_dependent=False, second_order=False).double()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(sharpness)
    return field


@pytest.mark.parametrize(("solver", "tolerance"), [("dopri5", 5e-3), ("rk4", 1e-5), ("rk4_dense", 1e-3)])
def test_a_linear_field_against_the_matrix_exponential(solver, tolerance):
    times = np.linspace(0, 2, 21)
    path = SOLVERS[solver]()(linear, torch.tensor(Z0), torch.tensor(times))
    assert path.shape == (2, 21, 3)
    np.testing.assert_array_equal(path[:, 0], Z0)
    np.testing.assert_allclose(path, exact(times), atol=tolerance)


def test_rk4_takes_two_steps_for_each_interval():
    times = np.linspace(0, 2, 9)
    step = A * 0.125
    # Four stages of order four: on a linear field any of them is the exponential's series to the fourth power.
    once = sum(np.linalg.matrix_power(step, k) / np.prod(range(1, k + 1), initial=1.0) for k in range(5))
    expected = np.stack([Z0 @ np.linalg.matrix_power(once, 2 * i).T for i in range(9)], axis=1)
    np.testing.assert_allclose(FixedRK4()(linear, torch.tensor(Z0), torch.tensor(times)), expected, atol=1e-12)
    np.testing.assert_allclose(dense_rk4(linear, torch.tensor(Z0), torch.tensor(times), 16), expected, atol=1e-12)


@pytest.mark.parametrize("solve", [FixedRK4(), lambda f, z0, times: dense_rk4(f, z0, times, 2 * (len(times) - 1))])
def test_runge_kutta_is_of_fourth_order(solve):
    errors = []
    for intervals in (10, 20):
        times = np.linspace(0, 2, intervals + 1)
        path = solve(linear, torch.tensor(Z0), torch.tensor(times))
        errors.append(np.abs(path.numpy()[:, -1] - exact(times)[:, -1]).max())
    assert 12 < errors[0] / errors[1] < 20


def test_times_between_the_steps_are_of_fourth_order_too():
    times = np.linspace(0, 2, 101)
    errors = [
        np.abs(dense_rk4(linear, torch.tensor(Z0), torch.tensor(times), n).numpy() - exact(times)).max()
        for n in (8, 16)
    ]
    assert 11 < errors[0] / errors[1] < 20


@given(st.integers(1, 6), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=9, unique=True))
def test_the_path_between_steps_is_scipys_hermite_polynomial(n_steps, inner):
    times = np.array([0.0, *sorted(inner), 1.0]) * 1.3
    knots = torch.linspace(0, 1.3, n_steps + 1, dtype=torch.float64)
    states = dense_rk4(linear, torch.tensor(Z0), knots, n_steps)
    spline = CubicHermiteSpline(knots.numpy(), states.numpy(), linear(None, states).numpy(), axis=1)
    path = dense_rk4(linear, torch.tensor(Z0), torch.tensor(times), n_steps)
    np.testing.assert_allclose(path, spline(times), atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_field_is_given_the_time(solver):
    times = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    path = SOLVERS[solver]()(lambda t, z: t.expand_as(z), torch.zeros(1, 1, dtype=torch.float64), times)
    np.testing.assert_allclose(path[0, :, 0], (times**2 - 0.25) / 2, atol=1e-6)


@pytest.mark.parametrize("solver", ["dopri5", "rk4_dense"])
def test_times_need_not_be_even(solver):
    times = np.array([0.0, 0.01, 0.7, 2.0])
    path = SOLVERS[solver]()(linear, torch.tensor(Z0), torch.tensor(times))
    np.testing.assert_allclose(path, exact(times), atol=5e-3)


@pytest.mark.parametrize("field", [driven, linear])
@pytest.mark.parametrize("solve", [lambda *a: dense_rk4(*a, 40), DenseRK4().eval(), DenseRK4()._fall_back])
def test_every_trial_may_have_its_own_times(field, solve):
    z0 = torch.tensor([[1.0, 2.0, 0.0], [0.3, -1.0, 1.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    # The second trial ends early, and its last time is repeated; the third starts late.
    times = torch.tensor([[0.0, 0.5, 1.1, 2.0], [0.0, 0.2, 0.6, 0.6], [0.7, 0.9, 1.0, 1.4]], dtype=torch.float64)
    together = solve(field, z0, times)
    for trial, own in enumerate(times):
        alone = precise(field, z0[trial : trial + 1], own.unique())[0]
        alone = torch.cat([alone, alone[-1:].expand(4 - len(alone), -1)])
        torch.testing.assert_close(together[trial], alone, atol=5e-3, rtol=0)


def test_a_trial_of_one_frame_stays_where_it_starts():
    z0 = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    one = DenseRK4()(lambda t, z: z, z0, torch.zeros(1))
    assert torch.equal(one, z0[:, None])
    times = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.2, 0.2]])
    for solve in (DenseRK4(), DenseRK4()._fall_back):
        torch.testing.assert_close(solve(lambda t, z: z, z0, times)[1], z0[1].expand(3, -1))


FIELDS = {
    "linear": (linear, 3),
    "lorenz": (Scaled(lorenz, 0.4), 3),
    "second order": (Scaled(swing, 3), 6),
    "driven": (Scaled(driven, 2), 3),
    "mixture": (mixture(1), 5),
    "mixture, sharper": (mixture(2), 5),
    "mixture, sharp": (mixture(3), 5),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
@pytest.mark.parametrize("field", FIELDS)
def test_the_error_of_a_checked_path_is_below_the_tolerance(field, tolerance, training):
    field, size = FIELDS[field]
    z0 = torch.randn(8, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    times = torch.linspace(0, 1, 60, dtype=torch.float64)
    path = DenseRK4(tolerance).train(training)(field, z0, times)
    assert path_error(path, precise(field, z0, times)) < tolerance


@pytest.mark.parametrize("field", FIELDS)
def test_the_error_between_checks_where_the_field_stays(field):
    # One batch may start where the field is sharper than in the batch that was checked, so not every path is within the
    # tolerance. The median is.
    field, size = FIELDS[field]
    generator = torch.Generator().manual_seed(2)
    solver, times = DenseRK4(), torch.linspace(0, 1, 60, dtype=torch.float64)
    errors = []
    for _ in range(CHECK_EVERY):
        z0 = torch.randn(8, size, dtype=torch.float64, generator=generator)
        errors.append(path_error(solver(field, z0, times), precise(field, z0, times)))
    assert np.median(errors) < TOLERANCE


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
@pytest.mark.parametrize("field", ["second order", "mixture", "mixture, sharp"])
def test_gradients_are_those_of_a_precise_solution(field, tolerance):
    field, size = FIELDS[field]
    z0 = torch.randn(8, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    times = torch.linspace(0, 1, 60, dtype=torch.float64)
    gradients = []
    for solve in (precise, DenseRK4(tolerance)):
        start = z0.clone().requires_grad_()
        solve(field, start, times).square().mean().backward()
        weights = [p.grad.flatten() for p in field.parameters()] if isinstance(field, nn.Module) else []
        gradients.append(torch.cat([start.grad.flatten(), *weights]))
        if isinstance(field, nn.Module):
            field.zero_grad()
    difference = torch.linalg.vector_norm(gradients[1] - gradients[0]) / torch.linalg.vector_norm(gradients[0])
    assert difference < 10 * tolerance


def test_the_steps_follow_the_field():
    solver, times = DenseRK4(), torch.linspace(0, 1, 60, dtype=torch.float64)
    z0 = torch.tensor(Z0)
    steps = []
    # To longer steps the average takes many checks, to shorter ones it does not.
    for speed, checks in ((1, 2), (4, 2), (10, 2), (200, 2), (1, 30)):
        for _ in range(checks * CHECK_EVERY):
            path = solver(Scaled(linear, speed), z0, times)
        steps.append(solver.n_steps(1.0))
        assert path_error(path, torch.tensor(exact(speed * times.numpy()))) < TOLERANCE
    assert FEWEST_STEPS <= steps[0] < steps[1] < steps[2] < steps[3] == MOST_STEPS
    assert steps[4] == steps[0]


def test_a_check_that_finds_too_large_an_error_shortens_the_steps_at_once():
    times, z0 = torch.linspace(0, 1, 60, dtype=torch.float64), torch.tensor(Z0)
    fresh, adapted = DenseRK4(), DenseRK4()
    fresh(Scaled(linear, 10), z0, times)
    for _ in range(CHECK_EVERY):
        adapted(linear, z0, times)
    adapted(Scaled(linear, 10), z0, times)
    assert adapted.end_epoch()["solver_error"] > TOLERANCE
    # Where the doubling started differs, so the estimates do a little.
    assert adapted.step.item() == pytest.approx(fresh.step.item(), rel=0.1)
    path = adapted(Scaled(linear, 10), z0, times)
    assert path_error(path, torch.tensor(exact(10 * times.numpy()))) < TOLERANCE


@pytest.mark.parametrize("allowed", [0.3, 0.1])
def test_other_checks_count_in_the_average(allowed):
    solver = DenseRK4()
    solver.step.fill_(0.2)
    for check in (1, 2, 3):
        solver._adapt(allowed, TOLERANCE)
        expected = 0.2 ** ((1 - WEIGHT) ** check) * allowed ** (1 - (1 - WEIGHT) ** check)
        assert solver.step.item() == pytest.approx(expected)


def test_one_batch_where_the_field_is_smooth_does_not_decide():
    solver, times = DenseRK4(), torch.linspace(0, 1, 60, dtype=torch.float64)
    for _ in range(CHECK_EVERY):
        solver(Scaled(linear, 10), torch.tensor(Z0), times)
    steps = solver.n_steps(1.0)
    for _ in range(CHECK_EVERY):
        path = solver(linear, torch.tensor(Z0), times)
    assert solver.n_steps(1.0) > steps / 2
    path = solver(Scaled(linear, 10), torch.tensor(Z0), times)
    assert path_error(path, torch.tensor(exact(10 * times.numpy()))) < TOLERANCE


@pytest.mark.parametrize("stored_after", [1, 2, 3])
def test_a_solver_that_is_stored_and_read_goes_on_with_the_same_bits(stored_after):
    times, speeds = torch.linspace(0, 1, 20, dtype=torch.float64), [1, 10, 3, 1]

    def train(solver, speeds):
        for speed in speeds:
            path = solver(Scaled(linear, speed), torch.tensor(Z0), times)
            solver.end_epoch()
        return path

    straight, stored, resumed = DenseRK4(), DenseRK4(), DenseRK4()
    path = train(straight, speeds)
    train(stored, speeds[:stored_after])
    resumed.load_state_dict(stored.state_dict())
    assert torch.equal(train(resumed, speeds[stored_after:]), path)
    assert torch.equal(resumed.step, straight.step)


def test_a_field_beyond_the_most_steps_is_left_to_dopri5(monkeypatch):
    calls = []
    monkeypatch.setattr(Dopri5, "forward", lambda self, f, z0, times: calls.append(self.rtol) or z0[:, None])
    solver, times = DenseRK4(), torch.linspace(0, 1, 60, dtype=torch.float64)
    paths = [dense_rk4(Scaled(linear, 200), torch.tensor(Z0), times, n) for n in (4, 8)]
    first = path_error(*paths) / 15
    for _ in range(3):
        solver(Scaled(linear, 200), torch.tensor(Z0), times)
    assert calls == [TOLERANCE / 100] * 3
    assert solver.end_epoch() == {"solver_steps": MOST_STEPS, "solver_error": first}
    solver(Scaled(linear, 200), torch.tensor(Z0), times)
    assert solver.end_epoch() == {"solver_steps": MOST_STEPS, "solver_error": TOLERANCE}


def test_an_epoch_reports_its_steps_and_its_error():
    solver, times = DenseRK4(), torch.linspace(0, 1, 60, dtype=torch.float64)
    for _ in range(2):
        steps = solver.n_steps(1.0)
        for _ in range(CHECK_EVERY):
            solver(linear, torch.tensor(Z0), times)
        report = solver.end_epoch()
        assert report["solver_steps"] == solver.n_steps(1.0)
        coarse, fine = (dense_rk4(linear, torch.tensor(Z0), times, n) for n in (steps // 2, steps))
        assert report["solver_error"] == path_error(coarse, fine) / 15
    true = torch.tensor(exact(times.numpy()))
    assert path_error(fine, true) == pytest.approx(report["solver_error"], rel=0.2)
    assert all(Solver().end_epoch() == {} for Solver in (Dopri5, FixedRK4))


def test_longer_trials_take_more_steps_of_the_same_length():
    solver = DenseRK4()
    solver(linear, torch.tensor(Z0), torch.linspace(0, 1, 60, dtype=torch.float64))
    two, five = (int(np.ceil(span / solver.step.item())) for span in (2.0, 5.0))
    assert FEWEST_STEPS < two < five < MOST_STEPS
    assert [solver.n_steps(span) for span in (2.0, 5.0, 0.01, 1e6)] == [two, five, FEWEST_STEPS, MOST_STEPS]
    before = solver.step.clone()
    solver(linear, torch.tensor(Z0), torch.zeros(1, dtype=torch.float64))
    assert solver.step == before


def test_evaluation_leaves_the_steps_as_they_are():
    solver, times = DenseRK4().eval(), torch.linspace(0, 1, 60, dtype=torch.float64)
    before = {name: value.clone() for name, value in solver.state_dict().items()}
    first = solver(linear, torch.tensor(Z0), times)
    solver(Scaled(linear, 30), torch.tensor(Z0), times)
    assert solver.state_dict() == before
    assert torch.equal(solver(linear, torch.tensor(Z0), times), first)


@pytest.mark.parametrize("solver", ["dopri5", "rk4_dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_field_that_explodes_is_a_solver_error(solver, dtype):
    # dz/dt = z^2 from 2 has no solution beyond t = 1/2.
    with pytest.raises(SolverError):
        SOLVERS[solver]()(lambda t, z: z**2, torch.full((1, 1), 2.0, dtype=dtype), torch.linspace(0, 1, 5, dtype=dtype))


@pytest.mark.parametrize("solver", ["dopri5", "rk4_dense"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_start_or_a_field_that_is_no_number_is_a_solver_error(solver, bad):
    times = torch.linspace(0, 1, 5)
    with pytest.raises(SolverError):
        SOLVERS[solver]()(lambda t, z: -z, torch.full((1, 2), bad), times)
    with pytest.raises(SolverError):
        SOLVERS[solver]()(lambda t, z: z * bad, torch.ones(1, 2), times)


@pytest.mark.parametrize("solver", ["rk4", "rk4_dense"])
def test_fixed_steps_show_an_explosion(solver):
    solver = SOLVERS[solver]()
    z0, times = torch.full((1, 1), 1e6), torch.linspace(0, 1, 50)
    with pytest.raises(SolverError):
        solver(lambda t, z: z**3, z0, times)


@pytest.mark.parametrize("solver", ["rk4", "rk4_dense"])
def test_gradients_against_finite_differences(solver):
    times = torch.linspace(0, 1, 4, dtype=torch.float64)
    matrix = torch.tensor(A[:2, :2], requires_grad=True)
    z0 = torch.tensor(Z0[:, :2], requires_grad=True)

    def end(matrix, z0):
        return SOLVERS[solver]()(lambda t, z: torch.tanh(z @ matrix.T), z0, times)

    assert torch.autograd.gradcheck(end, (matrix, z0))
