"""From the frames of a file to a recording: the unit of time, frames outside trials, trial ids and gaps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from odevae.data.missing import interpolated_activity, refuse_missing, trials_with_missing
from odevae.data.recording import (
    Recording,
    as_arrays,
    check_frames,
    from_arrays,
    listed_ids,
    neighbours,
    silent_neurons,
    timing,
    trial_lengths,
)
from odevae.data.session_trials import Session, TrialSource, trial_source, trials_of_session
from odevae.data.trial_ids import trial_of_each_frame
from odevae.data.trials import off_interval
from odevae.errors import OdevaeError

# What one unit of Time lasts, in seconds. MATLAB's datenum counts days.
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "days": 86400.0}
FRAME_NUMBERS = "frames"
# No recording has more than 10 000 frames in a second, and frames of more than 5 s follow no trial.
FRAME_INTERVAL_S = (1e-4, 5.0)
LONGEST_TRIAL_S = 3600.0
USUAL_INTERVAL_S = 2.0  # a unit that gives no longer frame interval is the likely one
NO_TRIAL_SENTENCE = (
    "the file has no Trial, so nothing says which frames are one trial; add Trial, the id of the trial of each frame, "
    "to the file, or set in datasets.{where}.trials one of table (a CSV file with start and stop), intervals (of the "
    "file), covariate (trials begin at its events) and window_s (windows)."
)


@dataclass(frozen=True)
class ReadingSettings:
    """What a data set says of its file.

    Attributes:
        time_unit: what ``Time`` counts: a key of `SECONDS`, the seconds that one unit lasts, or ``frames`` for frame
            numbers, which are used as they are. None takes it for seconds, unless it has only whole steps.
        no_trial: the trial id of frames outside trials. NaN is always one.
        renumber_trials: give every stretch of one trial id its own number, from 1.
        irregular_trials: ``refuse``, or ``drop`` for leaving out trials of one frame and trials with a step that is no
            frame interval.
        bridge_frames: up to so many missing frames in a row are filled in, on a line between their neighbours.
        missing: what becomes of NaN in the activity of trials: ``refuse``, ``drop`` for leaving out those trials, or
            ``interpolate``, see `odevae.data.missing.interpolated_activity`.
        trials: where the trials come from, if not from the ``Trial`` of the file.
    """

    time_unit: str | float | None = None
    no_trial: int | None = None
    renumber_trials: bool = False
    irregular_trials: str = "refuse"
    bridge_frames: int = 0
    missing: str = "refuse"
    trials: TrialSource | None = None

    @classmethod
    def of(cls, entry: Mapping) -> "ReadingSettings":
        """The settings that the configuration gives for a data set, by their names."""
        trials = {"trials": trial_source(entry["trials"])} if "trials" in entry else {}
        return cls(**{**entry, **trials})


@dataclass(frozen=True)
class Frames:
    """``T`` frames as a file holds them, of one length.

    Attributes:
        activity: ``(T, N)``, float32 or float64.
        trial: ``(T,)`` float64, whole numbers; NaN outside trials. None if the file has no trial of each frame.
        time: ``(T,)`` float64, in the file's unit.
        covariates: by name, each ``(T,)`` float64.
        latents: ``(T, d)`` float64 or None.
        left_out: why a variable of the file is no covariate, by name.
        intervals: tables of intervals by name, each ``(K, 2)`` float64, start and stop in the file's unit of time.
    """

    activity: np.ndarray
    trial: np.ndarray | None
    time: np.ndarray
    covariates: dict[str, np.ndarray] = field(default_factory=dict)
    latents: np.ndarray | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, np.ndarray] = field(default_factory=dict)

    def mapped(self, change, **others: np.ndarray) -> "Frames":
        """``change`` of the activity, the covariates and the latents; `others` replace the other arrays."""
        return replace(
            self,
            activity=change(self.activity),
            covariates={name: change(values) for name, values in self.covariates.items()},
            latents=None if self.latents is None else change(self.latents),
            **others,
        )

    def take(self, kept: np.ndarray) -> "Frames":
        """The frames that a mask or indices choose."""
        trial = None if self.trial is None else self.trial[kept]
        return self.mapped(lambda values: values[kept], trial=trial, time=self.time[kept])


def frames_as_arrays(frames: Frames) -> dict[str, np.ndarray]:
    """Frames as plain arrays for a file."""
    rows = [[name, len(table)] for name, table in frames.intervals.items()]
    arrays = as_arrays(frames, left_out=frames.left_out, interval_rows=rows)
    return arrays | {"intervals": np.concatenate([np.empty((0, 2)), *frames.intervals.values()])}


def frames_from_arrays(arrays: Mapping[str, np.ndarray]) -> Frames:
    """The frames that `frames_as_arrays` made into arrays."""
    fields = from_arrays(arrays)
    intervals, start = {}, 0
    for name, count in fields.pop("interval_rows"):
        intervals[name], start = arrays["intervals"][start : start + count], start + count
    return Frames(**fields, intervals=intervals)


def recording_of(frames: Frames, settings: ReadingSettings, *, units: str, source: dict) -> Recording:
    """Apply the settings of a data set to the frames of its file.

    Args:
        frames: from one of the readers.
        settings: of the data set.
        units: unit of the activity.
        source: ``name`` of the data set, ``file`` and ``sha256``; ``reading`` and ``left_out`` are added.

    Raises:
        OdevaeError: if there are no trials, an id is used again, Time cannot be in the stated unit, values are missing,
            or the frames are no trials.
    """
    where = str(source["name"])
    trials_from = None
    if settings.trials is not None:
        frames, trials_from = _with_trials(frames, settings, where)
        settings = replace(settings, time_unit=FRAME_NUMBERS if settings.time_unit == FRAME_NUMBERS else "s")
    if frames.trial is None:
        raise OdevaeError(f"{where}: {NO_TRIAL_SENTENCE.format(where=where)}")
    trial, outside = trial_of_each_frame(frames.trial, frames.time, settings.no_trial, settings.renumber_trials, where)
    if settings.renumber_trials:
        # The ids of the file may say more than where a trial begins, for instance its type.
        frames = replace(frames, covariates={"Trial": frames.trial} | frames.covariates)
    numbers = np.flatnonzero(~outside)
    kept = replace(frames if not outside.any() else frames.take(numbers), trial=trial[numbers])
    kept, numbers, missing, filled = _without_missing(kept, numbers, settings.missing, where)
    refuse = settings.irregular_trials == "refuse"
    if refuse:
        check_frames(where, kept.activity, kept.trial, kept.time, numbers)
    kept = replace(kept, time=kept.time * _seconds_of_unit(kept.time, kept.trial, settings.time_unit, where))
    _, steps = _steps(kept)
    interval = float(np.median(steps[steps > 0])) if (steps > 0).any() else np.nan
    irregular = np.array([], dtype=np.int64)
    if not refuse:
        irregular = _irregular(kept, interval, settings.bridge_frames)
        stays = ~np.isin(kept.trial, irregular)
        if len(irregular) and not stays.any():
            raise OdevaeError(
                f"{where}: all {len(irregular)} trials are irregular, so datasets.{where}.irregular_trials: drop "
                f"leaves none; check Time, or raise datasets.{where}.bridge_frames."
            )
        kept, numbers = kept.take(stays), numbers[stays]
        check_frames(where, kept.activity, kept.trial, kept.time, numbers)
    whole = _bridged(kept, interval, settings.bridge_frames)
    reading = {
        "time_unit": FRAME_NUMBERS if settings.time_unit == FRAME_NUMBERS else "s",
        "trials_from": trials_from,
        "frames_outside_trials": int(outside.sum()),
        "outside_fraction": float(outside.mean()),
        "renumbered_trials": settings.renumber_trials,
        "dropped_trials": np.union1d(irregular, missing).tolist(),
        "dropped_for_missing": missing.tolist(),
        "irregular_trials": len(_irregular(whole, interval, 0)),
        "bridged_frames": len(whole.trial) - len(kept.trial),
        "filled_values": filled,
    }
    source = source | {"reading": reading, "left_out": frames.left_out}
    return Recording(whole.activity, whole.trial, whole.time, whole.covariates, whole.latents, units, source)


def described(recording: Recording) -> str:
    """What was read, for a log: sizes, clock, and what the settings of the data set changed."""
    clock, reading = timing(recording), recording.reading
    unit = clock["time_unit"]
    shortest, median, longest = clock["trial_lengths"]
    rate = "Time counts frames" if unit == FRAME_NUMBERS else f"{clock['frame_rate']:.4g} Hz"
    ids = recording.trial_ids
    silent = int(silent_neurons(recording).sum())
    parts = [
        f"{recording.n_neurons} neurons ({silent} silent), {recording.n_frames} frames, {rate}",
        f"{len(ids)} trials (ids {ids[0]} to {ids[-1]}) of {shortest:.4g} to {longest:.4g} {unit}, median {median:.4g}",
        f"{len(recording.covariates)} covariates",
        f"{reading['frames_outside_trials']} frames outside trials",
        f"{reading['filled_values']} missing values filled in",
        f"{reading['irregular_trials']} irregular trials",
    ]
    if reading["trials_from"]:
        parts.append(reading["trials_from"])
    if reading["renumbered_trials"]:
        parts.append("trials numbered in the order of the file")
    if silent := recording.source.get("silent_neurons"):
        parts.append(f"neurons that are silent in a session: {', '.join(map(str, silent))}")
    missing = reading["dropped_for_missing"]
    if irregular := sorted(set(reading["dropped_trials"]) - set(missing)):
        parts.append(f"dropped as irregular: {listed_ids(np.array(irregular))}")
    if missing:
        parts.append(f"dropped for missing values: {listed_ids(np.array(missing))}")
    if reading["bridged_frames"]:
        parts.append(f"{reading['bridged_frames']} missing frames filled in")
    left_out = recording.source.get("left_out", {})
    if left_out:
        parts.append(f"no covariates: {', '.join(sorted(left_out))}")
    return "; ".join(parts)


def _steps(frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Each step from frame to frame of a trial: the later frame, and the time that passes."""
    _, earlier, later = neighbours(frames.trial)
    return later, frames.time[later] - frames.time[earlier]


