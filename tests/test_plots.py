"""What is drawn is the data, degenerate runs still give a figure, and the same figure gives the same bytes."""

import math

import numpy as np
import pytest

from odevae import plots

pytestmark = pytest.mark.usefixtures("figures_need_no_pyplot")

TITLE = "e65/published/split1/v5/d5_ls5e-4_seed1"
L, N = 36, 9


def spiral(n=L):
    time_s = np.linspace(0, 6, n)
    return np.stack([np.cos(time_s), np.sin(time_s), 0.3 * time_s], axis=1), time_s


def words(figure):
    """All text of a figure, its legends included."""
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def epochs(n, **changed):
    rows = []
    for epoch in range(1, n + 1):
        row = {"epoch": epoch, "train_loss": 3.0 / epoch, "val_loss": 4.0 / epoch, "val_r2": 1 - 1.5 / epoch}
        row |= {
            "train_reconstruction": 2.0 / epoch,
            "val_reconstruction": 3.0 / epoch,
            "train_weighted_kl": 1.0 / epoch,
        }
        row |= {"train_weighted_smoothness": 0.0, "train_weighted_transition": 1.0 / epoch, "train_weighted_lle": 0.0}
        rows.append(row | changed)
    return rows


def run(protocol="published", seed=0, score=0.5, status="finished", **changed):
    row = {"dataset": "e65", "protocol": protocol, "model": "v5", "seed": seed, "status": status}
    return row | {"final_r2": score, "r2_neuron": score - 0.1, "trivial_r2_neuron": 0.05} | changed


# Manifolds


def test_manifold_of_a_trial_shows_each_bin_by_its_time(check_saved):
    coordinates, time_s = spiral()
    figure = plots.manifold_of_trial(coordinates, time_s, 0.0314, TITLE)
    axes, bar = figure.axes
    (points,) = axes.collections
    np.testing.assert_array_equal(points.get_array(), time_s)
    np.testing.assert_allclose(np.stack(axes.lines[0].get_data_3d(), axis=1), coordinates)
    assert bar.get_ylabel() == "time (s)"
    assert "stress-1: 0.031" in words(figure)
    assert TITLE in words(figure)
    check_saved(figure)


def test_manifold_has_one_scale_on_all_axes_and_cuts_nothing():
    coordinates, time_s = spiral()
    axes = plots.manifold_of_trial(coordinates * [10, 1, 0], time_s, 0.0, TITLE).axes[0]
    limits = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()])
    np.testing.assert_allclose(np.diff(limits, axis=1), np.diff(limits[0])[0])
    assert (coordinates * [10, 1, 0] > limits[:, 0]).all()
    assert (coordinates * [10, 1, 0] < limits[:, 1]).all()


def test_manifold_of_a_collapsed_or_partly_diverged_trial(check_saved):
    coordinates, time_s = spiral()
    check_saved(plots.manifold_of_trial(np.zeros_like(coordinates), time_s, 0.0, TITLE))
    coordinates[5:] = np.nan
    figure = plots.manifold_of_trial(coordinates, time_s, 0.0, TITLE)
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_array(), time_s[:5])
    figure = plots.manifold_of_trial(np.full((L, 3), np.inf), time_s, math.nan, TITLE)
    assert "finite" in words(figure)
    check_saved(figure)


def test_manifold_of_trials_shows_a_line_for_each_trial_and_greys_the_unknown(check_saved):
    coordinates, _ = spiral()
    trial, colour = np.arange(L) // 12, np.linspace(0, 120, L)
    colour[:4] = np.nan
    figure = plots.manifold_of_trials(coordinates, trial, colour, "position (cm)", 0.12, TITLE)
    axes, bar = figure.axes
    assert len(axes.lines) == 3
    np.testing.assert_allclose(np.stack(axes.lines[1].get_data_3d(), axis=1), coordinates[12:24])
    unknown, known = axes.collections
    assert len(unknown.get_offsets()) == 4
    np.testing.assert_array_equal(known.get_array(), colour[4:])
    assert bar.get_ylabel() == "position (cm)"
    assert "not recorded" in words(figure)
    check_saved(figure)


def test_manifold_of_trials_without_any_covariate_or_point(check_saved):
    coordinates, _ = spiral()
    trial, nothing = np.zeros(L, int), np.full(L, np.nan)
    figure = plots.manifold_of_trials(coordinates, trial, nothing, "position (cm)", 0.1, TITLE)
    assert len(figure.axes) == 1
    check_saved(figure)
    figure = plots.manifold_of_trials(coordinates * np.nan, trial, nothing, "position (cm)", 0.1, TITLE)
    assert "finite" in words(figure)


# Learning curves


