"""The table of a benchmark from the scores of its cells."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.families import Task
from odevae.benchmark.grid import WITHOUT_LATENTS, fits_of
from odevae.storage.files import read_json

# A row of its own for each model: from which dimension on more of them no longer help.
SATURATION, SATURATION_METRIC = "cosmooth_saturation", "latent_dim"
_TASK = ["dataset", *Task._fields]
# What the splits of a score have in common, in the order of the table.
_GROUP = [*_TASK, "latent_dim", "model"]
_DIFFERENCE = ["compared_with", "difference", "difference_low", "difference_high"]
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
    "null_mean": "null",
    "null_95": "null (95 %)",
}
_COLUMNS = [*READABLE, "n_values", "fit_s"]


def benchmark_table(cells: list[dict], compare_with: dict[str, str]) -> pd.DataFrame:
    """A benchmark's table: one row for each data set, task, model and dimension.

    Args:
        cells: what the rule fit_benchmark_model wrote, any order, each dimension by itself (`grid.fits_of`).
        compare_with: model by family of tasks, from which differences are taken on the same splits: at the same
            dimension, or that of no latents.

    Returns:
        Mean and SD over splits of the headline score in recorded units on test trials, the paired difference with its
        interval, the null of decoding, values scored in all splits together, and mean time of a fit. The row
        ``cosmooth_saturation`` of a model holds a dimension (see `saturation`) as its mean. Cells are Python objects,
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
        difference=table["compared_with"].isna(),
    )
    rows = table.mask(missing, None)[_COLUMNS].to_dict("records")
    rows += [dict.fromkeys(_COLUMNS) | row for row in _saturation_rows(scores)]
    return pd.DataFrame(rows, dtype=object)


def table_of_cells(files: Iterable[str | Path], compare_with: dict[str, str]) -> pd.DataFrame:
    """`benchmark_table` of the cells in some files.

    Raises:
        OdevaeError: if a file is missing or damaged.
    """
    return benchmark_table([fit for file in files for fit in fits_of(read_json(file))], compare_with)


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
    """The headline score of each cell and task, sorted by split."""
    rows = []
    for cell in cells:
        for name, scores in cell["scores"].items():
            task = Task.parse(name)
            metric = task.headline(scores)
            row = {column: cell[column] for column in ("dataset", "model", "latent_dim", "split", "fit_s")}
            row |= {**task._asdict(), "task": name, "metric": metric, "value": scores[metric]}
            row |= {"n_values": scores["n_values"], **{null: scores.get(null) for null in _NULLS}}
            trials = cell["n_trials"]
            rows.append(row | {"test_trials": trials["test"], "share": trials["test"] / trials["train"]})
    return pd.DataFrame(rows).astype(dict.fromkeys(("value", *_NULLS), float)).sort_values("split")


def _differences(scores: pd.DataFrame, compare_with: dict[str, str]) -> pd.DataFrame:
    """The paired difference of each group to the model that it is compared with, on the same splits."""
    own = scores.assign(compared_with=scores["family"].map(compare_with).astype(object))
    own = own[own["compared_with"].notna() & (own["compared_with"] != own["model"])]
    # At the same dimension, or that of no latents.
    known = pd.MultiIndex.from_frame(scores[[*_TASK, "latent_dim", "model"]])
    same = pd.MultiIndex.from_frame(own[[*_TASK, "latent_dim", "compared_with"]]).isin(known)
    own = own.assign(compared_dim=own["latent_dim"].where(same, WITHOUT_LATENTS))
    names = {"model": "compared_with", "latent_dim": "compared_dim", "value": "other"}
    pairs = own.merge(scores[[*_TASK, "split", *names]].rename(columns=names))
    rows = []
    for group, pair in pairs.groupby(_GROUP):
        found = paired_difference(pair["value"], pair["other"], pair["share"].mean())
        rows.append((*group, pair["compared_with"].iloc[0], *found))
    return pd.DataFrame(rows, columns=[*_GROUP, *_DIFFERENCE]).set_index(_GROUP)


def _saturation_rows(scores: pd.DataFrame) -> list[dict]:
    """A row for each data set and model whose cosmooth is known at several dimensions, on the same splits."""
    rows = []
    for (dataset, model), found in scores[scores["family"] == "cosmooth"].groupby(["dataset", "model"]):
        by_dim = found.pivot(index="split", columns="latent_dim", values="value")
        # One dimension alone, or not all on the same splits.
        if by_dim.shape[1] < 2 or by_dim.size > len(found):
            continue
        row = {"dataset": dataset, "task": SATURATION, "metric": SATURATION_METRIC, "model": model}
        row |= {"n_splits": len(by_dim), "mean": saturation(by_dim, found["share"].mean())}
        rows.append(row | {"n_values": by_dim.shape[1]})
    return rows
