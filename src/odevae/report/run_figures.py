"""The figures of one run, made from the files of its run folder; each is drawn when it is asked for."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from matplotlib.figure import Figure

from odevae import plots
from odevae.data.recording import require_covariates
from odevae.metrics import Moments
from odevae.protocols.fold import Fold
from odevae.report.embedding import Embedding, embed, perplexity_of, plane_grid, principal, thin, tsne
from odevae.report.figure_names import FIGURES, MORE_FIGURES, manifold_by
from odevae.report.run_predictions import Scored, scored_of_run


def figures_of_run(
    fold: Fold,
    run: dict,
    history: list[dict],
    predictions: dict[str, np.ndarray],
    colour_by: Sequence[str],
    load_field: Callable[[], Callable] | None = None,
) -> tuple[dict[str, Callable[[], Figure]], Callable[[], dict[str, float]]]:
    """What draws each figure of a run, of the best epoch, on the part that is scored.

    Figures of one trial show the first one. Activity and errors are in recorded units; heatmaps are in units of each
    neuron's SD, so that all neurons share one scale.

    Args:
        fold: the one that the run was trained on.
        run: content of ``run.json``.
        history: rows of ``history.csv``.
        predictions: arrays of ``predictions.npz``.
        colour_by: covariates, each of which colours one more manifold of many trials.
        load_field: loads the latent field at the best epoch; only ``vector_field`` needs it.

    Returns:
        By each name of `FIGURES`, of `MORE_FIGURES` and of the covariates a function that draws it. A function that
        gives the stress of each embedding by name.

    Raises:
        OdevaeError: if a covariate does not exist.
    """
    require_covariates(colour_by, fold.raw.covariates, f"datasets.{fold.about['recording']}.colour_by")
    curves = {"learning_curves": lambda: plots.learning_curves(history, run["run"], run["best_epoch"] or None)}
    scored = scored_of_run(fold, run, predictions)
    if scored is None:
        reason = run["reason"] or "the path of a held-out trial cannot be integrated"
        text = f"There is no latent path to show ({reason})."
        names = [*FIGURES, *MORE_FIGURES, *map(manifold_by, colour_by)]
        return dict.fromkeys(names, lambda: plots.message(text, run["run"])) | curves, dict
    one = cache(lambda: embed(scored.path[0, scored.counted[0]]))
    many = cache(lambda: embed_trials(scored))
    figures = {
        **curves,
        **_of_latents(fold, scored, one, many, colour_by),
        "vector_field": lambda: _vector_field(scored, load_field()),
        **_of_activity(fold, scored),
        **_of_errors(fold, scored),
    }
    return figures, lambda: {"manifold_trial_stress": one().stress, "manifold_trials_stress": many().stress}


def interactive_manifold_of_run(
    fold: Fold, run: dict, predictions: dict[str, np.ndarray], colour_by: Sequence[str]
) -> str:
    """A web page with the manifold of many trials, coloured by the first covariate, or by time if there is none."""
    return plots.interactive_manifold(*_rotating(fold, run, predictions, colour_by))


def rotating_manifold_of_run(fold: Fold, run: dict, predictions: dict[str, np.ndarray], colour_by: Sequence[str]):
    """The same as a Plotly figure; None if no latent state is finite."""
    return plots.rotating_manifold(*_rotating(fold, run, predictions, colour_by))


def _rotating(
    fold: Fold, run: dict, predictions: dict[str, np.ndarray], colour_by: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str, str]:
    """What `plots.rotating_manifold` takes."""
    scored = scored_of_run(fold, run, predictions)
    if scored is None:
        nothing = np.empty(0)
        return np.empty((0, 3)), nothing, nothing, "", run["run"]
    many, (trial, bin_) = embed_trials(scored), thin(scored.counted)
    colour, label = _colour(fold, scored.rows, colour_by[0] if colour_by else "")
    return many.coordinates, scored.names[trial], colour[trial, bin_], label, scored.all


def embed_trials(scored: Scored) -> Embedding:
    """Metric MDS of the bins that `thin` chooses."""
    return embed(scored.path[thin(scored.counted)])


def _of_latents(
    fold: Fold,
    scored: Scored,
    one: Callable[[], Embedding],
    many: Callable[[], Embedding],
    colour_by: Sequence[str],
) -> dict[str, Callable[[], Figure]]:
    first, time_s = scored.counted[0], fold.grid_s[scored.counted[0]]
    trial, bin_ = thin(scored.counted)
    points = scored.path[trial, bin_]

    def by(covariate: str) -> Figure:
        colour, label = _colour(fold, scored.rows, covariate)
        shown = (trial, colour[trial, bin_], label, many().stress, scored.all)
        return plots.manifold_of_trials(many().coordinates, *shown)

    def by_components() -> Figure:
        flat = principal(scored.path[0, first])
        return plots.manifold_pca(flat.coordinates, flat.explained, time_s, scored.one)

    def against_time() -> Figure:
        paths = np.where(scored.counted[..., None], scored.path, np.nan)
        return plots.latent_dimensions(paths, fold.grid_s, 0, f"trial {scored.trial_ids[0]}", scored.all)

    def by_neighbours() -> Figure:
        return plots.latent_tsne(tsne(points, seed=0), fold.grid_s[bin_], perplexity_of(len(points)), scored.all)

    return {
        "manifold_trial": lambda: plots.manifold_of_trial(one().coordinates, time_s, one().stress, scored.one),
        "manifold_trials": partial(by, ""),
        **{manifold_by(covariate): partial(by, covariate) for covariate in colour_by},
        "manifold_pca": by_components,
        "latent_dimensions": against_time,
        "latent_tsne": by_neighbours,
    }


def _vector_field(scored: Scored, field: Callable[[np.ndarray], np.ndarray]) -> Figure:
    """The field on the first principal plane of the latent points, other components at their mean, at t = 0."""
    if scored.path.shape[2] < 2:
        return plots.message("The latent has one dimension: there is no plane to draw a field on.", scored.all)
    trial, bin_ = thin(scored.counted)
    plane = principal(scored.path[trial, bin_], 2)
    positions = plane_grid(plane.coordinates)
    velocities = field(plane.lift(positions)) @ plane.axes.T
    shown = (plane.coordinates, trial, plane.explained, scored.all, field.quantity, field.unit)
    return plots.vector_field(positions, velocities, *shown)


def _of_activity(fold: Fold, scored: Scored) -> dict[str, Callable[[], Figure]]:
    first, units = scored.counted[0], fold.about["units"]
    true, predicted = (values[:1][0, first] for values in (scored.true, scored.predicted))
    time_s = fold.grid_s[first]
    trial, zscored = (true, predicted, time_s), [fold.preprocessor.zscore(values) for values in (true, predicted)]
    return {
        "example_neurons": lambda: plots.example_neurons(*trial, plots.most_active(true), units, scored.one),
        "worst_neurons": lambda: plots.worst_neurons(*trial, units, scored.one),
        "activity_heatmaps": lambda: plots.activity_heatmaps(*zscored, time_s, "SD of the neuron", scored.one),
        "error_heatmap": lambda: plots.error_heatmap(*zscored, time_s, "SD of the neuron", scored.one),
    }


def _of_errors(fold: Fold, scored: Scored) -> dict[str, Callable[[], Figure]]:
    units = fold.about["units"]

    @cache
    def errors() -> tuple[np.ndarray, np.ndarray, Moments]:
        """Mean squared error of each trial ``(B,)``, mean absolute error of each bin ``(B, L)``, and of the neurons."""
        of_neurons = Moments()
        by_trial, by_time = np.empty(len(scored.rows)), np.full(scored.counted.shape, np.nan)
        for row, (true, predicted, m) in enumerate(zip(scored.true, scored.predicted, scored.counted, strict=True)):
            error = predicted[m] - true[m]
            by_trial[row], by_time[row, m] = np.square(error).mean(), np.abs(error).mean(axis=1)
            of_neurons.add(true[m], predicted[m])
        return by_trial, by_time, of_neurons

    return {
        "neuron_scores": lambda: plots.neuron_scores(*errors()[2].per_neuron(), units, scored.all),
        "trial_errors": lambda: plots.trial_errors(errors()[0], scored.trial_ids, units, scored.all),
        "error_over_time": lambda: plots.error_over_time(errors()[1], scored.recorded, fold.grid_s, units, scored.all),
    }


def _colour(fold: Fold, rows: np.ndarray, covariate: str) -> tuple[np.ndarray, str]:
    """Values ``(B, L)`` that colour the points, and their label; without a covariate, the time in the trial."""
    if not covariate:
        return np.broadcast_to(fold.grid_s, (len(rows), len(fold.grid_s))), "time (s)"
    return fold.raw.covariates[covariate][rows], covariate
