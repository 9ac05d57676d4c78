"""The scores of a benchmark against the latent dimension or over data sets: a panel for each task and score."""

from collections.abc import Callable
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure

from odevae.benchmark.families import Task
from odevae.plots.colours import GREY
from odevae.plots.style import LEGEND_BELOW, describe, new_figure

# Scores far below need not be distinguished; the panel's title names what lies below.
LOWEST = -0.6
COLUMNS = 3
# Of a panel's width, for names above it.
LETTERS_PER_INCH = 11
# Two models of one colour differ in marker and line.
N_COLOURS = 10
MARKERS = "osD^vP*Xph<>"
LINES = ("-", "--", ":")
NULL = "null (95 %) of the model above or below it"
LABELS = {
    "r2_neuron": "r2_neuron, recorded units, test trials",
    "r2": "R², test trials",
    "r2_mean": "R², plain mean over neurons, test trials",
    "balanced_accuracy": "balanced accuracy, test trials",
    "frames": "frames until R² < 0.5, test trials",
    "event_auc": "AUC of active, test trials",
    "bits_per_event": "bits an event, test trials",
}


def benchmark_scores(rows: list[dict], family: str, title: str) -> Figure:
    """Mean and SD over splits of each model, a line against its latent dimension.

    Models without latents lie at the left. A benchmark of several data sets has these on the x axis instead, each at
    its dimensions; models without latents lie at the first of them.

    Args:
        rows: of the benchmark's table; one or more of the family. A model looks the same in every figure of a table.
        family: one of `odevae.benchmark.families.FAMILIES`.
        title: of the figure; the number of splits is added.
    """
    everyone = sorted({row["model"] for row in rows})
    rows = [row for row in rows if Task.parse(row["task"]).family == family]
    # All panels of one score, then those of the next.
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    pairs = list(dict.fromkeys((row["metric"], row["task"]) for row in rows))
    tasks = sorted(pairs, key=lambda pair: metrics.index(pair[0]))
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    models = sorted({row["model"] for row in rows})
    labels, place_of = _places(rows, datasets)
    columns, panel_width = (COLUMNS, 3.7) if len(datasets) == 1 else (2, 0.8 * len(labels))
    n_columns = min(columns, len(tasks))
    n_rows = -(-len(tasks) // n_columns)
    splits = sorted({int(row["n_splits"]) for row in rows})
    note = f"mean ± SD over {' or '.join(map(str, splits))} {'split' if splits == [1] else 'splits'}"
    figure = new_figure(max(6.5, panel_width * n_columns), 3.4 * n_rows + 1.2, f"{title}\n{note}")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    handles = {}
    for axes, (metric, task) in zip(panels, tasks, strict=False):
        shown = [row for row in rows if (row["metric"], row["task"]) == (metric, task)]
        below = []
        for number, model in enumerate(models):
            own = sorted((row for row in shown if row["model"] == model), key=place_of)
            if not own:
                continue
            # Side by side, so that bars of equal scores do not cover each other.
            x = np.array([place_of(row) for row in own]) + 0.6 * (number / max(1, len(models) - 1) - 0.5)
            y = np.array([row["mean"] for row in own])
            spread = np.array([row["sd"] or 0.0 for row in own])
            hidden = y[y < LOWEST]
            if len(datasets) == 1:
                below += [f"{model} {value:.2f}" for value in hidden]
            elif len(hidden):
                below.append(f"{model} on {len(hidden)} of {len(datasets)}")
            y = np.where(y < LOWEST, np.nan, y)
            place = everyone.index(model)
            dots = {"color": f"C{place % N_COLOURS}", "marker": MARKERS[place % len(MARKERS)], "markersize": 4}
            line = {"linewidth": 1 if len(datasets) == 1 else 0, "linestyle": LINES[place // N_COLOURS % len(LINES)]}
            handles[model] = axes.errorbar(x, y, spread, elinewidth=0.7, **dots, **line)
            nulls = np.array([np.nan if row["null_95"] is None else row["null_95"] for row in own])
            if np.isfinite(nulls).any():
                handles[NULL] = axes.plot(x, nulls, color=GREY, marker="_", markersize=7, linewidth=0)[0]
        ends = [end for row in shown if row["mean"] >= LOWEST for end in _ends(row)]
        if metric == "event_auc":
            axes.axhline(0.5, color=GREY, linewidth=0.6)
            ends.append(0.5)
        elif metric != "balanced_accuracy":
            axes.axhline(0, color=GREY, linewidth=0.6)
            ends.append(0.0)
        low, high = max(LOWEST, min(ends, default=LOWEST)), max(ends, default=0.0)
        margin = 0.05 * (high - low) or 0.05
        axes.set_ylim(low - margin, high + margin)
        cut_off = wrap(f"cut off: {', '.join(below)}", round(LETTERS_PER_INCH * panel_width)) if below else []
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        inside = {row["dataset"]: int(row["inside_kernel"]) for row in shown if row["inside_kernel"]}
        kernel = wrap(_of_kernel(inside, datasets), round(LETTERS_PER_INCH * panel_width)) if inside else []
        x_label = "latent dimension" if len(datasets) == 1 else ""
        describe(axes, x_label, LABELS[metric], "\n".join([task, *kernel, *cut_off]))
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    if NULL in handles:
        # Last, after the models.
        handles[NULL] = handles.pop(NULL)
    figure.legend(handles.values(), handles.keys(), ncols=4, **LEGEND_BELOW)
    return figure


def _of_kernel(inside: dict[str, int], datasets: list[str]) -> str:
    """That a horizon lies inside the smoothing kernels (frames) of some data sets."""
    if len(datasets) == 1:
        return f"inside the smoothing kernel of {inside[datasets[0]]} frames"
    return f"inside the smoothing kernel of {', '.join(inside)}"


def _ends(row: dict) -> list[float]:
    """Where the bar of a row ends, and its null."""
    spread = row["sd"] or 0.0
    return [row["mean"] - spread, row["mean"] + spread] + ([] if row["null_95"] is None else [row["null_95"]])


def _places(rows: list[dict], datasets: list[str]) -> tuple[list[str], Callable[[dict], int]]:
    """Labels of the places on the x axis, and the place of a row."""
    if len(datasets) == 1:
        dims = sorted({_dim(row) for row in rows}, key=lambda dim: dim or 0)
        return [str(dim) if dim else "none" for dim in dims], lambda row: dims.index(_dim(row))
    pairs = list(dict.fromkeys((row["dataset"], _dim(row)) for row in rows if row["latent_dim"]))
    pairs += [(dataset, None) for dataset in datasets if dataset not in dict(pairs)]
    pairs.sort(key=lambda pair: (datasets.index(pair[0]), pair[1] or 0))
    labels = [dataset.replace("_", "\n") + (f"\nD = {dim}" if dim else "") for dataset, dim in pairs]

    def place(row: dict) -> int:
        dim = _dim(row)
        return next(i for i, pair in enumerate(pairs) if pair[0] == row["dataset"] and dim in (None, pair[1]))

    return labels, place


def _dim(row: dict) -> int | None:
    return int(row["latent_dim"]) if row["latent_dim"] else None
