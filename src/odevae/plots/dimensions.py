"""Scores of trials against the latent dimension."""

import numpy as np
from matplotlib.figure import Figure

from odevae.plots.colours import BLACK, GREY
from odevae.plots.style import LEGEND, describe, message, new_figure

# A useful model lies within; what lies below is counted in the figure.
VIEW = (-1.0, 1.0)
RED = "#D00000"  # the paper's figure
SPREAD = 0.16  # half the width of the dots of one dimension


def scores_by_dimension(rows: list[dict], title: str) -> Figure:
    """R2 and Pearson's r of each trial against the latent dimension: black dots, their mean in red.

    Dots below `VIEW` are counted in the panel's title; the mean is that of all finite values, also where it lies below
    the view.

    Args:
        rows: one for each trial (and run): ``latent_dim``, ``r2``, ``r``; scores that are not finite are counted, not
            drawn.
    """
    if not rows:
        return message("There is no scored trial yet.", title)
    dims = sorted({row["latent_dim"] for row in rows})
    figure = new_figure(max(7.0, 0.9 * len(dims) + 3), 3.8, title)
    for axes, (name, label) in zip(figure.subplots(1, 2), {"r2": "R²", "r": "Pearson's r"}.items(), strict=True):
        axes.axhline(0, color=GREY, linewidth=0.6)
        means, below, lowest, without = [], 0, np.inf, 0
        for place, dim in enumerate(dims):
            values = np.array([row[name] for row in rows if row["latent_dim"] == dim], dtype=float)
            known = values[np.isfinite(values)]
            without += len(values) - len(known)
            below += np.sum(known < VIEW[0])
            lowest = min(lowest, known.min(initial=np.inf))
            means.append(known.mean() if known.size else np.nan)
            x = place + np.linspace(-SPREAD, SPREAD, len(known)) if len(known) > 1 else np.full(len(known), place)
            axes.plot(x, known, color=BLACK, marker="o", markersize=2.5, linestyle="", alpha=0.6)
        axes.plot(range(len(dims)), means, color=RED, marker="o", markersize=6, linewidth=1, label="mean over trials")
        notes = [f"{below} below {VIEW[0]:.0f} cut, lowest {lowest:.3g}"] if below else []
        notes += [f"{without} not finite"] if without else []
        axes.set_ylim(VIEW[0] if below else min(lowest, 0) - 0.05, VIEW[1] + 0.05)
        axes.set_xticks(range(len(dims)), [str(dim) for dim in dims])
        axes.set_xlim(-0.5, len(dims) - 0.5)
        axes.legend(loc="lower right", **LEGEND)
        describe(axes, "latent dimension", f"{label} of a trial", "; ".join(notes) or "all trials shown")
    return figure
