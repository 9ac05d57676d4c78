"""From spike times to a recording: counts in bins, and windows of a session as its trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odevae.data.frames import Frames
from odevae.data.windows import SESSION, WINDOW, window_starts
from odevae.errors import OdevaeError

# Rounding may make a session shorter than its windows by this share of a bin.
ROUNDING = 1e-6


@dataclass(frozen=True)
class BinSettings:
    """How spikes become bins and trials.

    Attributes:
        bin_s: width of a bin, s.
        window_s: length of a window, s; a whole number of bins. Each window is a trial.
        start_s: where the first window of each session begins, s.
        stop_s: where the last window may end, s; None for the last spike of the session.
        gap_s: time between two windows that belongs to none, s.
    """

    bin_s: float
    window_s: float
    start_s: float = 0.0
    stop_s: float | None = None
    gap_s: float = 0.0

    @property
    def bins(self) -> int:
        """Number of bins of a window."""
        return round(self.window_s / self.bin_s)


@dataclass(frozen=True)
class SpikeList:
    """The spikes of one session.

    Attributes:
        neuron: ``(n,)`` int64, the id of the neuron of each spike.
        time: ``(n,)`` float64, s.
        where: the file, for messages.
    """

    neuron: np.ndarray
    time: np.ndarray
    where: str


def binned(sessions: Sequence[SpikeList], events: Mapping[str, Sequence[SpikeList]], settings: BinSettings) -> Frames:
    """Count the spikes of each neuron, and other events, in the windows of some sessions.

    A bin holds the spikes from its beginning up to, but not at, its end. The neurons are those that have a spike in any
    of the sessions, in the order of their ids, so a neuron that is silent in one session keeps its column. Time is that
    of the middle of a bin, on the clock of its session.

    Args:
        sessions: of the same neurons.
        events: for each covariate the events of every session; of all neurons together.
        settings: of the data set.

    Returns:
        Frames with the windows as trials, numbered from 1, and the covariates `SESSION`, `WINDOW` and those of `events`
        (counts for each bin).

    Raises:
        OdevaeError: if a session is shorter than a window, or a covariate has a name that is taken.
    """
    if taken := sorted({SESSION, WINDOW} & set(events)):
        raise OdevaeError(
            f"{sessions[0].where}: {taken[0]} is a covariate of every window; give the events another name."
        )
    ids = np.unique(np.concatenate([session.neuron for session in sessions]))
    counts, times, covariates = [], [], {name: [] for name in (SESSION, WINDOW, *events)}
    for number, session in enumerate(sessions):
        starts = _window_starts(session, settings)
        bins = len(starts) * settings.bins
        columns = np.searchsorted(ids, session.neuron)
        counts.append(_counts(session.time, columns, starts, settings, len(ids)))
        times.append((starts[:, None] + settings.bin_s * (np.arange(settings.bins) + 0.5)).ravel())
        covariates[SESSION].append(np.full(bins, number + 1.0))
        covariates[WINDOW].append(np.repeat(np.arange(1.0, len(starts) + 1), settings.bins))
        for name, lists in events.items():
            one_column = np.zeros(len(lists[number].time), dtype=np.int64)
            covariates[name].append(_counts(lists[number].time, one_column, starts, settings, 1)[:, 0])
    activity = np.concatenate(counts)
    return Frames(
        activity=activity,
        trial=np.repeat(np.arange(1.0, len(activity) // settings.bins + 1), settings.bins),
        time=np.concatenate(times),
        covariates={name: np.concatenate(values).astype(np.float64) for name, values in covariates.items()},
    )


def _window_starts(session: SpikeList, settings: BinSettings) -> np.ndarray:
    """Where the windows of a session begin, s: as many as end by its stop."""
    stop = session.time.max() if settings.stop_s is None else settings.stop_s
    starts = window_starts(
        settings.start_s, stop, settings.window_s, settings.gap_s, rounding=ROUNDING * settings.bin_s
    )
    if not len(starts):
        raise OdevaeError(
            f"{session.where}: from start_s {settings.start_s:g} to {stop:.6g} s, its end, there is no window of "
            f"{settings.window_s:g} s; lower start_s or window_s, or check the unit of the spike times (time_unit)."
        )
    return starts


def _counts(
    time: np.ndarray, column: np.ndarray, starts: np.ndarray, settings: BinSettings, n_columns: int
) -> np.ndarray:
    """Counts in the bins of all windows, ``(windows x bins, n_columns)`` float32."""
    edges = starts[:, None] + settings.bin_s * np.arange(settings.bins + 1)
    # The edges of all windows ascend, so one search finds both the window and the bin. Without a gap the last edge of a
    # window is the first of the next, but for rounding, and nothing lies between them.
    ascending = np.maximum.accumulate(edges.ravel())
    place = np.searchsorted(ascending, time, side="right") - 1
    window, number = np.divmod(place, settings.bins + 1)
    inside = (place >= 0) & (number < settings.bins)
    counts = np.zeros((len(starts) * settings.bins, n_columns), dtype=np.float32)
    np.add.at(counts, (window[inside] * settings.bins + number[inside], column[inside]), 1)
    return counts