def _with_trials(frames: Frames, settings: ReadingSettings, where: str) -> tuple[Frames, str]:
    """The frames with time in seconds and the trials that the data set asks for; and how those were found."""
    known = np.isfinite(frames.time)
    # One clock is no trial, but shows the unit of time as well as a trial does.
    clock = np.cumsum(np.diff(frames.time[known], prepend=-np.inf) < 0)
    seconds = _seconds_of_unit(frames.time[known], clock, settings.time_unit, where, longest_trial_s=np.inf)
    session = Session(
        where=where,
        time=frames.time * seconds,
        unit=FRAME_NUMBERS if settings.time_unit == FRAME_NUMBERS else "s",
        covariates=frames.covariates,
        intervals={name: table * seconds for name, table in frames.intervals.items()},
    )
    trial, found = trials_of_session(settings.trials, session)
    inside = np.isfinite(trial)
    if not inside.any():
        raise OdevaeError(f"{where}: {found.said}: none has a frame; check datasets.{where}.trials.")
    covariates = {} if frames.trial is None else {"Trial": frames.trial}
    for name, values in found.covariates.items():
        covariates[name] = np.full(len(trial), np.nan)
        covariates[name][inside] = values[trial[inside].astype(np.int64) - 1]
    return replace(
        frames,
        trial=trial,
        time=session.time,
        covariates=covariates | frames.covariates,
        left_out=frames.left_out | found.left_out,
    ), found.said


