"""Figures of a run and of a study. Every function takes arrays or rows and returns a Matplotlib ``Figure``.

Figures are built without pyplot, so nothing here needs a display or leaves a figure open.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

DPI = 160
# Matplotlib would stamp its version and the date; without them a rerun writes the same bytes.
METADATA = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}

# Colours that readers with colour-vision deficiency tell apart (Okabe & Ito 2008).
BLACK, ORANGE, GREEN, BLUE = "#000000", "#E69F00", "#009E73", "#0072B2"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
GREY = "#9A9A9A"
TIME_MAP = "viridis"  # the paper's Figure 1

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 10, 9, 8
NOTE = {"fontsize": SMALL_SIZE, "color": VERMILION}
TITLE_CHARACTERS_PER_INCH = 12  # at TITLE_SIZE, with some room

R2_VIEW = (-1.0, 1.0)
TERMS = {
    "train_reconstruction": ("reconstruction", BLACK),
    "train_weighted_kl": ("KL", BLUE),
    "train_weighted_smoothness": ("smoothness", ORANGE),
    "train_weighted_transition": ("transition", GREEN),
    "train_weighted_lle": ("LLE", PURPLE),
}
FEW_EPOCHS = 30

PANELS_PER_ROW = 6

SCORE_FLOOR = -1.0
DIVERGED = "diverged"
SCORES = {
    "final_r2": ("final R² (published definition)", BLUE, -0.25),
    "r2_neuron": ("R² per neuron (raw units)", VERMILION, 0.25),
}
TRIVIAL = "trivial_r2_neuron"
MOST_VALUES_WRITTEN = 3
DOT_SPREAD = 0.14  # width of the dots of one score; groups are 1 apart


def save(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.png`` and ``<stem>.pdf``; the same figure gives the same bytes."""
    # The layout is solved again at every drawing and moves a little each time, so it is solved once and kept.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for suffix, metadata in METADATA.items():
        figure.savefig(stem.with_name(f"{stem.name}.{suffix}"), dpi=DPI, metadata=metadata)


def message(text: str, title: str) -> Figure:
    """A figure with a sentence, for a run that has nothing to show."""
    figure = _figure(6, 2.5, title)
    figure.text(0.5, 0.45, textwrap.fill(text, 68), ha="center", va="center", fontsize=TITLE_SIZE)
    return figure


