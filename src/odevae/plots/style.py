"""Size, title, legends and files of all figures.

Figures are built without pyplot, so they need no display and none stays open.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from odevae.plots.colours import VERMILION
from odevae.plots.fonts import fonts_for

DPI = 160
# Matplotlib would write its version and the date into the file; without them a rerun writes the same bytes.
METADATA = {".png": {"Software": None}, ".pdf": {"Creator": None, "Producer": None, "CreationDate": None}}

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 10, 9, 8
NOTE = {"fontsize": SMALL_SIZE, "color": VERMILION}
LEGEND = {"fontsize": SMALL_SIZE, "frameon": False}
LEGEND_BELOW = LEGEND | {"loc": "outside lower center"}
TITLE_CHARACTERS_PER_INCH = 12  # at TITLE_SIZE, with some room


def save(figure: Figure, *files: Path) -> None:
    """Write a figure into files, each of the kind that its name ends with; the same figure gives the same bytes."""
    with fonts_for(figure):
        # The layout is computed at every drawing and changes a little each time, so it is computed once and kept.
        if figure.axes:
            figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        for file in files:
            figure.savefig(file, dpi=DPI, metadata=METADATA[file.suffix])


def message(text: str, title: str) -> Figure:
    """A figure with one sentence, for a run without data to draw."""
    figure = new_figure(6, 2.5, title)
    figure.text(0.5, 0.45, textwrap.fill(text, 68), ha="center", va="center", fontsize=TITLE_SIZE)
    return figure


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of ``width`` x ``height`` inches; the title is wrapped to fit."""
    figure = Figure(figsize=(width, height), layout="constrained")
    lines = [textwrap.fill(line, int(width * TITLE_CHARACTERS_PER_INCH)) for line in title.splitlines()]
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, parse_math=False)
    return figure


def colour_bar(figure: Figure, axes: Axes | list[Axes], points: ScalarMappable, label: str, **place) -> None:
    bar = figure.colorbar(points, ax=axes, **place)
    bar.set_label(label, fontsize=TEXT_SIZE, parse_math=False)
    bar.ax.tick_params(labelsize=SMALL_SIZE)


def finite(values: np.ndarray) -> np.ndarray:
    """The values with NaN where they are not finite, which Matplotlib leaves blank."""
    return np.where(np.isfinite(values), values, np.nan)


def finite_in(rows: list[dict], name: str) -> np.ndarray:
    """The finite values of one column."""
    values = np.array([row[name] for row in rows], dtype=float)
    return values[np.isfinite(values)]


def score_view(rows: list[dict], names: Iterable[str], floor: float) -> tuple[float, float]:
    """The lowest score that is drawn (zero if none is below, `floor` if one is below that), and the highest."""
    scores = np.concatenate([finite_in(rows, name) for name in names])
    return max(min(scores.min(initial=0), 0), floor), max(scores.max(initial=0), 0.1)


def describe(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Labels and ticks of a panel in the common sizes. A dollar sign in a unit or a name does not start a formula."""
    axes.set_title(title, fontsize=TEXT_SIZE, parse_math=False)
    axes.set_xlabel(x, fontsize=TEXT_SIZE, parse_math=False)
    axes.set_ylabel(y, fontsize=TEXT_SIZE, parse_math=False)
    axes.tick_params(which="both", labelsize=SMALL_SIZE)
