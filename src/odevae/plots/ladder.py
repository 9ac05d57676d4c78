"""The audit ladder: what is left of a score as one flaw after the other is taken away."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from odevae.plots.colours import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION
from odevae.plots.style import LEGEND_BELOW, SMALL_SIZE, describe, finite_in, message, new_figure, score_view

FLOOR = -1.0
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, BLACK)
DESCRIPTION_CHARACTERS = 38
GROUP = 0.72  # height of the models of one rung; the distance between rungs is 1


def audit_ladder(rows: list[dict], title: str) -> Figure:
    """R2 of every seed and split on each rung, by model, with the mean and the best trivial reference.

    Rungs are in alphabetical order from top to bottom, models within a rung in order of appearance. Scores below
    `FLOOR` are triangles at the floor with the lowest value written; the mean, written on the right, is that of the
    true values. The dashed tick is the mean of the best trivial reference over the same rows.

    Args:
        rows: one for each run: ``rung`` (``a`` to ``g``), ``flaw`` (what the rung changes, in words), ``model``,
            ``seed``, ``split``, ``r2``, ``reference_r2``; scores that are not finite are counted, not drawn.
    """
    if not rows:
        return message("No rung of the ladder has a run yet.", title)
    rungs = dict(sorted({row["rung"]: row["flaw"] for row in reversed(rows)}.items()))
    models = list(dict.fromkeys(row["model"] for row in rows))
    step = GROUP / len(models)
    figure = new_figure(8.4, 1.2 + len(rungs) * max(0.6, 0.3 * len(models) + 0.15) + 0.5, title)
    axes = figure.add_subplot()
    axes.axvline(0, color=GREY, linewidth=0.6)
    for place, rung in enumerate(rungs):
        for number, model in enumerate(models):
            members = [row for row in rows if row["rung"] == rung and row["model"] == model]
            if members:
                y = place + (number - (len(models) - 1) / 2) * step
                _rung(axes, y, 0.36 * step, members, COLOURS[number % len(COLOURS)])
        if place:
            axes.axhline(place - 0.5, color=GREY, linewidth=0.4)
    names = [textwrap.fill(f"({rung}) {flaw}", DESCRIPTION_CHARACTERS) for rung, flaw in rungs.items()]
    axes.set_yticks(range(len(rungs)), names)
    axes.set_ylim(len(rungs) - 0.5, -0.5)
    low, high = score_view(rows, ("r2", "reference_r2"), FLOOR)
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    describe(axes, "R² (right: mean ± SD over n seeds and splits)", "")
    axes.tick_params(axis="y", length=0)
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(models))]
    handles = [
        *(Line2D([], [], color=c, marker="o", linestyle="", label=m) for c, m in zip(colours, models, strict=True)),
        Line2D([], [], color=GREY, marker="D", markeredgecolor=BLACK, linestyle="", label="mean"),
        Line2D([], [], color=BLACK, linestyle="--", label="best trivial reference"),
        Line2D([], [], color=BLACK, marker="<", linestyle="", label=f"below {FLOOR:.0f}, lowest written"),
    ]
    figure.legend(handles=handles, ncols=min(len(handles), 5), **LEGEND_BELOW)
    return figure


def _rung(axes: Axes, y: float, half: float, members: list[dict], colour: str) -> None:
    """The runs of one model on one rung, around the height `y`."""
    values = finite_in(members, "r2")
    heights = y + (np.linspace(-half, half, len(values)) if len(values) > 1 else np.zeros(len(values)))
    low = values < FLOOR
    look = {"color": colour, "fontsize": SMALL_SIZE, "va": "center"}
    axes.plot(values[~low], heights[~low], color=colour, marker="o", markersize=3.5, linestyle="", alpha=0.6)
    if low.any():
        axes.plot(np.full(low.sum(), FLOOR), heights[low], color=colour, marker="<", markersize=5, linestyle="")
        text = f"{values.min():.3g}" + (f" ({low.sum()} below)" if low.sum() > 1 else "")
        axes.annotate(text, (FLOOR, y), (7, 0), textcoords="offset points", **look)
    if values.size and values.mean() >= FLOOR:
        axes.plot(values.mean(), y, color=colour, marker="D", markersize=5.5, markeredgecolor=BLACK, linestyle="")
    reference = finite_in(members, "reference_r2")
    if reference.size and reference.mean() >= FLOOR:
        ends = [y - 1.1 * half, y + 1.1 * half]
        axes.plot(np.full(2, reference.mean()), ends, color=BLACK, linestyle="--", linewidth=1.2)
    axes.text(1.01, y, _summary(values, len(members)), transform=axes.get_yaxis_transform(), **look)


def _summary(values: np.ndarray, n: int) -> str:
    """Mean, deviation (n - 1) and number of the finite values; how many of `n` are not finite."""
    bad = f", {n - len(values)} not finite" if len(values) < n else ""
    if not values.size:
        return f"n = 0{bad}"
    digits = ".3f" if abs(values.mean()) < 10 else ".3g"
    deviation = f" ± {values.std(ddof=1):{digits}}" if len(values) > 1 else ""
    return f"{values.mean():{digits}}{deviation} (n = {len(values)}{bad})"
