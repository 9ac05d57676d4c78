"""The table of a benchmark from the scores of its cells."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.dynamics import SecondHalves, verdict
from odevae.benchmark.families import DYNAMICS, EVENT_SCORES, Task
from odevae.benchmark.grid import WITHOUT_LATENTS, fits_of
from odevae.errors import OdevaeError
from odevae.events import DENSE
from odevae.protocols.few_trials import note_on_trials
from odevae.storage.files import read_json

# A row of its own for each model: from which dimension on more of them no longer help.
SATURATION, SATURATION_METRIC = "cosmooth_saturation", "latent_dim"
# What the verdict on dynamics compares a field with.
NO_FIELD = "no field"
_TASK = ["dataset", *Task._fields]
# What the splits of a score have in common, in the order of the table; a task's headline comes before its event scores.
_SCORE = [*_TASK, "place"]
_GROUP = [*_SCORE, "latent_dim", "model"]
_DIFFERENCE = ["compared_with", "difference", "difference_low", "difference_high", "smallest_difference"]
_NULLS = ["null_mean", "null_95"]
READABLE = {
    "dataset": "data",
    "task": "task",
    "metric": "score",
    "model": "model",
    "latent_dim": "D",
    "n_splits": "splits",
    "test_trials": "test trials",
    "mean": "mean",
    "sd": "SD",
    "compared_with": "compared with",
    "difference": "difference",
    "difference_low": "from",
    "difference_high": "to",
    "smallest_difference": "smallest difference that could be shown",
    "null_mean": "null",
    "null_95": "null (95 %)",
    "inside_kernel": "inside a kernel of (frames)",
    "auc_left_out": "neurons without AUC",
}
_COLUMNS = [*READABLE, "n_values", "n_events", "fit_s"]
# Each cell has these since it scores events.
_OF_EVENTS = ("events", "kernel_frames")


def benchmark_table(cells: list[dict], compare_with: dict[str, str]) -> pd.DataFrame:
    """A benchmark's table: one row for each data set, task, score, model and dimension.

    Args:
        cells: what the rule fit_benchmark_model wrote, any order, each dimension by itself (`grid.fits_of`).
        compare_with: model by family of tasks, from which differences are taken on the same splits: at the same
            dimension, or that of no latents.

    Returns:
        Mean and SD over splits of the headline score in recorded units on test trials, or of an event score; the paired
        difference with its interval and the smallest one that could be shown (`paired_difference`); the null of
        decoding; for a forecast less than a smoothing kernel ahead the width of the kernel; the mean number of neurons
        without an AUC; the fewest test trials of a split; values and events scored in all splits together, and mean
        time of a fit. The row
        ``cosmooth_saturation`` of a model holds a dimension (see `saturation`) as its mean. The row ``dynamics`` holds
        the verdict over all splits together (`odevae.benchmark.dynamics.verdict`): the share as mean and difference,
        and its independent trials as values. Cells are Python objects,
        None where there is no value.
    """
    scores = _scores(cells)
    table = (
        scores.groupby(_GROUP)
        .agg(
            task=("task", "first"),
            metric=("metric", "first"),
            n_splits=("value", "size"),
            # Of the split that has the fewest.
            test_trials=("test_trials", "min"),
            # A score that is not defined makes its mean undefined, too.
            mean=("value", lambda values: values.mean(skipna=False)),
            sd=("value", lambda values: values.std(skipna=False)),
            null_mean=("null_mean", "mean"),
            null_95=("null_95", "mean"),
            inside_kernel=("inside_kernel", "max"),
            auc_left_out=("auc_left_out", "mean"),
            n_events=("n_events", "sum"),
            n_values=("n_values", "sum"),
            fit_s=("fit_s", "mean"),
        )
        .join(_differences(scores, compare_with))
        .reset_index()
        .astype(object)
    )
    # NaN stays where a score or a difference is not defined; where there is none, the cell has no value.
    missing = table.isna().assign(
        latent_dim=table["latent_dim"] == WITHOUT_LATENTS,
        mean=False,
        sd=table["n_splits"] == 1,
        **dict.fromkeys(_DIFFERENCE[1:], table["compared_with"].isna()),
        n_events=~table["metric"].isin(EVENT_SCORES),
    )
    rows = table.mask(missing, None)[_COLUMNS].to_dict("records")
    judged = _verdicts(cells)
    rows = [row | judged.get(_fit_of(row), {}) if row["task"] == DYNAMICS else row for row in rows]
    rows += [dict.fromkeys(_COLUMNS) | row for row in _saturation_rows(scores)]
    return pd.DataFrame(rows, dtype=object)


def table_of_cells(files: Iterable[str | Path], compare_with: dict[str, str]) -> pd.DataFrame:
    """`benchmark_table` of the cells in some files.

    Raises:
        OdevaeError: if a file is missing or damaged, or comes from a version of odevae that scored no events.
    """
    fits = []
    for file in files:
        content = read_json(file)
        if lacking := [name for name in _OF_EVENTS if name not in content]:
            raise OdevaeError(
                f"{file}: has no {lacking[0]}, so an older version of odevae wrote it, which scored no events; delete "
                "it and run the workflow again."
            )
        fits += fits_of(content)
    return benchmark_table(fits, compare_with)


def notes_of_benchmark(table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know: how intervals are made, and what rests on little."""
    notes = [
        "Intervals (95 %) of paired differences account for splits that share training trials: t with n - 1 degrees of "
        "freedom, variance times 1/n + n_test/n_train (Nadeau and Bengio 2003). The smallest difference that could be "
        "shown is found in four of five such experiments."
    ]
    for dataset, rows in table.groupby("dataset", sort=False):
        trials = rows["test_trials"].dropna()
        notes.append(note_on_trials(dataset, int(trials.min())))
        # A verdict has no event scores, whatever the activity is.
        dense = not rows["metric"].isin(EVENT_SCORES).any() and (rows["task"] != DYNAMICS).any()
        if dense:
            notes.append(f"{dataset}: {DENSE} activity, which has no events, so there are no event scores.")
        # Dense activity may be smooth because what it encodes is.
        smooth = "changes smoothly over" if dense else "looks smoothed over"
        follows = "is easy for that reason alone" if dense else "predicts, in part, frames that it has seen"
        for kernel in rows["inside_kernel"].dropna().unique():
            notes.append(
                f"{dataset}: the activity {smooth} {kernel:.0f} frames, so a forecast less than that far ahead "
                f"{follows}."
            )
    return [note for note in notes if note]


