"""Latent states against time, and the latent field."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odevae.plots.colours import BLACK, BLUE, GREY, VERMILION
from odevae.plots.style import LEGEND, SMALL_SIZE, TEXT_SIZE, describe, finite, message, new_figure

PANELS_PER_ROW = 5
MOST_DIMENSIONS = 15
TITLE_CHARACTERS = 68  # above the vector field


def latent_dimensions(path: np.ndarray, time_s: np.ndarray, highlighted: int, label: str, title: str) -> Figure:
    """Each latent dimension against time, one panel each on one common scale: all trials thin, one highlighted.

    Args:
        path: ``(B, L, D)``, in the unit of the latent; NaN where a trial has no bin.
        time_s: ``(L,)``, s.
        highlighted: index along B of the trial that is drawn last and in colour.
        label: name of that trial, for example ``trial 17``.
    """
    path = finite(path)
    if np.isnan(path).all():
        return message("No latent state of these trials is finite.", title)
    n_dims = min(path.shape[2], MOST_DIMENSIONS)
    n_columns = min(n_dims, PANELS_PER_ROW)
    n_rows = -(-n_dims // n_columns)
    figure = new_figure(max(4.5, 2.1 * n_columns + 0.6), 1.9 * n_rows + 1.0, title)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for dim, axes in enumerate(panels[:n_dims]):
        for row in range(len(path)):
            if row != highlighted:
                axes.plot(time_s, path[row, :, dim], color=GREY, linewidth=0.5, alpha=0.7)
        axes.plot(time_s, path[highlighted, :, dim], color=VERMILION, linewidth=1.4, label=label)
        axes.set_title(f"dimension {dim + 1}", fontsize=SMALL_SIZE)
        axes.tick_params(labelsize=SMALL_SIZE, labelbottom=dim + n_columns >= n_dims)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[n_dims:]:
        axes.remove()
    figure.supxlabel("time (s)", fontsize=TEXT_SIZE)
    figure.supylabel("latent state (a.u.)", fontsize=TEXT_SIZE)
    left_out = f"; dimensions 1 to {n_dims} of {path.shape[2]}" if n_dims < path.shape[2] else ""
    handles = panels[0].get_legend_handles_labels()[0]
    others = f"grey: the other {len(path) - 1} trials" if len(path) > 1 else "the only trial"
    look = LEGEND | {"title_fontsize": SMALL_SIZE, "loc": "outside upper right"}
    figure.legend(handles=handles, title=others + left_out, **look)
    return figure


def vector_field(
    positions: np.ndarray,
    velocities: np.ndarray,
    paths: np.ndarray,
    trial: np.ndarray,
    explained: np.ndarray,
    title: str,
    quantity: str = "velocity",
    unit: str = "a.u./s",
) -> Figure:
    """The field and the paths in the plane of the latent points' first two principal components.

    Both axes have one scale. Arrows show the part of the field in the plane: its direction, and by their length its
    size relative to the largest, whose arrow is one step of the grid long.

    Args:
        positions: ``(G, 2)``, grid points in the plane, in the unit of the latent.
        velocities: ``(G, 2)``, the field there, projected on the plane; points that are not finite are left out.
        paths: ``(n, 2)``, latent points projected on the plane, each trial's in order of time.
        trial: ``(n,)``, id of the trial of each point.
        explained: ``(2,)``, share of the points' variance along each axis.
        quantity, unit: of the arrows.
    """
    known = np.isfinite(velocities).all(axis=1)
    if not known.any():
        return message("The field is not finite at any point of the grid.", title)
    figure = new_figure(5.6, 5.4, title)
    axes = figure.add_subplot()
    speed = np.linalg.norm(velocities[known], axis=1)
    # The grid is a square, so the square root of the number of its points is the number along one side.
    step = np.ptp(positions, axis=0).max() / max(np.sqrt(len(positions)) - 1, 1)
    scale = speed.max() / step if speed.max() > 0 and step > 0 else 1.0
    look = {"color": BLUE, "angles": "xy", "scale_units": "xy", "scale": scale, "width": 0.0025}
    arrows = axes.quiver(*positions[known].T, *velocities[known].T, **look)
    names, starts = np.unique(trial, return_index=True)
    for trial_id in names:
        axes.plot(*paths[trial == trial_id].T, color=BLACK, linewidth=0.7, alpha=0.6)
    axes.plot(*paths[starts].T, color=VERMILION, marker="o", markersize=4, linestyle="", label="start of a trial")
    low, high = positions.min(axis=0) - (step or 1), positions.max(axis=0) + (step or 1)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    labels = [f"PC {number} (a.u.; {share:.1%} of variance)" for number, share in enumerate(explained, start=1)]
    left_out = f"; {(~known).sum()} of {len(known)} grid points not finite" if not known.all() else ""
    text = f"arrows: {quantity} in the plane, other components at their mean{left_out}"
    describe(axes, *labels, textwrap.fill(text, TITLE_CHARACTERS))
    look = {"labelpos": "E", "fontproperties": {"size": SMALL_SIZE}}
    axes.quiverkey(arrows, 0.72, -0.15, speed.max(), f"{speed.max():.3g} {unit}", **look)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.11), **LEGEND)
    return figure
