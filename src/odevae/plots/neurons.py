"""Recorded and reconstructed activity of neurons."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odevae.plots.colours import BLACK, VERMILION
from odevae.plots.style import LEGEND_BELOW, NOTE, SMALL_SIZE, TEXT_SIZE, finite, message, new_figure

PANELS_PER_ROW = 6


def most_active(true: np.ndarray, n: int = 6) -> np.ndarray:
    """Indices of the ``n`` neurons of largest variance in ``(..., N)``, largest first, NaN left out; ties by index."""
    flat = np.asarray(true, dtype=float).reshape(-1, true.shape[-1])
    variance = np.ma.masked_invalid(flat).var(axis=0).filled(0.0)
    return np.argsort(-variance, kind="stable")[:n]


def example_neurons(
    true: np.ndarray, predicted: np.ndarray, time_s: np.ndarray, neurons: Sequence[int], units: str, title: str
) -> Figure:
    """Recorded and reconstructed activity of some neurons over one trial, on one scale for each neuron.

    Args:
        true, predicted: ``(L, N)``, in ``units``.
        time_s: ``(L,)``, s.
        neurons: indices along N, one panel each.
        units: unit of the activity, for example ``dF/F``.
    """
    return _neuron_panels(true, predicted, time_s, [(neuron, f"neuron {neuron}") for neuron in neurons], units, title)


def worst_neurons(
    true: np.ndarray, predicted: np.ndarray, time_s: np.ndarray, units: str, title: str, n: int = 5
) -> Figure:
    """The neurons of largest mean squared error over one trial, worst first, all on one scale.

    Args:
        true, predicted: ``(L, N)``, in ``units``; errors that are not finite are not ranked.
        time_s: ``(L,)``, s.
        units: unit of the activity, for example ``dF/F``.
        n: how many neurons.
    """
    error = np.square(predicted - true).mean(axis=0)
    worst = [int(neuron) for neuron in np.argsort(-finite(error), kind="stable")[:n] if np.isfinite(error[neuron])]
    if not worst:
        return message("No neuron of this trial has a finite error.", title)
    names = [(neuron, f"neuron {neuron}\nMSE {error[neuron]:.3g}") for neuron in worst]
    return _neuron_panels(true, predicted, time_s, names, units, title, one_scale=True)


def _neuron_panels(
    true: np.ndarray,
    predicted: np.ndarray,
    time_s: np.ndarray,
    neurons: list[tuple[int, str]],
    units: str,
    title: str,
    one_scale: bool = False,
) -> Figure:
    """A panel for each index and name in `neurons`; with `one_scale` all panels have one y axis."""
    if not neurons:
        return message("No neuron to show.", title)
    n_columns = min(len(neurons), PANELS_PER_ROW)
    n_rows = -(-len(neurons) // n_columns)
    figure = new_figure(max(4.5, 1.9 * n_columns + 0.5), 2.1 * n_rows + 0.7, title)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=one_scale).ravel()
    for axes, (neuron, name) in zip(panels, neurons, strict=False):
        shown = finite(predicted[:, neuron])
        axes.plot(time_s, true[:, neuron], color=BLACK, linewidth=1.2, label="recorded")
        axes.plot(time_s, shown, color=VERMILION, linewidth=1.2, label="reconstructed")
        axes.set_title(name, fontsize=SMALL_SIZE)
        axes.set_xlabel("time (s)", fontsize=SMALL_SIZE)
        if np.isnan(shown).all():
            axes.text(0.5, 0.95, "reconstruction not finite", transform=axes.transAxes, ha="center", va="top", **NOTE)
        axes.tick_params(labelsize=SMALL_SIZE)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[len(neurons) :]:
        axes.remove()
    figure.supylabel(f"activity ({units})", fontsize=TEXT_SIZE, parse_math=False)
    handles = panels[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, ncols=2, **LEGEND_BELOW)
    return figure
