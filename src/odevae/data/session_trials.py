"""Trials of a continuous session: from a table, from intervals of its file, from events in a covariate, or windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from odevae.data.trial_table import read_trial_table
from odevae.data.windows import SESSION, WINDOW, window_starts
from odevae.errors import OdevaeError

# Where a trial begins and ends is compared with the time of a frame up to this share of the frame interval.
ROUNDING = 1e-6
# A trial is whole if no more than this is missing at its end, in frame intervals.
END_MISSING = 1.5
LISTED = 5


@dataclass(frozen=True)
class Session:
    """``T`` frames of a session as trials are looked for in it.

    Attributes:
        where: the data set, for messages.
        time: ``(T,)`` in seconds, or in frames if the data set says so; NaN where it is not known.
        unit: of `time`, ``s`` or ``frames``.
        covariates: by name, each ``(T,)``.
        intervals: tables of the file by name, each ``(K, 2)``, in the unit of `time`.
    """

    where: str
    time: np.ndarray
    unit: str = "s"
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    intervals: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What the configuration calls the trials."""
        return f"datasets.{self.where}.trials"

    @cached_property
    def known(self) -> np.ndarray:
        """The frames whose time is known, ``(K,)``."""
        return np.flatnonzero(np.isfinite(self.time))

    @cached_property
    def clock(self) -> np.ndarray:
        """The number of the clock of each frame of `known`, from 0; a new one begins where time goes back."""
        return np.cumsum(np.diff(self.time[self.known], prepend=-np.inf) < 0)

    @cached_property
    def interval(self) -> float:
        """The median frame interval."""
        steps = np.diff(self.time[self.known])
        if not (steps > 0).any():
            raise OdevaeError(f"{self.where}: Time never increases, so no trial can be cut; correct Time.")
        return float(np.median(steps[steps > 0]))

    def between(self, starts: np.ndarray, stops: np.ndarray, clock: int = 0) -> list[np.ndarray]:
        """The frames of one clock from each start up to, but not at, its stop."""
        frames = self.known[self.clock == clock]
        time, shift = self.time[frames], ROUNDING * self.interval
        bounds = (np.searchsorted(time, np.asarray(at) - shift) for at in (starts, stops))
        return [frames[first:stop] for first, stop in zip(*bounds, strict=True)]

    def require_one_clock(self, what: str, instead: str) -> None:
        """Refuse times that a session has more than once.

        Raises:
            OdevaeError: naming the frame where time goes back.
        """
        again = np.flatnonzero(np.diff(self.clock))
        if len(again):
            raise OdevaeError(
                f"{self.where}: Time goes back at {len(again)} frames, first at frame {self.known[again[0] + 1]}, so "
                f"{what} of {self.key} may lie in several places; {instead}."
            )


@dataclass(frozen=True)
class SessionTrials:
    """The ``K`` trials that were found in a session.

    Attributes:
        frames: of each trial, ascending numbers; none for a trial that was not recorded.
        said: how they were found, for a log.
        covariates: constant in each trial, by name, each ``(K,)``.
        left_out: why a column of a table is no covariate.
    """

    frames: list[np.ndarray]
    said: str
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableOfTrials:
    """Trials from a file.

    Attributes:
        table: path of a CSV file, see `read_trial_table`.
        unit: ``s``, which means the unit of the recording's time, or ``frames`` for numbers of frames from 0; the
            frame at the stop is not in the trial.
    """

    table: str
    unit: str = "s"

    def of(self, session: Session) -> SessionTrials:
        table = read_trial_table(self.table)
        said = f"{len(table.bounds)} trials of the table {Path(self.table).name}"
        if self.unit == "frames":
            n_frames = len(session.time)
            bad = np.flatnonzero((table.bounds != np.rint(table.bounds)).any(axis=1) | (table.bounds < 0).any(axis=1))
            bad = bad if len(bad) else np.flatnonzero(table.bounds[:, 1] > n_frames)
            if len(bad):
                raise OdevaeError(
                    f"{self.table}: start and stop of {_rows(bad)} are no numbers of frames of a recording of "
                    f"{n_frames}; give whole numbers from 0 to {n_frames}, or set {session.key}.unit: s."
                )
            frames = [np.arange(start, stop) for start, stop in table.bounds.astype(np.int64)]
        else:
            session.require_one_clock("start and stop", f"give frames in the table and set {session.key}.unit: frames")
            frames, left_out = _recorded(table.bounds, session, self.table)
            said += left_out
        taken = sorted(set(table.covariates) & set(session.covariates))
        if taken:
            raise OdevaeError(f"{self.table}: the recording has a covariate {taken[0]} too; rename that column.")
        return SessionTrials(frames, said, table.covariates, table.left_out)