def _without_missing(
    frames: Frames, numbers: np.ndarray, choice: str, where: str
) -> tuple[Frames, np.ndarray, np.ndarray, int]:
    """Frames of trials without NaN in their activity, as the data set wants it.

    Returns:
        The frames; their numbers in the file; ids of the trials that were left out; how many values were filled.
    """
    none = np.array([], dtype=np.int64)
    if choice == "interpolate":
        activity, filled = interpolated_activity(where, frames.activity, frames.trial, frames.time)
        return replace(frames, activity=activity), numbers, none, filled
    if choice == "refuse":
        refuse_missing(where, frames.activity, frames.trial, numbers)
        return frames, numbers, none, 0
    missing = trials_with_missing(frames.activity, frames.trial)
    stays = ~np.isin(frames.trial, missing)
    if len(missing) and not stays.any():
        raise OdevaeError(
            f"{where}: the activity is NaN in all {len(missing)} trials, so datasets.{where}.missing: drop leaves "
            "none; set it to interpolate, or remove the neurons that are NaN from the file."
        )
    return (frames.take(stays) if len(missing) else frames), numbers[stays], missing, 0


def _seconds_of_unit(
    time: np.ndarray, trial: np.ndarray, unit: str | float | None, where: str, longest_trial_s: float = LONGEST_TRIAL_S
) -> float:
    """How long one unit of Time lasts in seconds; 1 if it counts frames, which are used as they are.

    Raises:
        OdevaeError: if it cannot be in that unit.
    """
    if unit == FRAME_NUMBERS:
        return 1.0
    seconds = float(SECONDS.get(unit or "s", unit))
    _, earlier, later = neighbours(trial)
    steps = time[later] - time[earlier]
    forward = steps[steps > 0]
    if not len(forward):
        return seconds
    step, length = float(np.median(forward)), float(np.median(trial_lengths(trial[later], steps)))
    shortest, longest = FRAME_INTERVAL_S
    if unit is None and (forward == np.rint(forward)).all():
        problem = f"has whole steps only (median {step:.6g}), as frame numbers and clocks in ms have, not seconds"
    elif not (shortest <= step * seconds <= longest and length * seconds <= longest_trial_s):
        problem = (
            f"cannot be in {unit or 's'}, because a frame would last {step * seconds:.4g} s and "
            f"{'a trial' if np.isfinite(longest_trial_s) else 'the recording'} {length * seconds:.4g} s (medians)"
        )
    else:
        return seconds
    likely = [FRAME_NUMBERS] if step == 1 else []
    likely += [name for name, s in SECONDS.items() if s != 1 and shortest < step * s <= USUAL_INTERVAL_S]
    raise OdevaeError(
        f"{where}: Time {problem}; set datasets.{where}.time_unit to what it counts"
        f"{f' (most likely {likely[0]})' if likely else ''}: {', '.join(SECONDS)}, the seconds that one unit lasts, or "
        f"{FRAME_NUMBERS} for frame numbers that are used as they are."
    )


