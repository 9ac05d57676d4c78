"""Errors of the reconstruction by neuron, by trial and by time."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odevae.plots.colours import BLACK, BLUE, GREY, VERMILION
from odevae.plots.style import LEGEND, describe, message, new_figure

MOST_TRIALS_NAMED = 40


def neuron_scores(r: np.ndarray, error: np.ndarray, variance: np.ndarray, units: str, title: str) -> Figure:
    """Correlation and mean squared error of each neuron, each sorted from best to worst.

    Each error is drawn with the neuron's variance, which is the error of predicting its mean. Neurons that are constant
    over the scored frames are silent: they have no correlation, and their number is given.

    Args:
        r: ``(N,)``, correlation of each neuron over the scored frames; NaN if its truth or reconstruction is constant.
        error, variance: ``(N,)``, in squared ``units``; neurons whose error is not finite are left out, and their
            number is given.
    """
    known = np.isfinite(error)
    if not known.any():
        return message("No neuron has a finite truth and reconstruction.", title)
    r, error, variance = r[known], error[known], variance[known]
    silent, constant = variance == 0, (variance > 0) & np.isnan(r)
    figure = new_figure(9, 3.8, title)
    left, right = figure.subplots(1, 2)
    scored = np.sort(r[np.isfinite(r)])[::-1]
    left.axhline(0, color=GREY, linewidth=0.6)
    dots = {"marker": ".", "markersize": 3, "linestyle": ""}
    left.plot(np.arange(1, len(scored) + 1), scored, color=BLACK, label="neuron", **dots)
    if scored.size:
        left.axhline(np.median(scored), color=VERMILION, linestyle="--", label=f"median {np.median(scored):.3f}")
    left.set_ylim(-1.05, 1.05)
    left.legend(loc="lower left", **LEGEND)
    counts = {"silent": silent.sum(), "constant reconstruction": constant.sum(), "not finite": (~known).sum()}
    without = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    heading = f"{scored.size} of {len(known)} neurons\nwithout r: {without or 'none'}"
    describe(left, "neuron, best first", "Pearson's r over frames", heading)

    active = ~silent
    order = np.argsort(error[active], kind="stable")
    rank = np.arange(1, len(order) + 1)
    right.plot(rank, variance[active][order], color=BLUE, label="variance: error of its mean", **dots)
    right.plot(rank, error[active][order], color=BLACK, label="reconstruction", **dots)
    if active.any() and (error[active] > 0).all():
        right.set_yscale("log")
    worse = np.sum((error > variance) & active)
    quiet = f"\n{silent.sum()} silent: error at most {error[silent].max():.3g}" if silent.any() else ""
    right.legend(**LEGEND)
    heading = f"{worse} of {active.sum()} active neurons worse than their mean{quiet}"
    describe(right, "active neuron, best first", f"mean squared error, {squared(units)}", heading)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return figure


def squared(units: str) -> str:
    """The square of a unit, with brackets around a unit of several parts."""
    return f"{units}²" if units.isalpha() else f"({units})²"


def trial_errors(error: np.ndarray, trial_ids: np.ndarray, units: str, title: str) -> Figure:
    """Mean squared error of each trial as a bar, and their mean as a line.

    Args:
        error: ``(B,)``, in squared ``units``; trials whose error is not finite have a cross instead of a bar and do
            not count in the mean.
        trial_ids: ``(B,)``, in the order of the bars; a repeated trial has several bars.
    """
    known = np.isfinite(error)
    if not known.any():
        return message("The error of no trial is finite.", title)
    place = np.arange(len(error))
    figure = new_figure(min(max(4.5, 0.28 * len(error) + 2), 12), 3.4, title)
    axes = figure.add_subplot()
    axes.bar(place[known], error[known], color=BLUE, width=0.75)
    mean = error[known].mean()
    axes.axhline(mean, color=VERMILION, linestyle="--", linewidth=1.2, label=f"mean {mean:.3g}")
    if not known.all():
        look = {"color": VERMILION, "marker": "x", "linestyle": "", "clip_on": False}
        axes.plot(place[~known], np.zeros((~known).sum()), label=f"not finite ({(~known).sum()})", **look)
    every = -(-len(error) // MOST_TRIALS_NAMED)
    axes.set_xticks(place[::every], [str(trial) for trial in trial_ids[::every]])
    axes.set_xlim(-0.75, len(error) - 0.25)
    describe(axes, "trial" + (f" (one in {every} named)" if every > 1 else ""), f"mean squared error, {squared(units)}")
    axes.tick_params(axis="x", rotation=90 if len(error) > 8 else 0)
    axes.set_ylim(0, 1.22 * error[known].max() or 1.0)  # room for the legend above the bars
    axes.legend(loc="upper right", ncols=2, **LEGEND)
    return figure


def error_over_time(error: np.ndarray, recorded: np.ndarray, time_s: np.ndarray, units: str, title: str) -> Figure:
    """Mean absolute error against time: mean and standard deviation over trials, and the number of trials below.

    Args:
        error: ``(B, L)``, absolute error averaged over neurons, in ``units``; NaN where a bin does not count.
        recorded: ``(B, L)``, false where a counted bin is after the end of its trial.
        time_s: ``(L,)``, s.
    """
    known = np.isfinite(error)
    if not known.any():
        return message("The error is finite at no time.", title)
    # Times that no trial has are left out, because they have no mean.
    shown = known.any(axis=0)
    time_s, number, goes_on = time_s[shown], known[:, shown].sum(axis=0), (known & recorded)[:, shown].sum(axis=0)
    values = np.ma.masked_invalid(error)[:, shown]
    # One trial has no spread.
    mean, deviation = values.mean(axis=0).filled(np.nan), values.std(axis=0, ddof=1).filled(np.nan)
    figure = new_figure(6, 4.2, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    look = {"color": BLUE, "alpha": 0.25, "linewidth": 0, "label": "± SD over trials"}
    above.fill_between(time_s, mean - deviation, mean + deviation, **look)
    marker = "." if len(time_s) == 1 else None
    above.plot(time_s, mean, color=BLUE, linewidth=1.4, marker=marker, label="mean over trials")
    above.set_ylim(0, 1.2 * np.nanmax(np.fmax(mean, mean + deviation)) or 1.0)
    # Room for the legends above the curves.
    above.legend(loc="upper right", ncols=2, **LEGEND)
    describe(above, "", f"mean absolute error ({units})")
    look = {"where": "mid", "linewidth": 1.2}
    below.step(time_s, number, color=BLACK, label="scored", **look)
    below.step(time_s, goes_on, color=VERMILION, linestyle="--", label="of these, not yet ended", **look)
    below.set_ylim(0, 1.7 * number.max())
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    below.legend(loc="upper right", ncols=2, **LEGEND)
    describe(below, "time (s)", "trials")
    return figure
