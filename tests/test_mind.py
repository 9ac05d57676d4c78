from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted
from scipy.stats import multivariate_normal

from odevae.benchmark.models.manifold import mind
from odevae.benchmark.models.manifold.mind import Mind, transition_distances
from odevae.benchmark.models.manifold.ppca_forest import LOCAL_VARIANCE, Moments, Ppca, PpcaForest, Split, grow_tree
from odevae.data.simulate.foraging import foraging
from odevae.data.trials import cut

SMALL = {"n_landmarks": 80, "n_trees": 4}


def ring(n: int = 400, noise: float = 0.02, seed: int = 0):
    """States of a ring in four dimensions, in random order, and their successors one step of 0.3 rad further."""
    generator = np.random.default_rng(seed)
    angles = generator.uniform(0, 2 * np.pi, n)

    def states(angle):
        plane = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(n), np.zeros(n)])
        return plane + noise * generator.standard_normal((n, 4))

    return states(angles), states(angles + 0.3)


def place_cells(n_trials: int = 6):
    recording = foraging(n_neurons=30, n_frames=100 * n_trials, n_trials=n_trials)
    return cut(recording, recording.activity, recording.trial_ids)


def test_moments_of_a_part_are_those_of_the_whole_less_the_rest():
    states = np.random.default_rng(0).standard_normal((50, 3)) + 5
    rest = Moments.of(states) - Moments.of(states[:20])
    assert rest.n == 30
    np.testing.assert_allclose(rest.mean, states[20:].mean(axis=0))
    np.testing.assert_allclose(rest.covariance, np.cov(states[20:].T, bias=True))


def test_a_leaf_is_the_gaussian_of_probabilistic_pca():
    states = np.random.default_rng(0).standard_normal((300, 5)) * [5, 3, 0.4, 0.3, 0.2] + 1
    leaf = Ppca.fit(Moments.of(states))
    values = np.linalg.eigvalsh(np.cov(states.T, bias=True))[::-1]
    assert len(leaf.variances) == 1 + np.flatnonzero(np.cumsum(values) / values.sum() >= LOCAL_VARIANCE)[0]
    assert leaf.noise == pytest.approx(values[len(leaf.variances) :].mean())
    covariance = leaf.axes @ np.diag(leaf.variances - leaf.noise) @ leaf.axes.T + leaf.noise * np.eye(5)
    expected = multivariate_normal(states.mean(axis=0), covariance).logpdf(states[:10])
    np.testing.assert_allclose(leaf.log_density(states[:10]), expected)


def test_states_that_fill_no_volume_keep_a_finite_density():
    line = np.linspace(0, 1, 50)[:, None] * np.ones(4)
    for flat in (line, np.ones((50, 4)), line[:, :1]):
        leaf = Ppca.fit(Moments.of(flat), floor=1e-6)
        assert np.append(leaf.variances, leaf.noise).min() >= 1e-6
        assert np.isfinite(leaf.log_density(flat + 0.1)).all()
    # Of a tree's two leaves, one with silent successors.
    after = np.where(line > 0.5, line, 0.0)
    tree = grow_tree(line, after, 20, 1, np.random.default_rng(0))
    assert all(np.isfinite(leaf.log_density(line)).all() for leaf in tree.leaves)


def test_a_tree_parts_the_states_into_leaves_of_the_smallest_size_or_more():
    before, after = ring()
    tree = grow_tree(before, after, 40, 2, np.random.default_rng(0))
    sizes = np.bincount(tree.leaf_of(before), minlength=len(tree.leaves))
    assert sizes.min() >= 40
    assert sizes.max() < 80
    for number, leaf in enumerate(tree.leaves):
        np.testing.assert_allclose(leaf.mean, after[tree.leaf_of(before) == number].mean(axis=0))


def test_a_split_comes_where_the_successors_part():
    before = np.linspace(-1, 1, 100)[:, None] * [1.0, 0.0]
    after = np.where(before[:, :1] > 0.3, 4.0, -4.0) + 0.1 * np.random.default_rng(0).standard_normal((100, 2))
    root = grow_tree(before, after, 30, 1, np.random.default_rng(0)).root
    assert isinstance(root, Split)
    assert root.threshold / root.normal[0] == pytest.approx(0.3, abs=0.02)


