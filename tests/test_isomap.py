import numpy as np
import pytest
from conftest import fitted
from sklearn import manifold
from sklearn.linear_model import LinearRegression

from odevae.benchmark.models.manifold.isomap import Isomap
from odevae.benchmark.models.manifold.mind import Mind
from odevae.data.simulate.foraging import foraging
from odevae.data.trials import cut
from odevae.metrics import r2_neuron


@pytest.fixture(scope="module")
def trials():
    recording = foraging(n_neurons=60, n_frames=1600, n_trials=8)
    return cut(recording, recording.activity, recording.trial_ids)


@pytest.fixture(scope="module")
def model(trials):
    return fitted(Isomap(latent_dim=2, n_landmarks=250), trials.take(np.arange(6)), trials.take(np.arange(0)))


def test_distances_are_symmetric_and_zero_on_the_diagonal(model):
    np.testing.assert_allclose(model.geometry.distances, model.geometry.distances.T)
    np.testing.assert_array_equal(np.diag(model.geometry.distances), 0)
    assert model.coordinates.shape == (250, 2)


def test_a_disc_has_two_dimensions_whatever_the_dimension_of_the_latents(trials, model):
    assert model.intrinsic_dimension() == pytest.approx(2, abs=0.4)
    other = fitted(Isomap(latent_dim=1, n_landmarks=250), trials.take(np.arange(6)), trials.take(np.arange(0)))
    assert other.intrinsic_dimension() == model.intrinsic_dimension()


def r2_of_position(model, train, held_out) -> float:
    """Of held-out trials, by linear regression from the latents that is fitted on training trials."""
    regression = LinearRegression().fit(model.infer(train)[train.recorded], train.latents[train.recorded])
    return r2_neuron(held_out.latents[held_out.recorded], regression.predict(model.infer(held_out)[held_out.recorded]))


def test_position_and_activity_of_held_out_trials_are_found(trials, model):
    train, held_out = trials.take(np.arange(6)), trials.take(np.arange(6, 8))
    # Six short trials do not visit all of the disc.
    assert r2_of_position(model, train, held_out) > 0.8
    reconstructed = model.reconstruct(held_out)[held_out.recorded]
    assert r2_neuron(held_out.values[held_out.recorded], reconstructed) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Isomap, Mind])
def test_the_position_of_a_foraging_animal_is_found(kind):
    recording = foraging()
    trials = cut(recording, recording.activity, recording.trial_ids)
    order = np.random.default_rng(0).permutation(len(trials))
    train, held_out = trials.take(order[4:]), trials.take(order[:4])
    model = fitted(kind(latent_dim=2), train, held_out.take(np.arange(0)))
    assert r2_of_position(model, train, held_out) >= 0.95
    if kind is Mind:
        assert model.intrinsic_dimension() == pytest.approx(2, abs=0.5)


def test_the_same_seed_gives_the_same_model_and_held_out_trials_do_not_matter(trials, model):
    again = fitted(Isomap(latent_dim=2, n_landmarks=250), trials.take(np.arange(6)), trials.take(np.arange(6, 8)))
    np.testing.assert_array_equal(again.infer(trials), model.infer(trials))
    np.testing.assert_array_equal(again.reconstruct(trials), model.reconstruct(trials))


def test_parts_without_an_edge_between_them_are_joined(recwarn):
    islands = np.random.default_rng(0).standard_normal((40, 3)) + 50 * np.repeat([[0], [1]], 20, axis=0)
    model = Isomap(latent_dim=2, n_landmarks=40, n_neighbors=4)
    distances = model.geodesics(islands, islands[:0], islands[:0])
    assert np.isfinite(distances).all() and np.isfinite(model.embed(distances)).all()
    assert not recwarn.list


def test_the_embedding_is_that_of_scikit_learn():
    states = np.random.default_rng(0).standard_normal((60, 4))
    model = Isomap(latent_dim=3, n_neighbors=8)
    found = model.embed(model.geodesics(states, states[:0], states[:0]))
    expected = manifold.Isomap(n_neighbors=8, n_components=3).fit_transform(states)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [Isomap, Mind])
def test_they_reconstruct_and_infer_only(kind):
    assert [task for task in ("reconstruct", "onset", "forecast", "infer") if kind.answers(task)] == [
        "reconstruct",
        "infer",
    ]
