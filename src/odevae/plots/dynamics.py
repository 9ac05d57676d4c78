"""Verdicts on dynamics: an interval for each recording."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from odevae.benchmark.dynamics import CANNOT_TELL, NO, SMALLEST_SHARE, YES, answer_of
from odevae.benchmark.families import DYNAMICS
from odevae.plots.colours import BLUE, GREY, ORANGE, VERMILION
from odevae.plots.style import LEGEND_BELOW, describe, new_figure

COLOURS = {YES: BLUE, NO: VERMILION, CANNOT_TELL: ORANGE}


def verdicts_on_dynamics(rows: list[dict], title: str) -> Figure:
    """What a field predicts of the second halves of trials beyond its control, with intervals, one line a recording.

    Args:
        rows: of the benchmark's table, among them those of the task ``dynamics``.
        title: of the figure.
    """
    rows = [row for row in rows if row["task"] == DYNAMICS]
    figure = new_figure(7.0, 1.6 + 0.4 * len(rows), f"{title}\nfrom the first half of a trial, test trials")
    axes = figure.add_subplot()
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.axvline(SMALLEST_SHARE, color=GREY, linewidth=0.8, linestyle="--")
    for place, row in enumerate(rows):
        low, high = row["difference_low"], row["difference_high"]
        answer = answer_of(low, high)
        axes.plot([low, high], [place, place], color=COLOURS[answer], linewidth=2)
        axes.plot(row["difference"], place, color=COLOURS[answer], marker="o", markersize=5)
        axes.annotate(
            answer, (1.01, place), xycoords=("axes fraction", "data"), va="center", color=COLOURS[answer], fontsize=9
        )
    labels = [f"{row['dataset']}, D = {row['latent_dim']:.0f} (n = {row['n_values']:.0f})" for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    describe(axes, "share of what is predictable that the field adds, 95 % interval over n independent trials", "")
    lines = [
        Line2D([], [], color=GREY, linestyle="--", label=f"smallest share of a yes ({SMALLEST_SHARE:.0%})"),
        Line2D([], [], color=GREY, linewidth=0.6, label="no better than no field"),
    ]
    figure.legend(handles=lines, ncols=2, **LEGEND_BELOW)
    return figure