def test_a_forest_knows_where_a_state_goes():
    before, after = ring(800)
    forest = PpcaForest(before, after, n_trees=8, min_leaf=30, seed=0)
    angles = np.arange(0, 2 * np.pi, 0.1)
    landmarks = np.column_stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles])
    log_probability = forest.log_probabilities(landmarks)
    np.testing.assert_allclose(np.exp(log_probability).sum(axis=1), 1)
    step = np.angle(np.exp(1j * (angles[log_probability.argmax(axis=1)] - angles)))
    assert np.median(step) == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("n_trees", [4, 5])
def test_a_forest_takes_the_median_over_its_trees(n_trees):
    before, after = ring()
    forest = PpcaForest(before, after, n_trees=n_trees, min_leaf=40, seed=0)
    states = before[:20]
    by_tree = [[tree.leaves[leaf].log_density(states) for leaf in tree.leaf_of(states)] for tree in forest.trees]
    median = np.median(by_tree, axis=0)
    found = forest.log_probabilities(states)
    np.testing.assert_allclose(found - found[:, :1], median - median[:, :1], atol=1e-9)


def test_distances_are_symmetric_zero_on_the_diagonal_only_and_shortest():
    log_probability = -np.random.default_rng(0).exponential(3, (30, 30))
    log_probability[3, 4] = 0.0
    distances = transition_distances(log_probability)
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(np.diag(distances), 0)
    assert (distances + np.eye(30) > 0).all()
    through = (distances[:, :, None] + distances[None]).min(axis=1)
    assert (distances <= through + 1e-12).all()


def test_paths_lead_along_the_likely_transitions():
    steps = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    distances = transition_distances(np.where(steps <= 1, -4.0, -1e6))
    np.testing.assert_allclose(distances, 2.0 * steps)


def test_the_same_seed_gives_the_same_model_and_held_out_trials_do_not_matter():
    trials = place_cells()
    train, held_out = trials.take(np.arange(4)), trials.take(np.arange(4, 6))
    answers = []
    for seed, validation in ((0, held_out), (0, held_out.take(np.arange(0))), (1, held_out)):
        model = fitted(Mind(latent_dim=2, seed=seed, **SMALL), train, validation)
        answers.append((model.infer(held_out), model.reconstruct(held_out)))
    assert answers[0][0].shape == (2, 100, 2)
    assert answers[0][1].shape == held_out.values.shape
    for answer, same in zip(answers[0], answers[1], strict=True):
        np.testing.assert_array_equal(answer, same)
    assert not np.array_equal(answers[0][0], answers[2][0])


def test_of_many_transitions_the_forest_sees_some(monkeypatch):
    seen = []

    class Forest(PpcaForest):
        def __init__(self, before, after, *settings):
            seen.append((before, after))
            super().__init__(before, after, *settings)

    monkeypatch.setattr(mind, "PpcaForest", Forest)
    monkeypatch.setattr(mind, "MOST_TRANSITIONS", 150)
    before, after = ring(200)
    model = Mind(latent_dim=2, n_trees=2)
    model.geodesics(before[:40], before[:150], after[:150])
    model.geodesics(before[:40], before, after)
    np.testing.assert_array_equal(seen[0][0], before[:150])
    assert len(seen[1][0]) == 150
    rows = [np.flatnonzero((before == state).all(axis=1))[0] for state in seen[1][0]]
    assert len(set(rows)) == 150
    np.testing.assert_array_equal(seen[1][1], after[rows])


def test_padding_and_the_rest_of_a_trial_do_not_matter_to_a_frame():
    trials = place_cells()
    model = fitted(Mind(latent_dim=2, **SMALL), trials.take(np.arange(5)), trials.take(np.arange(0)))
    held_out = trials.take(np.array([5]))
    recorded = np.arange(100)[None] < 60
    shorter = replace(held_out, recorded=recorded, mask=recorded)
    np.testing.assert_allclose(model.infer(shorter)[:, :60], model.infer(held_out)[:, :60])
    assert np.isfinite(model.reconstruct(shorter)).all()
    np.testing.assert_array_equal(model.reconstruct(shorter)[:, 60:], 0)
