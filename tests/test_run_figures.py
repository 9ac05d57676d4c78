"""Every figure of a run is there, under the names that the workflow expects, for good runs and diverged ones."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ABOUT
from test_plots import words

from odevae.errors import OdevaeError
from odevae.evaluation.run_scores import evaluate
from odevae.report.embedding import perplexity_of, plane_grid, principal, tsne
from odevae.report.figure_names import FIGURES, MORE_FIGURES, manifold_by
from odevae.report.latent_field import LatentField, load_latent_field
from odevae.report.run_figures import figures_of_run, interactive_manifold_of_run
from odevae.report.run_predictions import scored_of_run
from odevae.storage.files import read_json
from odevae.storage.run_folder import HISTORY_FILE, RUN_FILE, read_history, remove_older_figures
from odevae.training.recorder import train

NAMES = {*FIGURES, *MORE_FIGURES}


def figures(fold, folder, colour_by=(), **changed):
    """What draws each figure of a run, and the stress of its embeddings."""
    predictions = evaluate(fold, folder)[1] | changed
    run, history = read_json(folder / RUN_FILE), read_history(folder / HISTORY_FILE)
    draw, stress = figures_of_run(fold, run, history, predictions, colour_by, lambda: load_latent_field(fold, folder))
    return draw, stress()


def test_names_are_those_of_files():
    plain, changed, other = map(manifold_by, ["x", "head angle (rad)", "head-angle-rad-"])
    assert (plain, other) == ("manifold_trials_x", "manifold_trials_head-angle-rad-")
    assert re.fullmatch(r"manifold_trials_head-angle-rad--[0-9a-f]{8}", changed)


def test_every_figure_of_a_run_is_there(heldout_fold, trained):
    draw, stress = figures(heldout_fold, trained, ["x", "y"])
    assert set(draw) == NAMES | {"manifold_trials_x", "manifold_trials_y"}
    assert set(stress) == {"manifold_trial_stress", "manifold_trials_stress"}
    found = {name: function() for name, function in draw.items()}
    for figure in found.values():
        figure.draw_without_rendering()
        assert "small/heldout/split0/tiny" in words(figure)
    assert found["manifold_trials"].axes[-1].get_ylabel() == "time (s)"
    assert found["manifold_trials_x"].axes[-1].get_ylabel() == "x"


def test_figures_show_the_scored_part_in_recorded_units(heldout_fold, trained):
    draw, _ = figures(heldout_fold, trained)
    rows = heldout_fold.parts["test"]
    predicted = heldout_fold.to_raw(evaluate(heldout_fold, trained)[1]["test_best"], rows)
    error = [
        np.square(predicted[i] - heldout_fold.raw.values[row])[heldout_fold.raw.mask[row]].mean()
        for i, row in enumerate(rows)
    ]
    axes = draw["trial_errors"]().axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], error, rtol=1e-5)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(map(str, heldout_fold.raw.trial_ids[rows]))
    assert f"test trial {heldout_fold.raw.trial_ids[rows[0]]}, best epoch" in words(draw["error_heatmap"]())


def test_a_diverged_run_has_messages_under_every_name(heldout_fold, diverged):
    draw, stress = figures(heldout_fold, diverged, ["x"])
    assert set(draw) == NAMES | {"manifold_trials_x"}
    assert stress == {}
    for name, function in draw.items():
        assert ("no latent path to show" in words(function())) == (name != "learning_curves")
    run = read_json(diverged / RUN_FILE)
    assert "finite" in interactive_manifold_of_run(heldout_fold, run, evaluate(heldout_fold, diverged)[1], [])


def test_a_path_that_cannot_be_integrated_gives_messages(heldout_fold, trained):
    path = evaluate(heldout_fold, trained)[1]["test_best_path"]
    draw, _ = figures(heldout_fold, trained, test_best_path=np.full_like(path, np.nan))
    assert "cannot be integrated" in words(draw["vector_field"]()).replace("\n", " ")


def test_an_unknown_covariate_is_refused(heldout_fold, trained):
    with pytest.raises(OdevaeError, match="no covariate 'z'"):
        figures(heldout_fold, trained, ["x", "z"])


@pytest.mark.parametrize("changes", [{"latent_dim": 1}, {"latent_dim": 4}])
def test_latents_of_other_dimensions(heldout_fold, tiny, make_key, tmp_path, changes):
    train(heldout_fold, make_key(**changes), replace(tiny, epochs=1), tmp_path, ABOUT)
    draw, _ = figures(heldout_fold, tmp_path)
    words_of = {name: words(function()) for name, function in draw.items()}
    assert ("one dimension" in words_of["vector_field"]) == (changes["latent_dim"] == 1)


def test_a_fold_with_repeated_sequences(published_fold, tiny, make_key, tmp_path):
    repeated = replace(published_fold, parts=published_fold.parts | {"validation": np.array([2, 2, 5])})
    train(repeated, make_key(protocol="published"), replace(tiny, epochs=1), tmp_path, ABOUT)
    draw, _ = figures(repeated, tmp_path)
    assert "3 validation sequences of 2 trials, best epoch" in words(draw["manifold_trials"]())
    run, predictions = read_json(tmp_path / RUN_FILE), evaluate(repeated, tmp_path)[1]
    assert len(set(scored_of_run(repeated, run, predictions).names)) == 3
    assert "(sequence 2)" in interactive_manifold_of_run(repeated, run, predictions, [])


def test_figures_of_an_earlier_training_are_removed(tmp_path):
    for number, name in enumerate(["figures/by_covariate/old.png", "figures/old.pdf", RUN_FILE, "figures/new.pdf"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    remove_older_figures(tmp_path)
    assert [path.name for path in (tmp_path / "figures").rglob("*") if path.is_file()] == ["new.pdf"]


# The field


def test_the_field_is_that_of_the_best_epoch_in_seconds(heldout_fold, trained):
    field = load_latent_field(heldout_fold, trained)
    path = evaluate(heldout_fold, trained)[1]["test_best_path"].astype(float)
    step = heldout_fold.grid_s[1] - heldout_fold.grid_s[0]
    slope = (path[:, 2] - path[:, 0]) / (2 * step)
    np.testing.assert_allclose(field(path[:, 1]), slope, rtol=0.05, atol=0.01)
    assert (field.quantity, field.unit) == ("velocity", "a.u./s")


def test_a_second_order_field_is_shown_by_its_acceleration_at_rest():
    class Pendulum(torch.nn.Module):
        latent_dim = 2

        def field(self, t, state):
            z, velocity = state.chunk(2, dim=1)
            return torch.cat([velocity, -z - velocity + t], dim=1)

    field = LatentField(Pendulum().field, second_order=True, time_dependent=True, time_scale_s=2.0)
    np.testing.assert_allclose(field(np.array([[1.0, -4.0]])), [[-0.25, 1.0]])
    assert (field.quantity, field.unit) == ("acceleration of a state at rest at t = 0", "a.u./s²")


# Principal components and t-SNE


def test_principal_components_rebuild_the_points_and_sum_to_one():
    points = np.random.default_rng(0).normal(size=(40, 3)) * [5, 2, 1] + 7
    plane = principal(points)
    np.testing.assert_allclose(plane.lift(plane.coordinates), points)
    np.testing.assert_allclose(plane.explained.sum(), 1)
    np.testing.assert_allclose(
        plane.explained, np.sort(np.linalg.eigvalsh(np.cov(points.T)))[::-1] / np.cov(points.T).trace()
    )
    np.testing.assert_allclose(plane.coordinates.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(("n", "dims"), [(1, 1), (1, 4), (10, 1), (2, 5)])
def test_principal_components_that_are_not_there_are_zero(n, dims):
    points = np.random.default_rng(0).normal(size=(n, dims))
    plane = principal(points)
    assert plane.coordinates.shape == (n, 3)
    assert plane.axes.shape == (3, dims)
    assert plane.explained.shape == (3,)
    np.testing.assert_allclose(plane.lift(plane.coordinates), points)


def test_the_grid_holds_every_point_in_equal_steps():
    points = np.random.default_rng(0).normal(size=(50, 2)) * [4, 1]
    grid = plane_grid(points)
    assert grid.shape == (400, 2)
    assert (grid.min(axis=0) < points.min(axis=0)).all()
    assert (grid.max(axis=0) > points.max(axis=0)).all()
    np.testing.assert_allclose(*np.ptp(grid, axis=0))
    assert np.ptp(plane_grid(np.zeros((3, 2))), axis=0).min() > 0


def test_tsne_is_the_same_on_every_call_and_separates_clusters():
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(30, 4)), generator.normal(size=(30, 4)) + 30])
    placed = tsne(points, seed=1)
    np.testing.assert_array_equal(placed, tsne(points, seed=1))
    assert not np.array_equal(placed, tsne(points, seed=2))
    within = np.linalg.norm(placed[:30] - placed[:30].mean(axis=0), axis=1).max()
    assert np.linalg.norm(placed[:30].mean(axis=0) - placed[30:].mean(axis=0)) > within


@pytest.mark.parametrize("n", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("dims", [1, 3])
def test_tsne_of_few_points(n, dims):
    placed = tsne(np.random.default_rng(0).normal(size=(n, dims)), seed=0)
    assert placed.shape == (n, 2)
    assert np.isfinite(placed).all()
    assert perplexity_of(n) < max(n, 2)


def test_tsne_of_a_collapsed_latent_and_of_one_that_is_not_finite():
    np.testing.assert_array_equal(tsne(np.full((20, 3), 2.0), seed=0), np.zeros((20, 2)))
    with pytest.raises(OdevaeError, match="NaN or infinite"):
        tsne(np.full((20, 3), np.nan), seed=0)