def _figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of ``width`` x ``height`` inches whose title is broken where it would not fit."""
    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [textwrap.fill(line, int(width * TITLE_CHARACTERS_PER_INCH)) for line in title.splitlines()]
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE)
    return figure


# Manifolds


def manifold_of_trial(coordinates: np.ndarray, time_s: np.ndarray, stress: float, title: str) -> Figure:
    """The path of one trial in three MDS dimensions, coloured by time, as in the paper's Figure 1.

    Args:
        coordinates: ``(L, 3)``, in the unit of the latent; bins that are not finite are left out.
        time_s: ``(L,)``, s.
        stress: Kruskal's stress-1 of the embedding.
    """
    seen = np.isfinite(coordinates).all(axis=1)
    if not seen.any():
        return message("No latent state of this trial is finite.", title)
    coordinates, time_s = coordinates[seen], time_s[seen]
    figure, axes = _manifold(coordinates, stress, title)
    axes.plot(*coordinates.T, color=GREY, linewidth=0.8)
    points = axes.scatter(*coordinates.T, c=time_s, cmap=TIME_MAP, s=16, depthshade=False)
    _colour_bar(figure, axes, points, "time (s)")
    return figure


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
    figure, axes = _manifold(coordinates, stress, title)
    for trial_id in np.unique(trial):
        axes.plot(*coordinates[trial == trial_id].T, color=GREY, linewidth=0.5, alpha=0.6)
    known = np.isfinite(colour)
    if not known.all():
        axes.scatter(*coordinates[~known].T, color=GREY, s=7, depthshade=False, label="not recorded")
        axes.legend(loc="upper right", fontsize=SMALL_SIZE, frameon=False)
    if known.any():
        points = axes.scatter(*coordinates[known].T, c=colour[known], cmap=TIME_MAP, s=9, depthshade=False)
        _colour_bar(figure, axes, points, colour_label)
    return figure


def _manifold(coordinates: np.ndarray, stress: float, title: str) -> tuple[Figure, Axes3D]:
    """A cube that holds all points at one scale, so that distances can be compared across its axes."""
    figure = _figure(5.6, 4.6, title)
    axes = figure.add_subplot(projection="3d")
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    half = 0.52 * (high - low).max() or 0.9  # a collapsed latent still needs a box around it
    for number, (name, centre) in enumerate(zip("xyz", (low + high) / 2, strict=True), start=1):
        axes.set(**{f"{name}lim": (centre - half, centre + half), f"{name}label": f"MDS {number}"})
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(MaxNLocator(4))
        axis.label.set_size(TEXT_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE, pad=0)
    axes.set_box_aspect((1, 1, 1), zoom=0.92)
    axes.text2D(0.0, 0.97, f"Kruskal's stress-1: {stress:.3f}", transform=axes.transAxes, fontsize=TEXT_SIZE)
    return figure, axes


def _colour_bar(figure: Figure, axes: Axes3D, points: ScalarMappable, label: str) -> None:
    bar = figure.colorbar(points, ax=axes, shrink=0.6, pad=0.08)
    bar.set_label(label, fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE)


# Learning curves


def learning_curves(history: list[dict[str, float]], title: str, best_epoch: int | None = None) -> Figure:
    """Loss, R2 and each term's share of the training loss, by epoch.

    Args:
        history: a row for each epoch, as ``history.csv`` holds them: ``epoch``, ``train_loss``, ``val_loss``,
            ``val_r2``, and the terms of `TERMS` as they count in the loss.
        best_epoch: the epoch whose weights were kept.
    """
    if not history:
        return message("No epoch was finished: the history is empty.", title)
    figure = _figure(12, 3.4, title)
    loss, r2, terms = figure.subplots(1, 3)

    _curves(loss, history, {"train_loss": ("train", BLACK), "val_loss": ("validation", BLUE)})
    loss.set_title("Loss, all terms", fontsize=TEXT_SIZE)
    _curves(r2, history, {"val_r2": ("validation", BLUE)})
    r2.set_title("Validation R²" + _cut_r2(r2), fontsize=TEXT_SIZE)
    _curves(terms, _shares(history), TERMS)
    terms.set_title("Weighted terms, share of the training loss (%)", fontsize=TEXT_SIZE)

    for axes in (loss, terms):
        values = _drawn(axes)
        if values.size and (values > 0).all():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(LogFormatter())
    _mark_not_finite(loss, history)
    first, last = history[0]["epoch"], history[-1]["epoch"]
    margin = max(0.5, 0.03 * (last - first))
    for axes in (loss, r2, terms):
        if best_epoch is not None:
            axes.axvline(best_epoch, color=VERMILION, linestyle="--", linewidth=1, label=f"best epoch ({best_epoch})")
        axes.set_xlim(first - margin, last + margin)
        axes.set_xlabel("epoch", fontsize=TEXT_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.tick_params(which="both", labelsize=SMALL_SIZE)
        if axes.get_legend_handles_labels()[0]:
            # The terms' curves fill their panel, so their names stand beside it.
            place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if axes is terms else {}
            axes.legend(fontsize=SMALL_SIZE, framealpha=0.7, **place)
    return figure


def _curves(axes: Axes, history: list[dict[str, float]], looks: dict[str, tuple[str, str]]) -> None:
    """A line for each named column, through its finite values; points are marked where they are few."""
    for name, (label, colour) in looks.items():
        points = [(row["epoch"], row[name]) for row in history if np.isfinite(row.get(name, np.nan))]
        if points:
            marker = "." if len(points) <= FEW_EPOCHS else None
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker=marker, label=label)
    if not axes.lines:
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", fontsize=TEXT_SIZE)
        axes.set_yticks([])


def _mark_not_finite(axes: Axes, history: list[dict[str, float]]) -> None:
    bad = [row["epoch"] for row in history if not np.isfinite([row["train_loss"], row["val_loss"]]).all()]
    if bad:
        # The crosses stand on the axis itself: there is no value at which to draw them.
        height = axes.get_xaxis_transform()
        look = {"color": VERMILION, "marker": "x", "linestyle": "", "clip_on": False}
        axes.plot(bad, np.zeros(len(bad)), transform=height, label="loss not finite", **look)


def _drawn(axes: Axes) -> np.ndarray:
    """All y values of the lines drawn so far."""
    return np.concatenate([np.empty(0), *(line.get_ydata() for line in axes.lines)])


def _cut_r2(axes: Axes) -> str:
    """Keep the view inside `R2_VIEW`, in which a useful model lies; what it leaves out, in words for the title."""
    values = _drawn(axes)
    below = values[values < R2_VIEW[0]]
    if not below.size:
        return ""
    axes.set_ylim(*R2_VIEW)
    return f" ({below.size} of {values.size} values below {R2_VIEW[0]:.0f} cut, lowest {below.min():.3g})"


def _shares(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Each term's share in % of the sum of absolute terms; terms that are absent, zero or not finite are left out."""
    rows = []
    for row in history:
        sizes = {name: abs(row[name]) for name in TERMS if name in row}
        total = sum(sizes.values())
        shares = {name: 100 * size / total for name, size in sizes.items() if 0 < size <= total < np.inf}
        rows.append({"epoch": row["epoch"], **shares})
    return rows


# Example neurons


def most_active(true: np.ndarray, n: int = 6) -> np.ndarray:
    """Indices of the ``n`` neurons of largest variance in ``(..., N)``, largest first, NaN left out; ties by index."""
    flat = np.asarray(true, dtype=float).reshape(-1, true.shape[-1])
    variance = np.ma.masked_invalid(flat).var(axis=0).filled(0.0)
    return np.argsort(-variance, kind="stable")[:n]


