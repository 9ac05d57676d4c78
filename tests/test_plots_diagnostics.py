"""The source's diagnostics: what is drawn is the data, truth and reconstruction share their scales, nothing is cut
without words, and degenerate runs still give a figure."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.quiver import QuiverKey
from test_plots import TITLE, line, words

from odevae import plots
from odevae.metrics import Moments
from odevae.plots.heatmaps import bands

pytestmark = pytest.mark.usefixtures("figures_need_no_pyplot")

B, L, N, D = 4, 30, 12, 5
TIME = np.linspace(0, 3, L)


@pytest.fixture(autouse=True)
def no_warnings():
    """Axes without extent and means of nothing would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def drawn(figure: Figure) -> Figure:
    """Everything but the encoding: a layout that fails or a text that cannot be placed shows here."""
    figure.draw_without_rendering()
    return figure


def activity(n_neurons=N, seed=0):
    generator = np.random.default_rng(seed)
    true = generator.normal(size=(L, n_neurons))
    return true, 0.5 * true + 0.1 * generator.normal(size=true.shape)


def latent(n_trials=B, n_dims=D):
    path = np.cumsum(np.random.default_rng(1).normal(size=(n_trials, L, n_dims)), axis=1)
    path[1:, 20:] = np.nan
    return path


# Latent states


def test_latent_dimensions_are_drawn_on_one_scale_with_one_trial_highlighted():
    path = latent()
    figure = drawn(plots.latent_dimensions(path, TIME, 2, "trial 17", TITLE))
    assert len(figure.axes) == D
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    for dim, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(line(axes, "trial 17").get_ydata(), path[2, :, dim])
        others = [item.get_ydata() for item in axes.lines if item.get_label() != "trial 17"]
        np.testing.assert_array_equal(others, path[[0, 1, 3], :, dim])
    assert "the other 3 trials" in words(figure)


def test_latent_dimensions_of_one_trial_one_dimension_many_dimensions_and_none():
    figure = drawn(plots.latent_dimensions(latent(1, 1), TIME, 0, "trial 1", TITLE))
    assert len(figure.axes) == 1
    assert "the only trial" in words(figure)
    figure = drawn(plots.latent_dimensions(latent(2, 32), TIME, 0, "trial 1", TITLE))
    assert "dimensions 1 to 15 of 32" in words(figure)
    assert "finite" in words(plots.latent_dimensions(latent() * np.nan, TIME, 0, "trial 1", TITLE))


def test_manifold_pca_shows_the_path_and_what_it_explains():
    path = latent()[0, :, :3]
    figure = drawn(plots.manifold_pca(path, np.array([0.7, 0.2, 0.05]), TIME, TITLE))
    axes, _bar = figure.axes
    np.testing.assert_allclose(np.stack(axes.lines[0].get_data_3d(), axis=1), path)
    np.testing.assert_array_equal(axes.collections[0].get_array(), TIME)
    assert axes.get_xlabel() == "PC 1 (70.0%)"
    assert "variance explained: 95.0%" in words(figure)
    limits = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()])
    np.testing.assert_allclose(np.diff(limits, axis=1), np.diff(limits[0])[0])
    drawn(plots.manifold_pca(np.zeros((1, 3)), np.zeros(3), TIME[:1], TITLE))
    assert "finite" in words(plots.manifold_pca(path * np.nan, np.ones(3), TIME, TITLE))


def grid(side=6):
    x = np.linspace(-1, 1, side)
    return np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)


def test_vector_field_shows_each_arrow_and_path_at_one_scale():
    positions = grid()
    velocities = positions[:, ::-1] * [1, -1]
    paths = np.linspace(-0.5, 0.5, 12).reshape(-1, 2)
    velocities[0] = np.nan
    figure = drawn(
        plots.vector_field(
            positions, velocities, paths, np.repeat([3, 8], 3), np.array([0.6, 0.3]), TITLE, unit="a.u./s"
        )
    )
    (axes,) = figure.axes
    quiver = axes.collections[0]
    np.testing.assert_allclose(np.stack([quiver.U, quiver.V], axis=1), velocities[1:])
    np.testing.assert_allclose(quiver.XY, positions[1:])
    # The longest arrow is as long as one step of the grid.
    assert np.sqrt(2) / quiver.scale == pytest.approx(0.4)
    np.testing.assert_allclose(axes.lines[1].get_xydata(), paths[3:])
    np.testing.assert_allclose(line(axes, "start of a trial").get_xydata(), paths[[0, 3]])
    assert axes.get_aspect() == 1
    assert axes.get_ylabel() == "PC 2 (a.u.; 30.0% of variance)"
    assert "1 of 36 grid points not finite" in words(figure).replace("\n", " ")


