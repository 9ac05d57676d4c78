"""Scores of the runs of a study."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from odevae.plots.colours import BLACK, BLUE, GREY, VERMILION
from odevae.plots.style import LEGEND_BELOW, SMALL_SIZE, TEXT_SIZE, describe, finite_in, message, new_figure, score_view

SCORE_FLOOR = -1.0
DIVERGED = "diverged"
SCORES = {
    "final_r2": ("final R² (published definition)", BLUE, -0.25),
    "r2_neuron": ("R² per neuron (raw units)", VERMILION, 0.25),
}
TRIVIAL = "trivial_r2_neuron"
MOST_VALUES_WRITTEN = 3
DOT_SPREAD = 0.14  # width of the dots of one score; the distance between groups is 1


def seed_sweep(rows: list[dict], title: str) -> Figure:
    """Scores of all seeds of a study: a dot for each run, mean and standard deviation (n - 1) of each group.

    The groups are the protocols, and datasets and models where there are several. Scores below `SCORE_FLOOR` are
    triangles at the floor with their values written; mean and deviation, written above, are those of the true values.
    A dashed tick is the mean over the group's runs of the best trivial reference of ``r2_neuron``.

    Args:
        rows: one for each run: ``dataset``, ``protocol``, ``model``, ``seed``, ``status``, ``final_r2``,
            ``r2_neuron``, ``trivial_r2_neuron``; scores that are not finite are not drawn.
    """
    if not rows:
        return message("This study has no runs yet.", title)
    groups = _groups(rows)
    figure = new_figure(max(6.0, 2 * len(groups) + 1), 4.4, title)
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=0.6)
    for place, members in enumerate(groups.values()):
        diverged = [row for row in members if row["status"] == DIVERGED]
        finished = [row for row in members if row["status"] != DIVERGED]
        for name, (_, colour, shift) in SCORES.items():
            for draw in (_dots, _mean):
                draw(axes, place + shift, finite_in(finished, name), colour)
        trivial = finite_in(finished, TRIVIAL)
        if trivial.size:
            tick = place + SCORES["r2_neuron"][2] + np.array([-0.15, 0.15])
            axes.plot(tick, np.full(2, trivial.mean()), color=BLACK, linestyle="--", linewidth=1)
        axes.plot(_side_by_side(place, len(diverged)), np.zeros(len(diverged)), color="red", marker="x", linestyle="")
    names = [f"{name}\n{_count(members)}" for name, members in groups.items()]
    describe(axes, "", "R²")
    axes.set_xticks(range(len(groups)), names, fontsize=TEXT_SIZE)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    low, high = score_view(rows, (*SCORES, TRIVIAL), SCORE_FLOOR)
    axes.set_ylim(low - 0.08 * (high - low), high + 0.25 * (high - low))  # room above for the written means
    handles = [
        *(Line2D([], [], color=colour, marker="o", linestyle="", label=label) for label, colour, _ in SCORES.values()),
        Line2D([], [], color=GREY, marker="D", markeredgecolor=BLACK, label="mean ± SD"),
        Line2D([], [], color=BLACK, linestyle="--", label="best trivial reference of R² per neuron"),
        Line2D([], [], color=BLACK, marker="v", linestyle="", label=f"below {SCORE_FLOOR:.0f}, value written"),
        Line2D([], [], color="red", marker="x", linestyle="", label="diverged"),
    ]
    figure.legend(handles=handles, ncols=2, **LEGEND_BELOW)
    return figure


def _groups(rows: list[dict]) -> dict[str, list[dict]]:
    """Rows by protocol, and by dataset and model where these differ, in order of appearance."""
    fields = [name for name in ("dataset", "model") if len({row[name] for row in rows}) > 1]
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault("\n".join(row[name] for name in [*fields, "protocol"]), []).append(row)
    return groups


def _count(members: list[dict]) -> str:
    n_diverged = sum(row["status"] == DIVERGED for row in members)
    runs = f"{len(members)} run" + "s" * (len(members) != 1)
    return f"{runs}, {n_diverged} diverged" if n_diverged else runs


def _side_by_side(centre: float, n: int) -> np.ndarray:
    """Places along x of ``n`` dots, so that equal values do not cover each other."""
    return centre + DOT_SPREAD * (np.arange(n) - (n - 1) / 2) / max(n - 1, 1)


def _dots(axes: Axes, centre: float, values: np.ndarray, colour: str) -> None:
    """The runs' values of one score in one group; those below the floor as triangles with their values."""
    x, low = _side_by_side(centre, len(values)), values < SCORE_FLOOR
    axes.plot(x[~low], values[~low], color=colour, marker="o", markersize=4, linestyle="", alpha=0.6)
    if low.any():
        axes.plot(x[low], np.full(low.sum(), SCORE_FLOOR), color=colour, marker="v", markersize=6, linestyle="")
        lowest = [f"{value:.3g}" for value in np.sort(values[low])[:MOST_VALUES_WRITTEN]]
        rest = [f"and {low.sum() - len(lowest)} more"] if low.sum() > len(lowest) else []
        written, look = "\n".join([*rest, *reversed(lowest)]), {"color": colour, "fontsize": SMALL_SIZE}
        axes.annotate(written, (centre, SCORE_FLOOR), (0, 7), textcoords="offset points", ha="center", **look)


def _mean(axes: Axes, centre: float, values: np.ndarray, colour: str) -> None:
    """Mean and deviation of one score in one group: in figures above, and as a bar unless below the floor."""
    if not values.size:
        return
    mean, deviation = values.mean(), values.std(ddof=1) if len(values) > 1 else None
    if mean >= SCORE_FLOOR:
        look = {"color": colour, "marker": "D", "markersize": 5, "markeredgecolor": BLACK, "capsize": 3}
        axes.errorbar(centre + 0.75 * DOT_SPREAD, mean, yerr=deviation, **look)
    digits = ".3f" if abs(mean) < 10 else ".3g"
    figures = f"{mean:{digits}}" if deviation is None else f"{mean:{digits}}\n± {deviation:{digits}}"
    look = {"color": colour, "fontsize": SMALL_SIZE, "ha": "center", "va": "top"}
    axes.text(centre, 0.98, figures, transform=axes.get_xaxis_transform(), **look)