@dataclass(frozen=True)
class IntervalsOfFile:
    """Trials from a table of intervals that the recording's file holds, by its name."""

    intervals: str

    def of(self, session: Session) -> SessionTrials:
        if self.intervals not in session.intervals:
            raise OdevaeError(
                f"config: {session.key}.intervals: the file has no intervals {self.intervals!r}; it has "
                f"{', '.join(session.intervals) or 'none'}."
            )
        session.require_one_clock("the intervals", f"use {session.key}.table with unit: frames")
        bounds = session.intervals[self.intervals]
        frames, left_out = _recorded(bounds, session, f"{session.where}, intervals {self.intervals}")
        return SessionTrials(frames, f"{len(bounds)} trials of the intervals {self.intervals} of the file{left_out}")


@dataclass(frozen=True)
class EventsInCovariate:
    """Trials that begin at events.

    Attributes:
        covariate: an event is where it reaches `threshold` from below, or without one where it leaves 0. NaN is taken
            for below, or for 0.
        duration_s: length of a trial; None for up to the next event on the same clock.
    """

    covariate: str
    threshold: float | None = None
    duration_s: float | None = None

    def of(self, session: Session) -> SessionTrials:
        if self.covariate not in session.covariates:
            raise OdevaeError(
                f"config: {session.key}.covariate: no covariate {self.covariate!r} with a number for each frame; the "
                f"recording has {', '.join(session.covariates) or 'none'}."
            )
        known, clock = session.known, session.clock
        values = session.covariates[self.covariate][known]
        with np.errstate(invalid="ignore"):
            on = values >= self.threshold if self.threshold is not None else np.nan_to_num(values) != 0
        events = np.flatnonzero(on[1:] & ~on[:-1] & (clock[1:] == clock[:-1])) + 1
        what = "leaves 0" if self.threshold is None else f"reaches {self.threshold:g} from below"
        if not len(events):
            shown = values[np.isfinite(values)]
            between = f"it lies between {shown.min():g} and {shown.max():g}" if len(shown) else "it is NaN everywhere"
            raise OdevaeError(
                f"config: {session.key}: {self.covariate} never {what}, {between}; change threshold or the covariate."
            )
        said = f"trials from {len(events)} events, where {self.covariate} {what}"
        return self._until_next(session, events, said) if self.duration_s is None else self._long(session, events, said)

    def _until_next(self, session: Session, events: np.ndarray, said: str) -> SessionTrials:
        known, clock = session.known, session.clock
        pairs = [(a, b) for a, b in pairwise(events) if clock[a] == clock[b]]
        if not pairs:
            raise OdevaeError(
                f"config: {session.key}: {self.covariate} has {len(events)} events, and none has a next one; give "
                "duration_s."
            )
        return SessionTrials([known[a:b] for a, b in pairs], f"{said}, each to the next")

    def _long(self, session: Session, events: np.ndarray, said: str) -> SessionTrials:
        known, clock = session.known, session.clock
        time, rounding = session.time[known], ROUNDING * session.interval
        frames, within, cut_short = [], 0, 0
        last = (-1, -np.inf)  # clock and end of the last trial
        for event in events:
            begin = time[event]
            if clock[event] == last[0] and begin < last[1] - rounding:
                within += 1
                continue
            found = session.between([begin], [begin + self.duration_s], clock[event])[0]
            if not _whole(session, found, begin, self.duration_s):
                cut_short += 1
                continue
            frames.append(found)
            last = clock[event], begin + self.duration_s
        if not frames:
            raise OdevaeError(
                f"config: {session.key}: after none of {len(events)} events the recording goes on for duration_s, "
                f"{self.duration_s:g} {session.unit}; lower it."
            )
        said += f", each {self.duration_s:g} {session.unit} long"
        said += f"; {within} events within the trial of another begin none" if within else ""
        said += f"; {cut_short} trials that were not recorded whole are left out" if cut_short else ""
        return SessionTrials(frames, said)


