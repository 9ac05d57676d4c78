import numpy as np
import pytest
from conftest import fitted
from scipy.spatial.distance import cdist

from odevae.benchmark.models.manifold import landmark_manifold
from odevae.benchmark.models.manifold.landmark_manifold import (
    LandmarkManifold,
    LLEMap,
    barycentric_weights,
    spread_landmarks,
)
from odevae.errors import OdevaeError


def linear_map(n: int = 200, seed: int = 0):
    """Points of a square and their images under an affine map to six dimensions."""
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(-1, 1, (n, 2))
    matrix, offset = generator.standard_normal((2, 6)), generator.standard_normal(6)
    return inputs, lambda points: points @ matrix + offset


@pytest.mark.parametrize(("n_neighbors", "n_dims"), [(4, 7), (5, 5), (9, 3)])
def test_weights_solve_the_ridge_problem_that_they_are_said_to_solve(n_neighbors, n_dims):
    # With fewer and with more neighbours than dimensions the weights come from different systems of equations.
    offsets, ridge = np.random.default_rng(0).standard_normal((6, n_neighbors, n_dims)) + 0.5, 0.03
    weights = barycentric_weights(offsets, (1.0, ridge))[:, 1]
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for w, o in zip(weights, offsets, strict=True):
        gram = o @ o.T
        gradient = gram @ w + ridge * np.trace(gram) / n_neighbors * w
        # At the minimum under sum w = 1 all components of the gradient are the same.
        np.testing.assert_allclose(gradient, gradient.mean(), rtol=1e-9)


def test_a_large_ridge_gives_the_mean_of_the_neighbours():
    offsets = np.random.default_rng(0).standard_normal((3, 5, 2))
    np.testing.assert_allclose(barycentric_weights(offsets, (1e9,)), 0.2, atol=1e-6)


def test_a_point_on_top_of_all_its_neighbours_gets_equal_weights():
    np.testing.assert_allclose(barycentric_weights(np.zeros((1, 4, 2)), (1e-8,)), 0.25)
    np.testing.assert_allclose(barycentric_weights(np.zeros((1, 2, 4)), (1e-8,)), 0.5)


@pytest.mark.parametrize("ridge", [1e-8, 1e-3])
def test_a_linear_map_is_reproduced_up_to_the_ridge(ridge):
    inputs, image = linear_map()
    points = np.random.default_rng(1).uniform(-0.7, 0.7, (50, 2))
    forward = LLEMap(inputs, image(inputs), n_neighbors=8, ridge=ridge)
    np.testing.assert_allclose(forward(points), image(points), atol=50 * ridge)
    back = LLEMap(image(inputs), inputs, n_neighbors=4, ridge=ridge)
    np.testing.assert_allclose(back(image(points)), points, atol=50 * ridge)


def test_cross_validation_asks_for_little_ridge_without_noise_and_for_many_neighbours_with_it():
    inputs, image = linear_map()
    clean = LLEMap.fit(inputs, image(inputs), np.arange(200) % 5, (2, 8, 32), seed=0)
    assert clean.ridge == min(landmark_manifold.RIDGES)
    assert clean.n_neighbors >= 8
    noisy = image(inputs) + 10 * np.random.default_rng(2).standard_normal((200, 6))
    assert LLEMap.fit(inputs, noisy, np.arange(200) % 5, (2, 8, 32), seed=0).n_neighbors == 32


def test_no_more_neighbours_than_the_other_folds_have():
    inputs, image = linear_map(12)
    assert LLEMap.fit(inputs, image(inputs), np.arange(12) % 2, (4, 8), seed=0).n_neighbors == 4
    assert LLEMap.fit(inputs, image(inputs), np.arange(12) % 2, (8,), seed=0).n_neighbors == 1


def test_images_from_other_folds_do_not_know_their_own():
    inputs, image = linear_map(60)
    folds, outputs = np.arange(60) % 3, image(inputs)
    known = LLEMap(inputs, outputs, n_neighbors=6, ridge=1e-6).from_other_folds(folds, inputs, folds)
    changed = np.where(folds[:, None] == 1, 99.0, outputs)
    after = LLEMap(inputs, changed, n_neighbors=6, ridge=1e-6).from_other_folds(folds, inputs, folds)
    np.testing.assert_array_equal(known[folds == 1], after[folds == 1])
    assert not np.allclose(known[folds == 0], after[folds == 0])


def test_in_parts_or_at_once_the_images_are_the_same(monkeypatch):
    inputs, image = linear_map()
    at_once = LLEMap(inputs, image(inputs), 8, 1e-4)
    whole = at_once(inputs + 0.01)
    monkeypatch.setattr(landmark_manifold, "NUMBERS_AT_ONCE", 500)
    np.testing.assert_allclose(at_once(inputs + 0.01), whole, atol=1e-12)