def test_vector_field_of_a_field_at_rest_and_one_that_is_not_finite():
    rest = plots.vector_field(grid(), np.zeros((36, 2)), np.zeros((1, 2)), np.zeros(1, int), np.zeros(2), TITLE)
    (key,) = drawn(rest).findobj(QuiverKey)
    assert key.text.get_text() == "0 a.u./s"
    bad = plots.vector_field(grid(), np.full((36, 2), np.inf), np.zeros((1, 2)), np.zeros(1, int), np.zeros(2), TITLE)
    assert "not finite" in words(bad)


def test_latent_tsne_shows_each_point_by_its_time():
    points = latent()[0, :, :2]
    figure = drawn(plots.latent_tsne(points, TIME, 9.5, TITLE))
    (scatter,) = figure.axes[0].collections
    np.testing.assert_allclose(scatter.get_offsets(), points)
    np.testing.assert_array_equal(scatter.get_array(), TIME)
    assert "30 points, perplexity 9.5" in words(figure)
    drawn(plots.latent_tsne(points[:1], TIME[:1], 1.0, TITLE))
    assert "finite" in words(plots.latent_tsne(points * np.nan, TIME, 9.5, TITLE))


# Neurons


def test_worst_neurons_are_those_of_largest_error_on_one_scale():
    true, predicted = activity()
    predicted[:, 7] += 5
    predicted[:, 2] += 3
    predicted[:, 0] = np.nan
    figure = drawn(plots.worst_neurons(true, predicted, TIME, "dF/F", TITLE))
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:2]] == ["neuron 7", "neuron 2"]
    assert len(figure.axes) == 5
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    np.testing.assert_array_equal(line(figure.axes[0], "recorded").get_ydata(), true[:, 7])
    np.testing.assert_array_equal(line(figure.axes[0], "reconstructed").get_ydata(), predicted[:, 7])
    assert f"MSE {np.square(predicted - true)[:, 7].mean():.3g}" in figure.axes[0].get_title()
    assert len(plots.worst_neurons(true[:, :1], true[:, :1], TIME, "dF/F", TITLE).axes) == 1
    assert "finite" in words(plots.worst_neurons(true, predicted * np.nan, TIME, "dF/F", TITLE))


def test_bands_put_active_neurons_by_their_peak_first():
    true = np.zeros((4, 5))
    true[3, 1], true[0, 3], true[:, 4] = 1, 1, np.nan
    found = bands(true)
    assert found["active, by recorded peak"].tolist() == [3, 1]
    assert found["constant in this trial"].tolist() == [0, 2, 4]
    assert list(bands(true[:, [1]])) == ["active, by recorded peak"]


def test_activity_heatmaps_share_one_scale_and_one_order(check_saved):
    true, predicted = activity()
    true[:, 4] = predicted[:, 4] = 0.0
    true[5, 2] = 100.0
    figure = drawn(plots.activity_heatmaps(true, predicted, TIME, "dF/F", TITLE))
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 4  # two bands of recorded and reconstructed
    assert len({image.get_clim() for image in images}) == 1
    order = np.argsort(true.argmax(axis=0), kind="stable")
    order = order[order != 4]
    np.testing.assert_array_equal(images[0].get_array(), true[:, order].T)
    np.testing.assert_array_equal(images[1].get_array(), predicted[:, order].T)
    np.testing.assert_array_equal(images[2].get_array(), true[:, [4]].T)
    low, high = images[0].get_clim()
    assert f"recorded: {np.mean((true < low) | (true > high)):.1%} of values beyond the scale" in words(figure)
    assert "activity (dF/F)" in words(figure)
    check_saved(figure)


def test_heatmaps_of_one_neuron_one_bin_and_nothing():
    true, predicted = activity(1)
    for heatmap in (plots.activity_heatmaps, plots.error_heatmap):
        drawn(heatmap(true, predicted, TIME, "dF/F", TITLE))
        drawn(heatmap(true[:1], predicted[:1], TIME[:1], "dF/F", TITLE))
        drawn(heatmap(np.zeros((L, 3)), np.zeros((L, 3)), TIME, "dF/F", TITLE))
        drawn(heatmap(true, predicted * np.nan, TIME, "dF/F", TITLE))
        assert "finite" in words(heatmap(true * np.nan, predicted, TIME, "dF/F", TITLE))


def test_error_heatmap_is_signed_and_symmetric():
    true, predicted = activity()
    figure = drawn(plots.error_heatmap(true, predicted, TIME, "SD", TITLE))
    image = figure.axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    error = predicted - true
    np.testing.assert_array_equal(image.get_array(), error[:, np.argsort(true.argmax(axis=0), kind="stable")].T)
    assert f"{np.mean(np.abs(error) > high):.1%} of errors beyond the scale" in words(figure)