def _irregular(frames: Frames, interval: float, bridge_frames: int) -> np.ndarray:
    """Ids of the trials of one frame, and of those with a step that is no frame interval and cannot be bridged."""
    alone, _, _ = neighbours(frames.trial)
    later, steps = _steps(frames)
    wrong = (steps <= 0) | (off_interval(steps, interval) & ~_short_gap(steps, interval, bridge_frames))
    return np.unique(np.concatenate([frames.trial[alone], frames.trial[later[wrong]]]))


def _short_gap(steps: np.ndarray, interval: float, bridge_frames: int) -> np.ndarray:
    missing = np.rint(steps / interval) - 1
    return off_interval(steps, interval) & (missing >= 1) & (missing <= bridge_frames)


def _bridged(frames: Frames, interval: float, bridge_frames: int) -> Frames:
    """The frames with gaps of up to `bridge_frames` filled on a line, at equal steps of time."""
    later, steps = _steps(frames)
    short = _short_gap(steps, interval, bridge_frames)
    if not short.any():
        return frames
    # Frames of a trial are neighbours in the file here. Each is followed by parts - 1 new ones.
    parts = np.ones(len(frames.trial), dtype=np.int64)
    parts[later[short] - 1] = np.rint(steps[short] / interval)
    before = np.repeat(np.arange(len(parts)), parts)
    share = (np.arange(len(before)) - np.repeat(np.cumsum(parts) - parts, parts)) / parts[before]
    new = np.flatnonzero(share)

    def filled(values: np.ndarray) -> np.ndarray:
        result = values[before]
        start, end = result[new], values[before[new] + 1]
        result[new] = start + share[new].reshape(-1, *[1] * (values.ndim - 1)) * (end - start)
        return result

    return frames.mapped(filled, trial=frames.trial[before], time=filled(frames.time))
