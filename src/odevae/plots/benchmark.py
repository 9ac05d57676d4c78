"""The scores of a benchmark against the latent dimension, one panel for each task of a family."""

import numpy as np
from matplotlib.figure import Figure

from odevae.plots.style import GREY, SMALL_SIZE, TEXT_SIZE, describe, message, new_figure

# Far below nothing is told apart any more; what lies below is named under the panel.
LOWEST = -0.6
COLUMNS = 3
MARKERS = "osD^vP*Xph<>"
LABELS = {
    "r2_neuron": "r2_neuron, recorded units, test trials",
    "r2": "R², test trials",
    "balanced_accuracy": "balanced accuracy, test trials",
}


def benchmark_scores(rows: list[dict], family: str, title: str) -> Figure:
    """Mean and SD over splits of each model against its latent dimension; models without latents lie at the left.

    Args:
        rows: of the benchmark's table.
        family: ``reconstruct``, ``onset``, ``forecast``, ``cosmooth`` or ``decode``.
        title: of the figure; the number of splits is added.
    """
    rows = [row for row in rows if str(row["task"]).startswith(family)]
    if not rows:
        return message(f"No model of this benchmark was asked to {family}.", title)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    dims = sorted({int(row["latent_dim"]) for row in rows if row["latent_dim"]})
    models = sorted({row["reference"] for row in rows})
    places = {None: 0} | {dim: place for place, dim in enumerate(dims, start=1)}
    n_columns = min(COLUMNS, len(tasks))
    n_rows = -(-len(tasks) // n_columns)
    splits = sorted({int(row["n_splits"]) for row in rows})
    note = f"mean ± SD over {' or '.join(map(str, splits))} splits"
    figure = new_figure(max(6.5, 3.7 * n_columns), 3.4 * n_rows + 1.2, f"{title}\n{note}")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    handles = {}
    for axes, task in zip(panels, tasks, strict=False):
        below = []
        for number, model in enumerate(models):
            own = [row for row in rows if row["task"] == task and row["reference"] == model]
            if not own:
                continue
            own.sort(key=lambda row: places[_dim(row)])
            # Side by side, so that bars of equal scores do not cover each other.
            x = np.array([places[_dim(row)] for row in own]) + 0.5 * (number / max(1, len(models) - 1) - 0.5)
            y = np.array([row["mean"] for row in own])
            spread = np.array([row["sd"] or 0.0 for row in own])
            below += [f"{model} {value:.2f}" for value in y[y < LOWEST]]
            colour = f"C{number % 10}"
            handles[model] = axes.errorbar(
                x,
                y,
                spread,
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                linewidth=1,
                elinewidth=0.7,
            )
        nulls = [row["null_95"] for row in rows if row["task"] == task and row["null_95"] is not None]
        if nulls:
            axes.axhline(max(nulls), color=GREY, linewidth=0.8, linestyle=":", label="largest null (95 %)")
            axes.legend(fontsize=SMALL_SIZE, frameon=False, loc="lower right")
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.set_title(task + (f"\ncut off: {', '.join(below)}" if below else ""), fontsize=TEXT_SIZE, parse_math=False)
        low = min((row["mean"] - (row["sd"] or 0) for row in rows if row["task"] == task), default=0)
        axes.set_ylim(bottom=max(LOWEST, min(low, 0)) - 0.03)
        axes.set_xticks(list(places.values()), ["none", *map(str, dims)])
        axes.set_xlim(-0.5, len(dims) + 0.5)
        metric = next(row["metric"] for row in rows if row["task"] == task)
        describe(axes, "latent dimension", LABELS[metric])
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    figure.legend(
        handles.values(), handles.keys(), fontsize=SMALL_SIZE, frameon=False, loc="outside lower center", ncols=4
    )
    return figure


def _dim(row: dict) -> int | None:
    return int(row["latent_dim"]) if row["latent_dim"] else None