def test_landmarks_are_spread():
    states = np.concatenate([np.random.default_rng(0).standard_normal((500, 2)) * 0.01, [[9.0, 0.0], [0.0, 9.0]]])
    rows = spread_landmarks(states, 3, seed=0)
    assert {500, 501} <= set(rows)
    assert len(spread_landmarks(states, 9999, seed=0)) == len(states)
    assert len(spread_landmarks(np.ones((5, 2)), 3, seed=0)) == 1
    np.testing.assert_array_equal(spread_landmarks(states, 40, seed=3), spread_landmarks(states, 40, seed=3))


class Components(LandmarkManifold):
    """An embedding that is known: the first principal components of the landmarks."""

    def geodesics(self, landmarks, before, after):
        self.before, self.after = before, after
        return cdist(landmarks, landmarks)

    def embed(self, distances):
        return self.geometry.states[self.geometry.landmarks, : self.latent_dim]


def test_transitions_stay_inside_their_trials(make_trials):
    trials = make_trials([7, 4, 6])
    model = fitted(Components(latent_dim=2, n_landmarks=10), trials, trials.take(np.arange(0)))
    states = model.geometry.pca.transform(trials.values[trials.recorded].astype(float))
    np.testing.assert_allclose(model.before, np.delete(states, [6, 10, 16], axis=0))
    np.testing.assert_allclose(model.after, np.delete(states, [0, 7, 11], axis=0))


def test_a_known_embedding_is_inferred_and_gives_the_activity_back(make_trials):
    trials = make_trials([40] * 12, n_neurons=6)
    train, held_out = trials.take(np.arange(10)), trials.take(np.arange(10, 12))
    model = fitted(Components(latent_dim=3, n_landmarks=200), train, held_out)
    expected = model.geometry.pca.transform(held_out.values[held_out.recorded].astype(float))[:, :3]
    assert np.corrcoef(model.infer(held_out)[held_out.recorded].ravel(), expected.ravel())[0, 1] > 0.95
    error = np.square(model.reconstruct(held_out) - held_out.values)[held_out.recorded]
    assert error.mean() < 0.2 * held_out.values[held_out.recorded].var()


def test_what_cannot_be_fitted_is_refused(make_trials):
    trials = make_trials([5, 4])
    nothing = trials.take(np.arange(0))
    with pytest.raises(OdevaeError, match="two or more"):
        Components(latent_dim=2).fit(trials.take(np.arange(1)), nothing)
    with pytest.raises(OdevaeError, match="lower latent_dim"):
        Components(latent_dim=9).fit(trials, nothing)
    with pytest.raises(OdevaeError, match="several trials"):
        Components(latent_dim=2, n_landmarks=1).fit(trials, nothing)


def test_other_dimensions_share_the_distances_and_nothing_else(make_trials):
    trials = make_trials([40] * 6, n_neurons=6)
    train, others, nothing = trials.take(np.arange(4)), trials.take(np.arange(4, 6)), trials.take(np.arange(0))
    measured = []

    class Counted(Components):
        def geodesics(self, *parts):
            measured.append(self.latent_dim)
            return super().geodesics(*parts)

    first, second, alone = (Counted(latent_dim=dim, n_landmarks=50) for dim in (1, 2, 2))
    first.fit(train, nothing)
    second.take_over(first)
    second.fit(train, nothing)
    assert measured == [1]
    alone.fit(train, nothing)
    np.testing.assert_array_equal(second.infer(others), alone.infer(others))
    np.testing.assert_array_equal(second.reconstruct(others), alone.reconstruct(others))
    second.fit(others, nothing)
    assert measured == [1, 2, 2], "what was taken over serves one fit"


def test_only_what_is_asked_for_is_computed(make_trials):
    trials = make_trials([40] * 6, n_neurons=6)
    train, others, nothing = trials.take(np.arange(4)), trials.take(np.arange(4, 6)), trials.take(np.arange(0))
    model = Components(latent_dim=2, n_landmarks=100)
    maps = {"coordinates", "to_latent", "to_activity"}
    model.fit(train, nothing)
    model.intrinsic_dimension()
    assert not maps & set(vars(model))
    model.infer(others)
    assert maps & set(vars(model)) == {"coordinates", "to_latent"}
    model.reconstruct(others)
    assert maps <= set(vars(model))
    model.fit(others, nothing)
    assert not maps & set(vars(model)), "those of the last fit"
