"""Multidimensional scaling: coordinates whose distances are close to given ones."""

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

# As in the scripts of MIND's authors.
SAMMON_ITERATIONS = 400
# Of L-BFGS: relative, on the stress; absolute, on the entries of its gradient, which shrink as landmarks are added.
SAMMON_TOLERANCES = {"ftol": 1e-7, "gtol": 1e-8}


def classical_scaling(distances: np.ndarray, n_dims: int) -> np.ndarray:
    """Coordinates ``(n, n_dims)`` by classical multidimensional scaling (Torgerson, Psychometrika 17, 1952)."""
    squares = np.square(distances)
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    n = len(distances)
    values, vectors = eigh(-centred / 2, subset_by_index=[max(n - n_dims, 0), n - 1])
    coordinates = np.zeros((n, n_dims))
    coordinates[:, : len(values)] = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    return coordinates


def sammon(distances: np.ndarray, n_dims: int, iterations: int = SAMMON_ITERATIONS) -> np.ndarray:
    """Coordinates ``(n, n_dims)`` that minimise Sammon's stress, from the classical solution.

    The stress is ``sum (d - delta)^2 / delta / sum delta`` over the pairs i < j, with ``delta`` the given distances and
    ``d`` those of the coordinates (Sammon, IEEE Trans. Comput. 18, 1969). Unlike Kruskal's it gives small
    distances a large weight.

    Args:
        distances: ``(n, n)``, symmetric, 0 on the diagonal only.
        iterations: of L-BFGS, at most.
    """
    # The optimiser stops at absolute tolerances, so it must not see distances of a very small or large scale.
    scale = distances.mean()
    delta = distances / scale
    total = delta.sum()
    # On the diagonal both distances are 0; any positive number there cancels out below.
    np.fill_diagonal(delta, 1)
    inverse_delta = 1 / delta
    sum_inverse_delta = inverse_delta.sum(axis=1, keepdims=True)
    start = classical_scaling(distances / scale, n_dims)
    one = np.ones((len(delta), 1))

    def stress(flat: np.ndarray) -> tuple[float, np.ndarray]:
        # Written for few passes over all pairs, each in the memory of the one before.
        points = flat.reshape(start.shape)
        squares = np.square(points).sum(axis=1, keepdims=True)
        d = np.hstack([points, squares, one]) @ np.hstack([-2 * points, one, squares]).T
        np.sqrt(np.maximum(d, 1e-12, out=d), out=d)
        np.fill_diagonal(d, 0)
        sum_d = d.sum()
        np.fill_diagonal(d, 1)
        inverse_d = np.reciprocal(d, out=d)
        pull = sum_inverse_delta * points - inverse_delta @ points
        push = inverse_d.sum(axis=1, keepdims=True) * points - inverse_d @ points
        # The sum of d^2 / delta over all pairs is this product, twice.
        value = 2 * (points * pull).sum() - 2 * sum_d + total
        return float(value) / total, (4 / total * (pull - push)).ravel()

    found = minimize(
        stress, start.ravel(), jac=True, method="L-BFGS-B", options=SAMMON_TOLERANCES | {"maxiter": iterations}
    )
    return found.x.reshape(start.shape) * scale
