"""Latent paths in few dimensions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from odevae.plots.colours import GREY, TIME_MAP
from odevae.plots.style import LEGEND, SMALL_SIZE, TEXT_SIZE, colour_bar, describe, message, new_figure

BAR = {"shrink": 0.6, "pad": 0.08}  # next to a cube
MDS = ("MDS 1", "MDS 2", "MDS 3")


def manifold_of_trial(coordinates: np.ndarray, time_s: np.ndarray, stress: float, title: str) -> Figure:
    """The path of one trial in three MDS dimensions, coloured by time, as in the paper's Figure 1.

    Args:
        coordinates: ``(L, 3)``, in the unit of the latent; bins that are not finite are left out.
        time_s: ``(L,)``, s.
        stress: Kruskal's stress-1 of the embedding.
    """
    return _path_by_time(coordinates, time_s, MDS, _stress(stress), title)


def manifold_pca(coordinates: np.ndarray, explained: np.ndarray, time_s: np.ndarray, title: str) -> Figure:
    """The path of one trial in its first three principal components, coloured by time.

    Args:
        coordinates: ``(L, 3)``, in the unit of the latent; bins that are not finite are left out.
        explained: ``(3,)``, share of the path's variance in each component, written on its axis.
        time_s: ``(L,)``, s.
    """
    names = [f"PC {number} ({share:.1%})" for number, share in enumerate(explained, start=1)]
    return _path_by_time(coordinates, time_s, names, f"variance explained: {explained.sum():.1%}", title)


def manifold_of_trials(
    coordinates: np.ndarray, trial: np.ndarray, colour: np.ndarray, colour_label: str, stress: float, title: str
) -> Figure:
    """Many trials in three MDS dimensions: a thin line for each, points coloured by a covariate.

    Args:
        coordinates: ``(n, 3)``, each trial's points in order of time; points that are not finite are left out.
        trial: ``(n,)``, id of the trial of each point.
        colour: ``(n,)``, the covariate; points where it is NaN are grey.
        colour_label: name and unit of the covariate.
        stress: Kruskal's stress-1 of the embedding.
    """
    seen = np.isfinite(coordinates).all(axis=1)
    if not seen.any():
        return message("No latent state of these trials is finite.", title)
    coordinates, trial, colour = coordinates[seen], trial[seen], np.asarray(colour, dtype=float)[seen]
    figure, axes = _cube(coordinates, MDS, _stress(stress), title)
    for trial_id in np.unique(trial):
        axes.plot(*coordinates[trial == trial_id].T, color=GREY, linewidth=0.5, alpha=0.6)
    known = np.isfinite(colour)
    if not known.all():
        axes.scatter(*coordinates[~known].T, color=GREY, s=7, depthshade=False, label="not recorded")
        axes.legend(loc="upper right", **LEGEND)
    if known.any():
        points = axes.scatter(*coordinates[known].T, c=colour[known], cmap=TIME_MAP, s=9, depthshade=False)
        colour_bar(figure, axes, points, colour_label, **BAR)
    return figure


def latent_tsne(coordinates: np.ndarray, time_s: np.ndarray, perplexity: float, title: str) -> Figure:
    """Latent points of many trials in two t-SNE dimensions, coloured by time.

    Only the distances between neighbours have a meaning.

    Args:
        coordinates: ``(n, 2)``, without unit; points that are not finite are left out.
        time_s: ``(n,)``, s.
        perplexity: of the embedding, about the number of neighbours of each point that it keeps close.
    """
    seen = np.isfinite(coordinates).all(axis=1)
    if not seen.any():
        return message("No latent state of these trials is finite.", title)
    figure = new_figure(5.6, 4.6, title)
    axes = figure.add_subplot()
    points = axes.scatter(*coordinates[seen].T, c=time_s[seen], cmap=TIME_MAP, s=9)
    axes.set_aspect("equal", adjustable="datalim")
    describe(axes, "t-SNE 1 (no unit)", "t-SNE 2 (no unit)", f"{seen.sum()} points, perplexity {perplexity:.3g}")
    colour_bar(figure, axes, points, "time (s)", shrink=0.8)
    return figure


def _stress(stress: float) -> str:
    return f"Kruskal's stress-1: {stress:.3f}"


def _cube(coordinates: np.ndarray, names: Sequence[str], note: str, title: str) -> tuple[Figure, Axes3D]:
    """A cube around all points with one scale, so that distances along its axes can be compared."""
    figure = new_figure(5.6, 4.6, title)
    axes = figure.add_subplot(projection="3d")
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    half = 0.52 * (high - low).max() or 0.9  # a collapsed latent still needs a box around it
    for letter, name, centre in zip("xyz", names, (low + high) / 2, strict=True):
        axes.set(**{f"{letter}lim": (centre - half, centre + half), f"{letter}label": name})
        axis = getattr(axes, f"{letter}axis")
        axis.set_major_locator(MaxNLocator(4))
        axis.label.set_size(TEXT_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE, pad=0)
    axes.set_box_aspect((1, 1, 1), zoom=0.92)
    axes.text2D(0.0, 0.97, note, transform=axes.transAxes, fontsize=TEXT_SIZE)
    return figure, axes


def _path_by_time(coordinates: np.ndarray, time_s: np.ndarray, names: Sequence[str], note: str, title: str) -> Figure:
    """The finite points ``(L, 3)`` of one trial in a cube, coloured by time."""
    seen = np.isfinite(coordinates).all(axis=1)
    if not seen.any():
        return message("No latent state of this trial is finite.", title)
    coordinates = coordinates[seen]
    figure, axes = _cube(coordinates, names, note, title)
    axes.plot(*coordinates.T, color=GREY, linewidth=0.8)
    points = axes.scatter(*coordinates.T, c=time_s[seen], cmap=TIME_MAP, s=16, depthshade=False)
    colour_bar(figure, axes, points, "time (s)", **BAR)
    return figure
