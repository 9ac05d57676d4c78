"""The dimension that a model finds in training trials, next to the one that it finds where there is no manifold."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from odevae.benchmark.models.benchmark_model import BenchmarkModel
from odevae.data.trials import Trials

CONTROL_SEED = 0


def intrinsic_dimension(
    model: BenchmarkModel, fit: Callable[[Trials, Trials], BenchmarkModel], train: Trials, validation: Trials
) -> dict[str, float]:
    """The dimension that a fitted model reports, and that of a control.

    Args:
        model: fitted on `train`; it implements ``intrinsic_dimension``.
        fit: gives a model of the same kind, fitted on the given training and validation trials.
        train, validation: as in `BenchmarkModel.fit`.

    Returns:
        ``correlation_dimension``, the same after `shift_neurons` as ``null_mean``, and ``n_values``, the number of
        training frames.
    """
    control = fit(shift_neurons(train), validation)
    return {
        "correlation_dimension": model.intrinsic_dimension(),
        "null_mean": control.intrinsic_dimension(),
        "n_values": int(train.recorded.sum()),
    }


def shift_neurons(trials: Trials) -> Trials:
    """Each neuron's activity, taken through all trials, shifted in a circle by an amount of its own.

    Every neuron keeps its values and its smoothness in time, but neurons no longer vary together: a dimension that is
    the same here is no property of the population.
    """
    generator = np.random.default_rng(CONTROL_SEED)
    frames = trials.values[trials.recorded]
    shifts = generator.integers(len(frames), size=frames.shape[1])
    rows = (np.arange(len(frames))[:, None] - shifts) % len(frames)
    values = np.zeros_like(trials.values)
    values[trials.recorded] = np.take_along_axis(frames, rows, axis=0)
    return replace(trials, values=values)