@dataclass(frozen=True)
class Windows:
    """Windows of each stretch of a session as its trials.

    Attributes:
        window_s: length of a window.
        gap_s: time between two windows that belongs to none.
    """

    window_s: float
    gap_s: float = 0.0

    def of(self, session: Session) -> SessionTrials:
        known, clock, interval = session.known, session.clock, session.interval
        frames, numbers, cut_short, too_short = [], {SESSION: [], WINDOW: []}, 0, 0
        for number in np.unique(clock):
            time = session.time[known[clock == number]]
            # The last frame lasts as long as the others.
            until = time[-1] + interval
            starts = window_starts(time[0], until, self.window_s, self.gap_s, END_MISSING * interval)
            found = session.between(starts, starts + self.window_s, number)
            whole = [_whole(session, f, start, self.window_s) for f, start in zip(found, starts, strict=True)]
            frames += [f for f, is_whole in zip(found, whole, strict=True) if is_whole]
            cut_short += len(whole) - sum(whole)
            too_short += not len(starts)
            numbers[SESSION] += [number + 1.0] * sum(whole)
            numbers[WINDOW] += (np.flatnonzero(whole) + 1.0).tolist()
        if not frames:
            longest = max(np.ptp(session.time[known[clock == number]]) for number in np.unique(clock)) + interval
            raise OdevaeError(
                f"config: {session.key}: no window of {self.window_s:g} {session.unit} is recorded whole, and the "
                f"longest stretch of the recording lasts {longest:.6g} {session.unit}; lower window_s."
            )
        said = f"windows of {self.window_s:g} {session.unit}"
        said += f", {self.gap_s:g} {session.unit} apart" if self.gap_s else ""
        said += f"; {cut_short} windows that were not recorded whole are left out" if cut_short else ""
        said += f"; {too_short} of {clock[-1] + 1} sessions are too short for a window" if too_short else ""
        covariates = {name: np.array(values) for name, values in numbers.items() if name not in session.covariates}
        return SessionTrials(frames, said, covariates)


TrialSource = TableOfTrials | IntervalsOfFile | EventsInCovariate | Windows
# By the key of the configuration that each of them needs.
SOURCES = {
    "table": TableOfTrials,
    "intervals": IntervalsOfFile,
    "covariate": EventsInCovariate,
    "window_s": Windows,
}


def trial_source(entry: Mapping) -> TrialSource:
    """Where trials come from, of what the configuration says under ``trials``."""
    return next(source for key, source in SOURCES.items() if key in entry)(**entry)


def trials_of_session(source: TrialSource, session: Session) -> tuple[np.ndarray, SessionTrials]:
    """The number of the trial of each frame, ``(T,)`` float64 from 1, NaN outside trials; and what was found.

    Trials are numbered in the order of their table, or of the recording.

    Raises:
        OdevaeError: if there are none, or a frame lies in two trials.
    """
    found = source.of(session)
    trial = np.full(len(session.time), np.nan)
    for number, frames in enumerate(found.frames, start=1):
        shared = frames[np.isfinite(trial[frames])]
        if len(shared):
            raise OdevaeError(
                f"{session.where}: trials {trial[shared[0]]:.0f} and {number} share {len(shared)} frames "
                f"({found.said}), "
                f"first frame {shared[0]}, but a frame belongs to one trial only; correct start and stop."
            )
        trial[frames] = number
    return trial, found


def _whole(session: Session, frames: np.ndarray, start: float, duration: float) -> bool:
    """Whether a trial was recorded from its start to its end, whatever is missing between."""
    missing = END_MISSING * session.interval
    return len(frames) > 1 and (
        session.time[frames[0]] - start < missing and start + duration - session.time[frames[-1]] < missing + ROUNDING
    )


def _recorded(bounds: np.ndarray, session: Session, where: str) -> tuple[list[np.ndarray], str]:
    """The frames of each trial that was recorded whole, none of the others; and how many those are, as text.

    Raises:
        OdevaeError: if no trial was recorded.
    """
    time = session.time[session.known]
    frames = session.between(*bounds.T)
    lost = (bounds[:, 0] < time[0] - session.interval) | (bounds[:, 1] > time[-1] + END_MISSING * session.interval)
    lost |= np.array([len(f) < 2 for f in frames])
    rows = np.flatnonzero(lost)
    if lost.all():
        raise OdevaeError(
            f"{where}: none of {len(bounds)} trials has two frames inside the recording, which lasts from "
            f"{time[0]:.9g} to {time[-1]:.9g} {session.unit}; they lie between {np.nanmin(bounds):.9g} and "
            f"{np.nanmax(bounds):.9g}, so check that both are on one clock and in one unit."
        )
    said = f"; {_rows(rows)} left out, because they were not recorded whole" if len(rows) else ""
    return [f[:0] if out else f for f, out in zip(frames, lost, strict=True)], said


def _rows(rows: np.ndarray) -> str:
    """Rows of a table as text, counted from 1; the first few of many."""
    shown = ", ".join(str(row + 1) for row in rows[:LISTED])
    more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"
