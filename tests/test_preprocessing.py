import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from odevae import pieces
from odevae.errors import OdevaeError
from odevae.protocols import principal_axes
from odevae.protocols.observations import Observations
from odevae.protocols.preprocessing import (
    SCALE_FLOOR,
    Preprocessor,
    first_bins_mean,
    fit_preprocessor,
    fit_scaled_pca,
)
from odevae.protocols.principal_axes import ChosenFrames


@pytest.fixture
def frames(make_recording):
    return make_recording([80], n_neurons=9).activity


# What a model sees


@pytest.mark.parametrize(
    ("name", "space", "baseline"),
    [
        ("pca", "pca", False),
        ("neurons", "neurons", False),
        ("pca-baseline", "pca", True),
        ("neurons-baseline", "neurons", True),
    ],
)
def test_observations(name, space, baseline):
    assert Observations.parse(name) == Observations(space=space, baseline=baseline)


@pytest.mark.parametrize("name", ["", "PCA", "pca-base", "neurons-baseline-baseline", "umap"])
def test_unknown_observations(name):
    with pytest.raises(OdevaeError, match="use pca, neurons, pca-baseline or neurons-baseline"):
        Observations.parse(name)


# PCA


def test_pca_against_scikit_learn(frames):
    preprocessor = fit_preprocessor(frames, "pca", floored=False)
    pca = PCA(n_components=0.95, svd_solver="full").fit(frames)
    expected = StandardScaler().fit_transform(pca.transform(frames))
    assert preprocessor.n_channels == pca.n_components_
    np.testing.assert_allclose(preprocessor.transform(frames), expected, atol=1e-6)
    np.testing.assert_allclose(
        preprocessor.inverse(preprocessor.transform(frames)), pca.inverse_transform(pca.transform(frames)), atol=1e-9
    )


def test_as_few_components_as_hold_95_percent_of_the_variance(frames):
    variances = np.linalg.svd(frames - frames.mean(axis=0), compute_uv=False) ** 2
    expected = int(np.flatnonzero(np.cumsum(variances) / variances.sum() >= 0.95)[0]) + 1
    preprocessor = fit_preprocessor(frames, "pca", floored=True)
    assert 1 < expected < 9
    assert preprocessor.n_channels == expected
    gram = preprocessor.components @ preprocessor.components.T
    np.testing.assert_allclose(gram, np.eye(expected), atol=1e-12)


def test_what_lies_in_the_span_comes_back_and_the_rest_stays_at_the_mean(frames):
    preprocessor = fit_preprocessor(frames, "pca", floored=True)
    generator = np.random.default_rng(1)
    inside = frames.mean(axis=0) + generator.standard_normal((5, preprocessor.n_channels)) @ preprocessor.components
    np.testing.assert_allclose(preprocessor.inverse(preprocessor.transform(inside)), inside, atol=1e-9)
    outside = generator.standard_normal(9)
    outside -= outside @ preprocessor.components.T @ preprocessor.components
    np.testing.assert_allclose(preprocessor.inverse(preprocessor.transform(inside + outside)), inside, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), space=st.sampled_from(["pca", "neurons"]), floored=st.booleans())
def test_observations_survive_the_way_there_and_back(make_recording, seed, space, floored):
    frames = make_recording([40], n_neurons=6, seed=seed).activity
    preprocessor = fit_preprocessor(frames, space, floored)
    observed = np.random.default_rng(seed).standard_normal((2, 3, preprocessor.n_channels))
    np.testing.assert_allclose(preprocessor.transform(preprocessor.inverse(observed)), observed, atol=1e-9)


def test_pca_of_silence_is_refused():
    with pytest.raises(OdevaeError, match="every neuron is silent"):
        fit_preprocessor(np.ones((10, 3)), "pca", floored=True)


@pytest.fixture
def many_frames():
    """Some thousand frames of 1500 neurons: nine signals of falling variance and a little noise."""
    generator = np.random.default_rng(0)
    signals = generator.standard_normal((2000, 9)) * 0.8 ** np.arange(9)
    mixing = np.linalg.qr(generator.standard_normal((1500, 9)))[0].T * 20
    return (signals @ mixing + 0.05 * generator.standard_normal((2000, 1500)) + 3).astype(np.float32)


def compare_with_scikit_learn(frames, n_components: int | None = None) -> None:
    """Channels as many as those of the full decomposition, components equal with their signs, variances too."""
    pca = PCA(n_components=0.95, svd_solver="full").fit(frames.astype(np.float64))
    found = fit_preprocessor(frames, "pca", floored=True)
    assert found.n_channels == pca.n_components_ == (n_components or pca.n_components_)
    np.testing.assert_allclose(found.components, pca.components_, atol=1e-6)
    scores = pca.transform(frames.astype(np.float64))
    np.testing.assert_allclose(found.channel_scale, scores.std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.transform(frames), StandardScaler().fit_transform(scores), atol=1e-6)


