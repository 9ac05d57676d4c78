import numpy as np
import pytest
import torch
from scipy.linalg import expm

from odevae.errors import OdevaeError
from odevae.models.solvers import METHODS, SolverError, integrate

A = np.array([[-0.3, 2.0, 0.0], [-2.0, -0.3, 0.5], [0.1, 0.0, -1.0]])
Z0 = np.array([[1.0, 0.0, 0.5], [-0.4, 2.0, 1.0]])


def linear(t, z):
    return z @ torch.tensor(A, dtype=z.dtype).T


def exact(times) -> np.ndarray:
    return np.stack([Z0 @ expm(A * t).T for t in times], axis=1)


@pytest.mark.parametrize(("method", "tolerance"), [("dopri5", 5e-3), ("rk4", 1e-5)])
def test_a_linear_field_against_the_matrix_exponential(method, tolerance):
    times = np.linspace(0, 2, 21)
    path = integrate(linear, torch.tensor(Z0), torch.tensor(times), method)
    assert path.shape == (2, 21, 3)
    np.testing.assert_array_equal(path[:, 0], Z0)
    np.testing.assert_allclose(path, exact(times), atol=tolerance)


def test_rk4_takes_two_steps_for_each_interval():
    times = np.linspace(0, 2, 9)
    step = A * 0.125
    # Four stages of order four: on a linear field any of them is the exponential's series to the fourth power.
    once = sum(np.linalg.matrix_power(step, k) / np.prod(range(1, k + 1), initial=1.0) for k in range(5))
    expected = np.stack([Z0 @ np.linalg.matrix_power(once, 2 * i).T for i in range(9)], axis=1)
    np.testing.assert_allclose(integrate(linear, torch.tensor(Z0), torch.tensor(times), "rk4"), expected, atol=1e-12)


def test_rk4_is_of_fourth_order():
    errors = []
    for intervals in (10, 20):
        times = np.linspace(0, 2, intervals + 1)
        path = integrate(linear, torch.tensor(Z0), torch.tensor(times), "rk4")
        errors.append(np.abs(path.numpy()[:, -1] - exact(times)[:, -1]).max())
    assert 12 < errors[0] / errors[1] < 20


@pytest.mark.parametrize("method", METHODS)
def test_the_field_is_given_the_time(method):
    times = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    path = integrate(lambda t, z: t.expand_as(z), torch.zeros(1, 1, dtype=torch.float64), times, method)
    np.testing.assert_allclose(path[0, :, 0], (times**2 - 0.25) / 2, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_times_need_not_be_even_for_the_adaptive_solver(method):
    times = np.array([0.0, 0.1, 0.2, 0.3]) if method == "rk4" else np.array([0.0, 0.01, 0.7, 2.0])
    np.testing.assert_allclose(
        integrate(linear, torch.tensor(Z0), torch.tensor(times), method), exact(times), atol=5e-3
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_field_that_explodes_is_a_solver_error(dtype):
    # dz/dt = z^2 from 2 has no solution beyond t = 1/2.
    with pytest.raises(SolverError):
        integrate(
            lambda t, z: z**2, torch.full((1, 1), 2.0, dtype=dtype), torch.linspace(0, 1, 5, dtype=dtype), "dopri5"
        )


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_start_or_a_field_that_is_no_number_is_a_solver_error(bad):
    times = torch.linspace(0, 1, 5)
    with pytest.raises(SolverError):
        integrate(lambda t, z: -z, torch.full((1, 2), bad), times, "dopri5")
    with pytest.raises(SolverError):
        integrate(lambda t, z: z * bad, torch.ones(1, 2), times, "dopri5")


def test_fixed_steps_show_an_explosion():
    z0, times = torch.full((1, 1), 1e6), torch.linspace(0, 1, 50)
    try:
        path = integrate(lambda t, z: z**2, z0, times, "rk4")
    except SolverError:
        return
    assert not torch.isfinite(path).all()


def test_an_unknown_method_is_refused():
    with pytest.raises(OdevaeError, match="solver 'euler' is unknown; use one of dopri5, rk4"):
        integrate(linear, torch.tensor(Z0), torch.linspace(0, 1, 3), "euler")


def test_gradients_against_finite_differences():
    times = torch.linspace(0, 1, 4, dtype=torch.float64)
    matrix = torch.tensor(A[:2, :2], requires_grad=True)
    z0 = torch.tensor(Z0[:, :2], requires_grad=True)

    def end(matrix, z0):
        return integrate(lambda t, z: torch.tanh(z @ matrix.T), z0, times, "rk4")

    assert torch.autograd.gradcheck(end, (matrix, z0))