def test_learning_curves_show_the_history(check_saved):
    history = epochs(40)
    figure = plots.learning_curves(history, TITLE, best_epoch=31)
    loss, r2, terms = figure.axes
    np.testing.assert_array_equal(line(loss, "train").get_xdata(), np.arange(1, 41))
    np.testing.assert_array_equal(line(loss, "train").get_ydata(), [row["train_loss"] for row in history])
    np.testing.assert_array_equal(line(loss, "validation").get_ydata(), [row["val_loss"] for row in history])
    np.testing.assert_array_equal(line(r2, "validation").get_ydata(), [row["val_r2"] for row in history])
    for name, share in {"reconstruction": 50, "KL": 25, "transition": 25}.items():
        np.testing.assert_allclose(line(terms, name).get_ydata(), share)
    assert {item.get_label() for item in terms.lines} == {"reconstruction", "KL", "transition", "best epoch (31)"}
    for axes in figure.axes:
        best = line(axes, "best epoch (31)")
        assert best.get_linestyle() == "--"
        assert list(best.get_xdata()) == [31, 31]
    assert loss.get_yscale() == "log"
    assert "cut" not in words(figure)
    check_saved(figure)


def test_a_loss_that_is_not_positive_is_drawn_on_a_linear_scale(check_saved):
    figure = plots.learning_curves(epochs(5, train_loss=-2.0), TITLE)
    assert figure.axes[0].get_yscale() == "linear"
    check_saved(figure)


def test_scores_outside_the_view_are_counted():
    history = epochs(10)
    history[0]["val_r2"], history[1]["val_r2"] = -7.25, -2.0
    figure = plots.learning_curves(history, TITLE)
    assert figure.axes[1].get_ylim() == plots.R2_VIEW
    assert "2 of 10 values below -1 cut, lowest -7.25" in words(figure)


def test_epochs_whose_loss_is_not_finite_are_marked(check_saved):
    history = epochs(10)
    for row in history[7:]:
        row |= dict.fromkeys(list(row)[1:], math.nan) | {"train_loss": math.inf}
    figure = plots.learning_curves(history, TITLE, best_epoch=7)
    loss = figure.axes[0]
    np.testing.assert_array_equal(line(loss, "train").get_xdata(), np.arange(1, 8))
    np.testing.assert_array_equal(line(loss, "loss not finite").get_xdata(), [8, 9, 10])
    check_saved(figure)


def test_short_empty_and_wholly_diverged_histories(check_saved):
    check_saved(plots.learning_curves(epochs(1), TITLE, best_epoch=1))
    nothing = plots.learning_curves([], TITLE)
    assert "empty" in words(nothing)
    check_saved(nothing)
    diverged = plots.learning_curves([{"epoch": 1, "train_loss": math.nan, "val_loss": math.inf}], TITLE)
    assert words(diverged).count("no finite value") == 3
    check_saved(diverged)


# Example neurons


def activity():
    true = np.random.default_rng(0).normal(size=(L, N)) * np.arange(1, N + 1)
    return true, 0.5 * true, np.linspace(0, 6, L)


def test_example_neurons_show_truth_and_reconstruction_on_one_scale(check_saved):
    true, predicted, time_s = activity()
    predicted[3, 2] = 40.0
    figure = plots.example_neurons(true, predicted, time_s, [7, 2, 5], "dF/F", TITLE)
    assert len(figure.axes) == 3
    for axes, neuron in zip(figure.axes, [7, 2, 5], strict=True):
        recorded, reconstructed = line(axes, "recorded"), line(axes, "reconstructed")
        np.testing.assert_array_equal(recorded.get_xdata(), time_s)
        np.testing.assert_array_equal(recorded.get_ydata(), true[:, neuron])
        np.testing.assert_array_equal(reconstructed.get_ydata(), predicted[:, neuron])
        assert recorded.axes is reconstructed.axes
        low, high = axes.get_ylim()
        both = np.concatenate([true[:, neuron], predicted[:, neuron]])
        assert low < both.min() < both.max() < high
        assert axes.get_title() == f"neuron {neuron}"
    assert len(figure.legends) == 1
    assert "dF/F" in words(figure)
    check_saved(figure)


def test_more_neurons_than_a_row_holds():
    true, predicted, time_s = activity()
    figure = plots.example_neurons(true, predicted, time_s, range(8), "dF/F", TITLE)
    assert [axes.get_title() for axes in figure.axes] == [f"neuron {neuron}" for neuron in range(8)]


def test_example_neurons_of_a_diverged_run(check_saved):
    true, predicted, time_s = activity()
    figure = plots.example_neurons(true, np.full_like(predicted, np.inf), time_s, [0], "dF/F", TITLE)
    assert "not finite" in words(figure)
    check_saved(figure)
    check_saved(plots.example_neurons(true, predicted, time_s, [], "dF/F", TITLE))


