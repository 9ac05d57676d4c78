"""Whether a recording has dynamics: what a field predicts of the second halves of trials, and the answer to that.

A latent path that is smooth is no evidence of dynamics, since any smooth cause gives one. Dynamics are there if the
state determines what follows it. So the state of each test trial is estimated from the first half of the trial, and the
field alone predicts the second half. Its control has the same model and the same state, and no field: the latents are
held, or drawn back to their mean, as those of every stationary process are.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# A field that predicts less than this share of what can be predicted is no dynamics that anyone would look for.
SMALLEST_SHARE = 0.05
# Fewest independent trials, or groups of them, for an interval.
FEWEST_UNITS = 3
YES, NO, CANNOT_TELL = "yes", "no", "cannot tell"


class SecondHalves(NamedTuple):
    """What is known of the second halves of the test trials, each list one entry a trial.

    Attributes:
        gain: nats by which the field predicts them better than its control.
        predictable: nats by which latents that see the rest of the trial predict hidden entries better than each
            neuron's mean does.
        unit: what a trial belongs to, see `odevae.protocols.fold.Fold.independent_units`.
    """

    gain: list[float]
    predictable: list[float]
    unit: list[float]


class Verdict(NamedTuple):
    """Attributes:
    answer: ``yes`` if the whole interval of `share` lies above `SMALLEST_SHARE`, ``no`` if it lies below, else
        ``cannot tell``.
    share: what the field gains over its control, as a share of what is predictable.
    low, high: ends of its interval at `odevae.benchmark.comparison.CONFIDENCE`, over independent trials or groups; NaN
        if there are too few.
    n_units: of these.
    because: the reason, as the end of a sentence.
    """

    answer: str
    share: float
    low: float
    high: float
    n_units: int
    because: str


def verdict(gain: Sequence[float], predictable: Sequence[float], unit: Sequence[float]) -> Verdict:
    """The verdict on some trials, of one split or of several; see `SecondHalves`.

    The share is a ratio of sums; its interval comes from the deviations of the units from that ratio (delta method). A
    trial that several splits test is one unit.
    """
    _, rows = np.unique(np.asarray(unit), return_inverse=True)
    gains, wholes = (np.bincount(rows, np.asarray(values, dtype=float)) for values in (gain, predictable))
    n, whole = len(gains), wholes.sum()
    if whole <= 0:
        reason = because(CANNOT_TELL, math.nan, math.nan, math.nan, n)
        return Verdict(CANNOT_TELL, math.nan, math.nan, math.nan, n, reason)
    share = float(gains.sum() / whole)
    half = math.nan
    if n >= FEWEST_UNITS:
        # Slow to import, and other models need none of it.
        from scipy.special import stdtrit

        from odevae.benchmark.comparison import CONFIDENCE

        error = np.std(gains - share * wholes, ddof=1) * math.sqrt(n) / whole
        half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * error)
    low, high = share - half, share + half
    answer = answer_of(low, high)
    return Verdict(answer, share, low, high, n, because(answer, share, low, high, n))


def answer_of(low: float, high: float) -> str:
    """The answer from the interval of the share, whose ends are NaN if there is none."""
    return YES if low > SMALLEST_SHARE else NO if high < SMALLEST_SHARE else CANNOT_TELL


def because(answer: str, share: float, low: float, high: float, n_units: int) -> str:
    """The reason for an answer, from the rest of the `Verdict`."""
    if math.isnan(share):
        return "the latents say nothing of activity that is hidden from them"
    if math.isnan(low):
        return f"{n_units} independent test trials are too few for an interval (fewest: {FEWEST_UNITS})"
    found = (
        f"from the first half of a trial the field predicts {share:z.0%} [{low:z.0%}, {high:z.0%}] of what can be "
        f"predicted of the second half, beyond latents that are held or drawn back to their mean ({n_units} "
        "independent trials or groups of trials)"
    )
    return found if answer != CANNOT_TELL else f"{found}, and {SMALLEST_SHARE:.0%} lies in the interval"