def neuron_scores(true, predicted):
    return plots.neuron_scores(*Moments().add(true, predicted).per_neuron(), "dF/F", TITLE)


def test_neuron_scores_are_sorted_and_count_who_has_none():
    true, predicted = activity()
    true[:, 3] = 1.0  # silent
    predicted[:, 5] = 0.2  # constant reconstruction
    predicted[0, 8] = np.inf
    with np.errstate(invalid="ignore"):
        figure = drawn(neuron_scores(true, predicted))
    left, right = figure.axes
    scored = [n for n in range(N) if n not in (3, 5, 8)]
    r = [np.corrcoef(true[:, n], predicted[:, n])[0, 1] for n in scored]
    np.testing.assert_allclose(line(left, "neuron").get_ydata(), np.sort(r)[::-1])
    active = [n for n in range(N) if n not in (3, 8)]
    error = np.square(predicted - true)[:, active].mean(axis=0)
    np.testing.assert_allclose(line(right, "reconstruction").get_ydata(), np.sort(error))
    variance = true[:, active].var(axis=0)[np.argsort(error)]
    np.testing.assert_allclose(line(right, "variance: error of its mean").get_ydata(), variance)
    assert "9 of 12 neurons\nwithout r: 1 silent, 1 constant reconstruction, 1 not finite" in words(figure)
    assert "(dF/F)²" in words(figure)
    assert right.get_yscale() == "log"


def test_neuron_scores_of_one_neuron_silent_neurons_and_none():
    true, predicted = activity(1)
    drawn(neuron_scores(true, predicted))
    drawn(neuron_scores(true, true))  # no error has no place on a logarithmic scale
    assert "2 silent" in words(drawn(neuron_scores(np.ones((L, 2)), np.ones((L, 2)))))
    assert "finite" in words(neuron_scores(true, true * np.nan))


# Trials and time