def example_neurons(
    true: np.ndarray, predicted: np.ndarray, time_s: np.ndarray, neurons: Sequence[int], units: str, title: str
) -> Figure:
    """Recorded and reconstructed activity of some neurons over one trial, both on the neuron's one scale.

    Args:
        true, predicted: ``(L, N)``, in ``units``.
        time_s: ``(L,)``, s.
        neurons: indices along N, one panel each.
        units: unit of the activity, for instance ``dF/F``.
    """
    if len(neurons) == 0:
        return message("No neuron to show.", title)
    n_columns = min(len(neurons), PANELS_PER_ROW)
    n_rows = -(-len(neurons) // n_columns)
    figure = _figure(max(4.5, 1.9 * n_columns + 0.5), 2.1 * n_rows + 0.7, title)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, neuron in zip(panels, neurons, strict=False):
        shown = np.where(np.isfinite(predicted[:, neuron]), predicted[:, neuron], np.nan)
        axes.plot(time_s, true[:, neuron], color=BLACK, linewidth=1.2, label="recorded")
        axes.plot(time_s, shown, color=VERMILION, linewidth=1.2, label="reconstructed")
        axes.set_title(f"neuron {neuron}", fontsize=SMALL_SIZE)
        axes.set_xlabel("time (s)", fontsize=SMALL_SIZE)
        if np.isnan(shown).all():
            axes.text(0.5, 0.95, "reconstruction not finite", transform=axes.transAxes, ha="center", va="top", **NOTE)
        axes.tick_params(labelsize=SMALL_SIZE)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[len(neurons) :]:
        axes.remove()
    figure.supylabel(f"activity ({units})", fontsize=TEXT_SIZE)
    handles = panels[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=SMALL_SIZE, frameon=False)
    return figure


# A study


def seed_sweep(rows: list[dict], title: str) -> Figure:
    """Scores of all seeds of a study: a dot for each run, mean and standard deviation (n - 1) of each group.

    The groups are the protocols, and datasets and models where there are several. Scores below `SCORE_FLOOR` stand at
    the floor as triangles with their values written; mean and deviation, written above, are those of the true values.
    A dashed tick is the mean over the group's runs of the best trivial reference of ``r2_neuron``.

    Args:
        rows: one for each run: ``dataset``, ``protocol``, ``model``, ``seed``, ``status``, ``final_r2``,
            ``r2_neuron``, ``trivial_r2_neuron``; scores that are not finite are not drawn.
    """
    if not rows:
        return message("This study has no runs yet.", title)
    groups = _groups(rows)
    figure = _figure(max(6.0, 2 * len(groups) + 1), 4.4, title)
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=0.6)
    for place, members in enumerate(groups.values()):
        diverged = [row for row in members if row["status"] == DIVERGED]
        finished = [row for row in members if row["status"] != DIVERGED]
        for name, (_, colour, shift) in SCORES.items():
            for draw in (_dots, _mean):
                draw(axes, place + shift, _finite(finished, name), colour)
        trivial = _finite(finished, TRIVIAL)
        if trivial.size:
            tick = place + SCORES["r2_neuron"][2] + np.array([-0.15, 0.15])
            axes.plot(tick, np.full(2, trivial.mean()), color=BLACK, linestyle="--", linewidth=1)
        crosses = _side_by_side(place, len(diverged))
        axes.plot(crosses, np.zeros(len(diverged)), color="red", marker="x", linestyle="")
    names = [f"{name}\n{_count(members)}" for name, members in groups.items()]
    axes.set_xticks(range(len(groups)), names, fontsize=TEXT_SIZE)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylabel("R²", fontsize=TEXT_SIZE)
    axes.tick_params(axis="y", labelsize=SMALL_SIZE)
    _view_scores(axes, rows)
    figure.legend(handles=_legend_of_sweep(), loc="outside lower center", ncols=2, fontsize=SMALL_SIZE, frameon=False)
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


def _finite(rows: list[dict], name: str) -> np.ndarray:
    values = np.array([row[name] for row in rows], dtype=float)
    return values[np.isfinite(values)]


def _side_by_side(centre: float, n: int) -> np.ndarray:
    """Places along x that keep ``n`` dots of equal values apart."""
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


def _view_scores(axes: Axes, rows: list[dict]) -> None:
    """From the lowest score that is drawn, or zero, to the highest, with room above for the written means."""
    scores = np.concatenate([_finite(rows, name) for name in (*SCORES, TRIVIAL)])
    low, high = max(min(scores.min(initial=0), 0), SCORE_FLOOR), max(scores.max(initial=0), 0.1)
    axes.set_ylim(low - 0.08 * (high - low), high + 0.25 * (high - low))


def _legend_of_sweep() -> list[Line2D]:
    dots = [Line2D([], [], color=colour, marker="o", linestyle="", label=label) for label, colour, _ in SCORES.values()]
    return [
        *dots,
        Line2D([], [], color=GREY, marker="D", markeredgecolor=BLACK, label="mean ± SD"),
        Line2D([], [], color=BLACK, linestyle="--", label="best trivial reference of R² per neuron"),
        Line2D([], [], color=BLACK, marker="v", linestyle="", label=f"below {SCORE_FLOOR:.0f}, value written"),
        Line2D([], [], color="red", marker="x", linestyle="", label="diverged"),
    ]
