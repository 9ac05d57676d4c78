"""The width of a smoothing kernel that looks ahead, estimated from a recording.

Smoothing over past and future frames carries each frame's activity into the frames around it, so a forecast at a
horizon below the kernel's width predicts, in part, frames that it has seen.
"""

import numpy as np

from odevae.data.trials import Trials

# Lags (frames) that are compared, and the widest kernel that is looked for; trials are hardly longer than two kernels.
N_LAGS = 24
WIDEST = 43
# A window of w frames holds a Gaussian of SD w / 5, as that of MATLAB's `smoothdata`.
WINDOW_OVER_SD = 5
# In steps of .01: with .02 two neighbouring widths are nearly equally good on E65, with .005 the width is the same.
DECAYS = np.linspace(0, 0.98, 99)
NEURONS_AT_ONCE = 64


def kernel_width(trials: Trials) -> int:
    """Width (frames) of the Gaussian window that activity was smoothed with; 1 if it was not smoothed.

    A transient that decays by a constant share every frame has an autocorrelation with a sharp peak at lag 0; a
    smoothing kernel rounds the peak. The width is that of the model ``kernel * exponential decay`` that is nearest to
    the autocovariance of single neurons, added over all of them, in its first `N_LAGS` lags. Only odd widths are
    looked for, because a kernel is symmetric about its frame.

    Activity that is smooth by itself looks smoothed, as that of a simulation without noise. A threshold after the
    smoothing can make a narrow kernel look up to two frames wider.
    """
    observed = autocovariance(trials)
    if not observed[0] > 0:
        return 1
    known = np.isfinite(observed)
    errors = {}
    for width in range(1, WIDEST + 1, 2):
        for decay in DECAYS:
            model = _model(width, decay)[known]
            scale = model @ observed[known] / (model @ model)
            errors[width, decay] = ((observed[known] - scale * model) ** 2).sum()
    return min(errors, key=errors.get)[0]


def autocovariance(trials: Trials) -> np.ndarray:
    """Mean product of each neuron's deviations from its mean at two frames of a trial, added over neurons.

    Returns:
        ``(N_LAGS + 1,)``, lag 0 first; NaN for a lag that no trial has.
    """
    recorded = trials.recorded
    n_bins, n_neurons = trials.values.shape[1:]
    pairs = np.array(
        [(recorded[:, lag:] & recorded[:, : n_bins - lag]).sum() for lag in range(min(N_LAGS + 1, n_bins))]
    )
    products = np.zeros(len(pairs))
    for start in range(0, n_neurons, NEURONS_AT_ONCE):
        block = trials.values[:, :, start : start + NEURONS_AT_ONCE].astype(np.float64)
        # Bins outside a trial count in no product.
        block = np.where(recorded[..., None], block - block[recorded].mean(axis=0), 0.0)
        products += [np.vdot(block[:, lag:], block[:, : n_bins - lag]) for lag in range(len(pairs))]
    found = np.full(N_LAGS + 1, np.nan)
    found[: len(pairs)] = np.divide(products, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return found


def gaussian_window(width: int) -> np.ndarray:
    """A Gaussian over `width` frames, an odd number, that sums to 1: ``(width,)``."""
    frames = np.arange(width) - width // 2
    weights = np.exp(-0.5 * (WINDOW_OVER_SD * frames / width) ** 2)
    return weights / weights.sum()


def _model(width: int, decay: float) -> np.ndarray:
    """Autocovariance, up to its scale, of noise that decays by `decay` a frame and is smoothed, ``(N_LAGS + 1,)``."""
    window = gaussian_window(width)
    reach = N_LAGS + width - 1
    decaying = decay ** np.abs(np.arange(-reach, reach + 1))
    return np.convolve(decaying, np.convolve(window, window), "valid")[N_LAGS:]


def silent_frames(width: int) -> int:
    """Frames of silence after which a transient of another event has ended, for a kernel of some width.

    An event enters the frames up to half a kernel before and after it; one frame more is its own.
    """
    return width // 2 + 1
