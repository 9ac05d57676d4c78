"""All neurons over one trial."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from odevae.plots.colours import SIGNED_MAP, TIME_MAP
from odevae.plots.style import TEXT_SIZE, colour_bar, describe, finite, message, new_figure

# A colour scale covers this share of the values; the figure gives the share beyond it.
SHOWN_SHARE = 0.99


def activity_heatmaps(true: np.ndarray, predicted: np.ndarray, time_s: np.ndarray, units: str, title: str) -> Figure:
    """Recorded and reconstructed activity of all neurons over one trial, side by side on one colour scale.

    Neurons are in the groups of `bands`. The scale covers `SHOWN_SHARE` of all values; the share beyond it is written
    above each panel.

    Args:
        true, predicted: ``(L, N)``, in ``units``; values that are not finite are left blank.
        time_s: ``(L,)``, s.
    """
    true, predicted = finite(true), finite(predicted)
    if np.isnan(true).all():
        return message("No recorded value of this trial is finite.", title)
    low, high = np.nanquantile([true, predicted], [(1 - SHOWN_SHARE) / 2, (1 + SHOWN_SHARE) / 2])
    figure = new_figure(8.4, 4.8, title)
    panels, image = _draw(figure, [true, predicted], true, time_s, cmap=TIME_MAP, vmin=low, vmax=high)
    for axes, values, name in zip(panels[0], (true, predicted), ("recorded", "reconstructed"), strict=True):
        beyond = np.mean((values < low) | (values > high))
        text = "not finite" if np.isnan(values).all() else f"{beyond:.1%} of values beyond the scale"
        axes.set_title(f"{name}: {text}", fontsize=TEXT_SIZE)
    colour_bar(figure, list(panels.ravel()), image, f"activity ({units})", extend="both", shrink=0.85)
    return figure


def error_heatmap(true: np.ndarray, predicted: np.ndarray, time_s: np.ndarray, units: str, title: str) -> Figure:
    """Reconstructed minus recorded activity of all neurons over one trial, on a scale symmetric about zero.

    Neurons are in the groups of `bands`. The scale covers `SHOWN_SHARE` of the errors; the share beyond it is written
    above.

    Args:
        true, predicted: ``(L, N)``, in ``units``; errors that are not finite are left blank.
        time_s: ``(L,)``, s.
    """
    true, error = finite(true), finite(predicted - true)
    if np.isnan(error).all():
        return message("No error of this trial is finite.", title)
    largest = np.nanquantile(np.abs(error), SHOWN_SHARE) or np.nanmax(np.abs(error)) or 1.0
    figure = new_figure(5.6, 4.8, title)
    panels, image = _draw(figure, [error], true, time_s, cmap=SIGNED_MAP, vmin=-largest, vmax=largest)
    panels[0, 0].set_title(f"{np.mean(np.abs(error) > largest):.1%} of errors beyond the scale", fontsize=TEXT_SIZE)
    colour_bar(figure, list(panels.ravel()), image, f"reconstructed − recorded ({units})", extend="both", shrink=0.85)
    return figure


def bands(true: np.ndarray) -> dict[str, np.ndarray]:
    """Indices of the active neurons of ``(L, N)``, by the time of their largest value, and of the constant ones.

    In most trials most neurons are constant, and would hide the others. A neuron with only NaN counts as constant.
    """
    highest, lowest = np.where(np.isnan(true), -np.inf, true), np.where(np.isnan(true), np.inf, true)
    active = highest.max(axis=0) > lowest.min(axis=0)
    by_peak = np.argsort(highest.argmax(axis=0), kind="stable")
    groups = {"active, by recorded peak": by_peak[active[by_peak]], "constant in this trial": np.flatnonzero(~active)}
    return {name: neurons for name, neurons in groups.items() if len(neurons)}


def _draw(
    figure: Figure, columns: list[np.ndarray], true: np.ndarray, time_s: np.ndarray, **scale
) -> tuple[np.ndarray, AxesImage]:
    """A column of panels for each ``(L, N)`` array, a row for each group of neurons, all on one colour scale."""
    rows = bands(true)
    heights = [2 if name.startswith("active") else 1 for name in rows]
    panels = figure.subplots(len(rows), len(columns), sharex=True, squeeze=False, height_ratios=heights)
    half = (time_s[-1] - time_s[0]) / max(len(time_s) - 1, 1) / 2 or 0.5  # the time of a bin is its middle
    for row, (name, neurons) in enumerate(rows.items()):
        extent = (time_s[0] - half, time_s[-1] + half, len(neurons) + 0.5, 0.5)
        for axes, values in zip(panels[row], columns, strict=True):
            image = axes.imshow(values[:, neurons].T, aspect="auto", interpolation="nearest", extent=extent, **scale)
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
            describe(axes, "time (s)" if row == len(rows) - 1 else "", "")
        describe(panels[row, 0], panels[row, 0].get_xlabel(), f"neurons {name}" if len(rows) == 1 else name)
    return panels, image