def saturation(scores: pd.DataFrame, test_over_train: float) -> int:
    """The smallest dimension that is not distinguished from the best one.

    Args:
        scores: a column for each dimension, in increasing order, a row for each split.
        test_over_train: see `paired_difference`.

    Returns:
        The smallest dimension whose paired difference to that of the best mean has an interval that reaches 0.
    """
    best = scores.mean().idxmax()
    return next(
        dim
        for dim, values in scores.items()
        if dim == best or not paired_difference(values, scores[best], test_over_train).high < 0
    )


def _scores(cells: list[dict]) -> pd.DataFrame:
    """The scores of each cell and task that are compared, sorted by split."""
    rows = []
    for cell in cells:
        for name, scores in cell["scores"].items():
            task = Task.parse(name)
            row = {column: cell[column] for column in ("dataset", "model", "latent_dim", "split", "fit_s")}
            row |= {
                **task._asdict(),
                "task": name,
                "n_values": scores["n_values"],
                "n_events": scores.get("n_events", 0),
            }
            inside = task.family == "forecast" and task.number < cell["kernel_frames"]
            row |= {"inside_kernel": cell["kernel_frames"] if inside else None}
            row |= {"share": cell["n_trials"]["test"] / cell["n_trials"]["train"]}
            row |= {"test_trials": cell["n_trials"]["test"], **{null: scores.get(null) for null in _NULLS}}
            for place, metric in enumerate(task.compared(scores)):
                left_out = scores["auc_left_out"] if metric == "event_auc" else None
                rows.append(row | {"place": place, "metric": metric, "value": scores[metric], "auc_left_out": left_out})
    numbers = ("value", *_NULLS, "inside_kernel", "auc_left_out")
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)).sort_values("split")


def _fit_of(row: dict) -> tuple:
    return row["dataset"], row["model"], row["latent_dim"]


def _verdicts(cells: list[dict]) -> dict[tuple, dict]:
    """Columns of the verdict on dynamics by data set, model and dimension, over the test trials of all splits."""
    halves: dict[tuple, list[SecondHalves]] = {}
    for cell in cells:
        if found := cell.get("second_halves"):
            halves.setdefault(_fit_of(cell), []).append(SecondHalves(**found))
    judged = {}
    for fit, of_splits in halves.items():
        found = verdict(*map(np.concatenate, zip(*of_splits, strict=True)))
        judged[fit] = {"mean": found.share, "sd": None, "compared_with": NO_FIELD, "difference": found.share}
        judged[fit] |= {"difference_low": found.low, "difference_high": found.high, "n_values": found.n_units}
    return judged


def _differences(scores: pd.DataFrame, compare_with: dict[str, str]) -> pd.DataFrame:
    """The paired difference of each group to the model that it is compared with, on the same splits."""
    own = scores.assign(compared_with=scores["family"].map(compare_with).astype(object))
    own = own[own["compared_with"].notna() & (own["compared_with"] != own["model"])]
    # At the same dimension, or that of no latents.
    known = pd.MultiIndex.from_frame(scores[[*_SCORE, "latent_dim", "model"]])
    same = pd.MultiIndex.from_frame(own[[*_SCORE, "latent_dim", "compared_with"]]).isin(known)
    own = own.assign(compared_dim=own["latent_dim"].where(same, WITHOUT_LATENTS))
    names = {"model": "compared_with", "latent_dim": "compared_dim", "value": "other"}
    pairs = own.merge(scores[[*_SCORE, "split", *names]].rename(columns=names))
    rows = []
    for group, pair in pairs.groupby(_GROUP):
        found = paired_difference(pair["value"], pair["other"], pair["share"].mean())
        rows.append((*group, pair["compared_with"].iloc[0], *found))
    return pd.DataFrame(rows, columns=[*_GROUP, *_DIFFERENCE]).set_index(_GROUP)


def _saturation_rows(scores: pd.DataFrame) -> list[dict]:
    """A row for each data set and model whose cosmooth is known at several dimensions, on the same splits."""
    rows = []
    for (dataset, model), found in scores[(scores["family"] == "cosmooth") & (scores["place"] == 0)].groupby(
        ["dataset", "model"]
    ):
        by_dim = found.pivot(index="split", columns="latent_dim", values="value")
        # One dimension alone, or not all on the same splits.
        if by_dim.shape[1] < 2 or by_dim.size > len(found):
            continue
        row = {"dataset": dataset, "task": SATURATION, "metric": SATURATION_METRIC, "model": model}
        row |= {"n_splits": len(by_dim), "mean": saturation(by_dim, found["share"].mean())}
        rows.append(row | {"n_values": by_dim.shape[1]})
    return rows