def test_trial_errors_are_bars_with_their_mean():
    error = np.array([0.2, np.nan, 0.6, 0.1])
    figure = drawn(plots.trial_errors(error, np.array([12, 7, 7, 30]), "dF/F", TITLE))
    (axes,) = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], error[[0, 2, 3]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["12", "7", "7", "30"]
    np.testing.assert_allclose(line(axes, "mean 0.3").get_ydata(), 0.3)
    assert list(line(axes, "not finite (1)").get_xdata()) == [1]
    drawn(plots.trial_errors(np.zeros(1), np.array([5]), "dF/F", TITLE))
    many = drawn(plots.trial_errors(np.ones(100), np.arange(100), "dF/F", TITLE))
    assert "one in 3 named" in words(many)
    assert "finite" in words(plots.trial_errors(error * np.nan, np.arange(4), "dF/F", TITLE))


def test_error_over_time_shows_mean_spread_and_number_of_trials():
    error = np.abs(latent()[..., 0])
    error[:, 28:] = np.nan
    recorded = np.ones((B, L), bool)
    recorded[0, 10:] = False
    figure = drawn(plots.error_over_time(error, recorded, TIME, "dF/F", TITLE))
    above, below = figure.axes
    np.testing.assert_array_equal(line(above, "mean over trials").get_xdata(), TIME[:28])
    np.testing.assert_allclose(line(above, "mean over trials").get_ydata(), np.nanmean(error[:, :28], axis=0))
    (band,) = above.collections
    edge = band.get_paths()[0].vertices
    upper = edge[edge[:, 0] == TIME[4]][:, 1].max()
    assert upper == pytest.approx(error[:, 4].mean() + error[:, 4].std(ddof=1))
    assert edge[:, 0].max() == TIME[19]  # one trial alone has no spread
    np.testing.assert_array_equal(line(below, "scored").get_ydata(), [4] * 20 + [1] * 8)
    np.testing.assert_array_equal(line(below, "of these, not yet ended").get_ydata(), [4] * 10 + [3] * 10 + [0] * 8)


def test_error_over_time_of_one_trial_one_bin_and_none():
    for error in (np.ones((1, L)), np.zeros((2, L))):
        drawn(plots.error_over_time(error, np.ones(error.shape, bool), TIME, "dF/F", TITLE))
    drawn(plots.error_over_time(np.ones((1, 1)), np.ones((1, 1), bool), TIME[:1], "dF/F", TITLE))
    assert "finite" in words(plots.error_over_time(np.full((2, L), np.nan), np.ones((2, L), bool), TIME, "dF/F", TITLE))


# A study


def test_scores_by_dimension_show_each_trial_and_the_mean():
    rows = [{"latent_dim": dim, "r2": 0.1 * dim + 0.01 * i, "r": 0.5} for dim in (10, 2) for i in range(4)]
    rows += [{"latent_dim": 2, "r2": -7.5, "r": np.nan}]
    figure = drawn(plots.scores_by_dimension(rows, TITLE))
    r2, r = figure.axes
    np.testing.assert_allclose(r2.lines[1].get_ydata(), [0.2, 0.21, 0.22, 0.23, -7.5])
    np.testing.assert_allclose(r2.lines[2].get_ydata(), [1.0, 1.01, 1.02, 1.03])
    np.testing.assert_allclose(
        line(r2, "mean over trials").get_ydata(), [np.mean([0.2, 0.21, 0.22, 0.23, -7.5]), 1.015]
    )
    assert [label.get_text() for label in r2.get_xticklabels()] == ["2", "10"]
    assert r2.get_title() == "1 below -1 cut, lowest -7.5"
    assert r.get_title() == "1 not finite"
    drawn(plots.scores_by_dimension([{"latent_dim": 1, "r2": np.nan, "r": np.nan}], TITLE))
    assert "no scored trial" in words(plots.scores_by_dimension([], TITLE))


def ladder(rungs="ab", models=("v1", "v5"), seeds=3):
    return [
        {"rung": rung, "flaw": f"flaw of {rung}", "model": model, "seed": seed, "split": 0}
        | {"r2": 0.5 - 0.1 * rungs.index(rung) + 0.02 * seed, "reference_r2": 0.05}
        for rung in rungs
        for model in models
        for seed in range(seeds)
    ]


def test_audit_ladder_shows_each_run_the_mean_and_the_reference():
    rows = ladder()
    rows[0]["r2"], rows[1]["r2"], rows[5]["r2"] = -4.0, -2.0, np.nan
    figure = drawn(plots.audit_ladder(rows, TITLE))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["(a) flaw of a", "(b) flaw of b"]
    dots = np.concatenate([item.get_xdata() for item in axes.lines if item.get_marker() == "o"])
    np.testing.assert_allclose(np.sort(dots), np.sort([row["r2"] for row in rows if row["r2"] > -1]))
    (floor,) = (item for item in axes.lines if item.get_marker() == "<")
    np.testing.assert_array_equal(floor.get_xdata(), [-1, -1])
    means = [item.get_xdata()[0] for item in axes.lines if item.get_marker() == "D"]
    np.testing.assert_allclose(means, [0.51, 0.42, 0.42])  # that of v1 on (a) lies below the floor
    ticks = [item.get_xdata() for item in axes.lines if item.get_linestyle() == "--"]
    np.testing.assert_allclose(ticks, np.full((4, 2), 0.05))
    text = words(figure)
    assert "-4 (2 below)" in text
    assert "-1.820 ± 2.275 (n = 3)" in text
    assert "(n = 2, 1 not finite)" in text
    top, bottom = (label.get_window_extent().y0 for label in axes.get_yticklabels())
    assert top > bottom


def test_audit_ladder_of_seven_rungs_one_run_and_none():
    rows = ladder("abcdefg", ("v1", "v2", "v3"), 1)
    for row in rows:
        row["flaw"] = "a description of what this rung takes away that is too long for one line of the figure"
    figure = drawn(plots.audit_ladder(rows, TITLE))
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(labels))
    assert min(label.x0 for label in labels) >= 0
    nothing = drawn(plots.audit_ladder([ladder("a", ("v1",), 1)[0] | {"r2": np.nan, "reference_r2": np.nan}], TITLE))
    assert "n = 0, 1 not finite" in words(nothing)
    assert "no run" in words(plots.audit_ladder([], TITLE)) or "No rung" in words(plots.audit_ladder([], TITLE))


# A page


def test_interactive_manifold_is_complete_in_itself_and_the_same_on_every_call():
    coordinates, trial = latent()[0, :, :3], np.repeat(["3", "8"], L // 2)
    colour = np.linspace(0, 1, L)
    colour[:5] = np.nan
    page = plots.interactive_manifold(coordinates, trial, colour, "position <cm>", f"{TITLE}\n2 trials")
    assert page == plots.interactive_manifold(coordinates, trial, colour, "position <cm>", f"{TITLE}\n2 trials")
    assert 'src="http' not in page
    assert "<link" not in page.split("<script", 1)[0]
    assert '"not recorded"' in page
    assert "<cm>" not in page
    assert f"{coordinates[0, 0]:.5g}" in page


def test_interactive_manifold_without_points_or_colours():
    nothing = plots.interactive_manifold(np.full((3, 3), np.nan), np.zeros(3), np.zeros(3), "time (s)", "<run>")
    assert "finite" in nothing
    assert "<run>" not in nothing
    page = plots.interactive_manifold(np.zeros((1, 3)), np.zeros(1), np.full(1, np.nan), "time (s)", TITLE)
    assert "not recorded" in page