def test_most_active_neurons_have_the_largest_variance():
    true = np.zeros((4, L, 5))
    true[..., 3] = 10 * np.sin(np.arange(L))
    true[..., 1] = np.sin(np.arange(L))
    true[..., 4] = 100.0  # constant: large, but not active
    true[0, 0] = np.nan
    assert plots.most_active(true, 3).tolist() == [3, 1, 0]
    assert len(plots.most_active(true)) == 5
    assert plots.most_active(np.full((3, 2), np.nan)).tolist() == [0, 1]


# A study


def drawn_points(axes, marker):
    points = [
        item.get_xydata() for item in axes.lines if item.get_marker() == marker and item.get_linestyle() == "None"
    ]
    return np.concatenate([np.empty((0, 2)), *points])


def test_seed_sweep_shows_each_run_and_the_mean_of_each_protocol(check_saved):
    rows = [run("published", seed, 0.5 + 0.1 * seed) for seed in range(3)] + [run("heldout", 0, 0.2)]
    figure = plots.seed_sweep(rows, TITLE)
    (axes,) = figure.axes
    expected = [row[name] for row in rows for name in plots.SCORES]
    np.testing.assert_allclose(np.sort(drawn_points(axes, "o")[:, 1]), np.sort(expected))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["published\n3 runs", "heldout\n1 run"]
    assert "0.600\n± 0.100" in words(figure)
    assert "0.500\n± 0.100" in words(figure)
    bars = [container.lines[0].get_ydata()[0] for container in axes.containers]
    np.testing.assert_allclose(bars, [0.6, 0.5, 0.2, 0.1])
    ticks = [item.get_ydata() for item in axes.lines if item.get_linestyle() == "--"]
    np.testing.assert_allclose(ticks, np.full((2, 2), 0.05))
    check_saved(figure)


def test_scores_below_the_floor_are_written(check_saved):
    low = [-3.25, -40.0, -1e6, -2.0, -1.5]
    rows = [run(seed=seed, r2_neuron=value) for seed, value in enumerate(low)] + [run(seed=5)]
    figure = plots.seed_sweep(rows, TITLE)
    np.testing.assert_array_equal(drawn_points(figure.axes[0], "v")[:, 1], [plots.SCORE_FLOOR] * 5)
    assert "and 2 more\n-3.25\n-40\n-1e+06" in words(figure)
    assert len(drawn_points(figure.axes[0], "o")) == 7
    assert len(figure.axes[0].containers) == 1  # the mean of r2_neuron lies below the floor
    check_saved(figure)


def test_diverged_runs_are_crosses_at_zero_and_count_in_no_mean(check_saved):
    nothing = {"final_r2": math.nan, "r2_neuron": math.nan, "trivial_r2_neuron": math.nan}
    rows = [run(seed=0), run(seed=1), *(run(seed=seed, status="diverged", **nothing) for seed in (2, 3))]
    figure = plots.seed_sweep(rows, TITLE)
    crosses = drawn_points(figure.axes[0], "x")
    assert crosses[:, 1].tolist() == [0, 0]
    assert crosses[0, 0] != crosses[1, 0]
    assert "4 runs, 2 diverged" in words(figure)
    assert "0.500\n± 0.000" in words(figure)
    check_saved(figure)
    check_saved(plots.seed_sweep(rows[2:], TITLE))
    check_saved(plots.seed_sweep([run(status="diverged", final_r2=0.9)], TITLE))


def test_data_sets_and_models_make_groups_where_they_differ():
    rows = [run(), run(dataset="foraging"), run("heldout")]
    labels = plots.seed_sweep(rows, TITLE).axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == [
        "e65\npublished\n1 run",
        "foraging\npublished\n1 run",
        "e65\nheldout\n1 run",
    ]


def test_a_study_without_runs_says_so(check_saved):
    figure = plots.seed_sweep([], TITLE)
    assert "no runs" in words(figure)
    check_saved(figure)


# Every figure


@pytest.mark.parametrize("length", [40, 300])
def test_titles_fit(length):
    title = (TITLE * 10)[:length]
    for figure in (plots.message("Nothing.", title), plots.manifold_of_trial(*spiral(), 0.1, title)):
        figure.draw_without_rendering()
        (drawn,) = (text for text in figure.texts if text.get_text() == figure.get_suptitle())
        extent = drawn.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.x1
        assert "".join(figure.get_suptitle().split("\n")) == title


def test_a_message_says_its_sentence_under_its_title(check_saved):
    figure = plots.message("The run diverged at epoch 12.", TITLE)
    assert "The run diverged at epoch 12." in words(figure)
    assert TITLE in words(figure)
    check_saved(figure)
