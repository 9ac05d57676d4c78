"""Learning curves."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from odevae.plots.colours import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION
from odevae.plots.style import SMALL_SIZE, TEXT_SIZE, describe, message, new_figure

R2_VIEW = (-1.0, 1.0)
TERMS = {
    "train_reconstruction": ("reconstruction", BLACK),
    "train_weighted_kl": ("KL", BLUE),
    "train_weighted_smoothness": ("smoothness", ORANGE),
    "train_weighted_transition": ("transition", GREEN),
    "train_weighted_lle": ("LLE", PURPLE),
}
FEW_EPOCHS = 30


def learning_curves(history: list[dict[str, float]], title: str, best_epoch: int | None = None) -> Figure:
    """Loss, R2 and each term's share of the training loss, by epoch.

    Args:
        history: a row for each epoch, as in ``history.csv``: ``epoch``, ``train_loss``, ``val_loss``,
            ``val_r2``, and the terms of `TERMS` with their weights.
        best_epoch: the epoch whose weights were kept.
    """
    if not history:
        return message("No epoch was finished: the history is empty.", title)
    figure = new_figure(12, 3.4, title)
    loss, r2, terms = figure.subplots(1, 3)

    _curves(loss, history, {"train_loss": ("train", BLACK), "val_loss": ("validation", BLUE)})
    describe(loss, "epoch", "", "Loss, all terms")
    _curves(r2, history, {"val_r2": ("validation", BLUE)})
    describe(r2, "epoch", "", "Validation R²" + _cut_r2(r2))
    _curves(terms, _shares(history), TERMS)
    describe(terms, "epoch", "", "Weighted terms, share of the training loss (%)")

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
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if axes.get_legend_handles_labels()[0]:
            # The terms' curves fill their panel, so the legend is next to it.
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
        # The crosses are on the axis itself, because they have no value.
        height = axes.get_xaxis_transform()
        look = {"color": VERMILION, "marker": "x", "linestyle": "", "clip_on": False}
        axes.plot(bad, np.zeros(len(bad)), transform=height, label="loss not finite", **look)


def _drawn(axes: Axes) -> np.ndarray:
    """All y values of the lines drawn so far."""
    return np.concatenate([np.empty(0), *(line.get_ydata() for line in axes.lines)])


def _cut_r2(axes: Axes) -> str:
    """Limit the view to `R2_VIEW`, which holds every useful model; returns words on what is cut, for the title."""
    values = _drawn(axes)
    below = values[values < R2_VIEW[0]]
    if not below.size:
        return ""
    axes.set_ylim(*R2_VIEW)
    return f" ({below.size} of {values.size} values below {R2_VIEW[0]:.0f} cut, lowest {below.min():.3g})"


def _shares(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Each term's share of the sum of absolute terms, in %; terms that are missing, zero or not finite are left out."""
    rows = []
    for row in history:
        sizes = {name: abs(row[name]) for name in TERMS if name in row}
        total = sum(sizes.values())
        shares = {name: 100 * size / total for name, size in sizes.items() if 0 < size <= total < np.inf}
        rows.append({"epoch": row["epoch"], **shares})
    return rows