@pytest.mark.parametrize("shape", [(80, 9), (400, 60), (40, 60), (9, 9), (3, 20)])
def test_components_are_those_of_the_full_decomposition(shape):
    generator = np.random.default_rng(sum(shape))
    compare_with_scikit_learn(generator.standard_normal(shape) @ generator.standard_normal((shape[1], shape[1])) + 1)


def test_a_few_components_of_many_neurons_come_from_a_krylov_space(many_frames, monkeypatch):
    monkeypatch.setattr(principal_axes, "_all_at_once", None)
    compare_with_scikit_learn(many_frames, 7)
    # More neurons than frames.
    compare_with_scikit_learn(many_frames[:1200])


def test_many_components_of_many_neurons_come_from_the_whole_matrix():
    # Nearly white noise: hundreds of components hold the variance, which no small space does.
    frames = np.random.default_rng(0).standard_normal((1300, 1100)) * np.linspace(1, 2, 1100)
    assert principal_axes._leading(ChosenFrames(frames - frames.mean(axis=0)), 0.95) is None
    compare_with_scikit_learn(frames)


def test_pieces_give_what_the_whole_gives(frames, many_frames, monkeypatch):
    rows = np.random.default_rng(0).permutation(len(many_frames))[:1700]
    whole = [
        fit_preprocessor(frames, "pca", floored=True),
        fit_preprocessor(many_frames, "pca", floored=True, rows=rows),
        fit_preprocessor(many_frames[rows], "neurons", floored=True),
        fit_scaled_pca(many_frames[:, :50], rows),
    ]
    monkeypatch.setattr(pieces, "PIECE_VALUES", 2**10)
    assert len([*pieces.pieces(len(frames), 200)]) == 16
    parts = [
        fit_preprocessor(frames, "pca", floored=True),
        fit_preprocessor(many_frames, "pca", floored=True, rows=rows),
        fit_preprocessor(many_frames, "neurons", floored=True, rows=rows),
        fit_scaled_pca(many_frames[:, :50], rows),
    ]
    for part, expected in zip(parts, whole, strict=True):
        for name, array in vars(part).items():
            np.testing.assert_allclose(array, getattr(expected, name), atol=1e-9, err_msg=name)


# Scaling


def test_neurons_are_z_scored(frames):
    preprocessor = fit_preprocessor(frames, "neurons", floored=False)
    np.testing.assert_allclose(preprocessor.transform(frames), stats.zscore(frames), atol=1e-6)
    np.testing.assert_array_equal(preprocessor.transform(frames), preprocessor.zscore(frames))
    np.testing.assert_allclose(preprocessor.inverse(preprocessor.transform(frames)), frames, atol=1e-12)


def test_z_scores_stay_available_with_pca(frames):
    preprocessor = fit_preprocessor(frames, "pca", floored=True)
    np.testing.assert_allclose(preprocessor.zscore(frames), stats.zscore(frames), atol=1e-12)


def test_a_neuron_that_is_silent_in_training_does_not_explode(frames):
    frames = frames.copy()
    frames[:, 4] = 0
    event = frames.mean(axis=0)
    event[4] = 1.0
    held = fit_preprocessor(frames, "neurons", floored=True)
    sd = np.delete(frames.std(axis=0), 4)
    assert held.transform(event)[4] == pytest.approx(1 / (SCALE_FLOOR * np.median(sd)))
    np.testing.assert_allclose(np.delete(held.neuron_scale, 4), sd)
    # As the source does it, the same event is a hundred million SDs.
    assert fit_preprocessor(frames, "neurons", floored=False).transform(event)[4] == pytest.approx(1e8)
    assert fit_preprocessor(frames, "pca", floored=True).zscore(event)[4] == pytest.approx(held.transform(event)[4])


def test_a_faint_neuron_is_held_at_the_floor(frames):
    frames = frames.copy()
    frames[:, 0] *= 1e-5
    preprocessor = fit_preprocessor(frames, "neurons", floored=True)
    assert preprocessor.neuron_scale[0] == pytest.approx(0.1 * np.median(frames.std(axis=0)))


def test_silence_everywhere_is_only_centred():
    preprocessor = fit_preprocessor(np.full((10, 3), 2.0), "neurons", floored=True)
    np.testing.assert_array_equal(preprocessor.transform(np.full(3, 5.0)), [3, 3, 3])


def test_arrays_rebuild_it(frames):
    preprocessor = fit_preprocessor(frames, "pca", floored=True)
    again = Preprocessor(**vars(preprocessor))
    np.testing.assert_array_equal(again.transform(frames), preprocessor.transform(frames))


# Baseline


def test_baseline_is_the_mean_of_the_first_five_counted_bins():
    values = np.arange(2 * 8 * 1, dtype=float).reshape(2, 8, 1)
    mask = np.ones((2, 8), bool)
    mask[1, 3:] = False
    values[1, 3:] = 1e9
    np.testing.assert_allclose(first_bins_mean(values, mask), [[2.0], [9.0]])
