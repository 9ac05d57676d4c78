"""The table of a benchmark from the scores of its cells."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from odevae.benchmark.comparison import paired_difference
from odevae.benchmark.grid import WITHOUT_LATENTS, fits_of
from odevae.storage.files import read_json

# The tasks by what is asked; each that was asked has a figure.
FAMILIES = ("reconstruct", "onset", "forecast", "cosmooth", "decode", "rates", "latent", "lost")
# Of every task, the score that is compared.
HEADLINE = {
    "decode": ("r2", "balanced_accuracy"),
    "latent": ("r2",),
    "rates": ("r2_neuron", "r2_mean"),
    "lost": ("frames",),
    "intrinsic_dimension": ("correlation_dimension",),
}
DEFAULT_HEADLINE = ("r2_neuron",)
# A row of its own for each model: from which dimension on more of them no longer help.
SATURATION, SATURATION_METRIC = "cosmooth_saturation", "latent_dim"
COLUMNS = (
    "dataset",
    "task",
    "metric",
    "model",
    "latent_dim",
    "n_splits",
    "mean",
    "sd",
    "compared_with",
    "difference",
    "difference_low",
    "difference_high",
    "null_mean",
    "null_95",
    "n_values",
    "fit_s",
)
READABLE = {
    "dataset": "data",
    "task": "task",
    "metric": "score",
    "model": "model",
    "latent_dim": "D",
    "n_splits": "splits",
    "mean": "mean",
    "sd": "SD",
    "compared_with": "compared with",
    "difference": "difference",
    "difference_low": "from",
    "difference_high": "to",
    "null_mean": "null",
    "null_95": "null (95 %)",
}


def benchmark_rows(cells: list[dict], compare_with: dict[str, str]) -> list[dict]:
    """Rows of a benchmark's table: one for each data set, task, model and dimension.

    Args:
        cells: what the rule fit_benchmark_model wrote, any order, each dimension by itself (`grid.fits_of`).
        compare_with: model by one of `FAMILIES`, from which differences are taken on the same splits: at the same
            dimension, or that of no latents.

    Returns:
        Rows with the keys `COLUMNS`: mean and SD over splits of the headline score in recorded units on test trials,
        the paired difference with its interval, the null of decoding, values scored in all splits together, and mean
        time of a fit. The row ``cosmooth_saturation`` of a model holds a dimension (see `saturation`) as its mean.
    """
    scores: dict[tuple, dict[int, dict]] = {}
    for cell in cells:
        for task, values in _tasks(cell).items():
            key = (cell["dataset"], task, cell["model"], cell["latent_dim"])
            scores.setdefault(key, {})[cell["split"]] = values | {
                "fit_s": cell["fit_s"],
                "share": cell["n_trials"]["test"] / cell["n_trials"]["train"],
            }
    rows = [_row(key, scores, compare_with) for key in sorted(scores, key=_order)]
    return rows + _saturation_rows(scores)


def rows_of_cells(files: Iterable[str | Path], compare_with: dict[str, str]) -> list[dict]:
    """`benchmark_rows` of the cells in some files.

    Raises:
        OdevaeError: if a file is missing or damaged.
    """
    return benchmark_rows([fit for file in files for fit in fits_of(read_json(file))], compare_with)


def benchmark_metrics(rows: list[dict]) -> dict[str, float]:
    """The means of a table as metrics of the whole benchmark, by data set, task, model and dimension."""
    return {
        f"{row['dataset']}/{row['task']}/{row['model']}/d{row['latent_dim'] or WITHOUT_LATENTS}/{row['metric']}": (
            row["mean"]
        )
        for row in rows
    }


def saturation(scores: dict[int, dict[int, float]], test_over_train: float) -> int:
    """The smallest dimension from which the best one cannot be told apart.

    Args:
        scores: by dimension, then by split, the same splits for all.
        test_over_train: see `paired_difference`.

    Returns:
        The smallest dimension whose paired difference to that of the best mean has an interval that reaches 0.
    """
    by_dim = {dim: np.array([values[split] for split in sorted(values)]) for dim, values in sorted(scores.items())}
    best = max(by_dim, key=lambda dim: by_dim[dim].mean())
    return next(
        dim
        for dim, values in by_dim.items()
        if dim == best or not paired_difference(values, by_dim[best], test_over_train).high < 0
    )


def _tasks(cell: dict) -> dict[str, dict]:
    """The headline scores of a cell by task."""
    tasks = {}
    for task, values in cell["scores"].items():
        metric = next(name for name in HEADLINE.get(family_of(task), DEFAULT_HEADLINE) if name in values)
        tasks[task] = {"metric": metric, "value": values[metric], "n_values": values["n_values"]} | {
            name: values[name] for name in ("null_mean", "null_95") if name in values
        }
    return tasks


def _order(key: tuple) -> tuple:
    dataset, task, model, latent_dim = key
    number = int("".join(filter(str.isdigit, task.partition("/")[0])) or 0)
    return dataset, task.partition("@")[0].rstrip("0123456789"), number, task, latent_dim, model


def _row(key: tuple, scores: dict[tuple, dict[int, dict]], compare_with: dict[str, str]) -> dict:
    dataset, task, model, latent_dim = key
    by_split = scores[key]
    splits = sorted(by_split)
    values = np.array([by_split[split]["value"] for split in splits])
    first = by_split[splits[0]]
    row = dict.fromkeys(COLUMNS) | {
        "dataset": dataset,
        "task": task,
        "metric": first["metric"],
        "model": model,
        "latent_dim": latent_dim or None,
        "n_splits": len(splits),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(splits) > 1 else None,
        "n_values": sum(by_split[split]["n_values"] for split in splits),
        "fit_s": float(np.mean([by_split[split]["fit_s"] for split in splits])),
    }
    for name in ("null_mean", "null_95"):
        if name in first:
            row[name] = float(np.mean([by_split[split][name] for split in splits]))
    other = compare_with.get(family_of(task))
    beside = scores.get((dataset, task, other, latent_dim)) or scores.get((dataset, task, other, WITHOUT_LATENTS))
    shared = [split for split in splits if beside and split in beside]
    if other != model and shared:
        one, two = ([part[split]["value"] for split in shared] for part in (by_split, beside))
        difference = paired_difference(one, two, float(np.mean([by_split[split]["share"] for split in shared])))
        row |= {"compared_with": other, "difference": difference.mean} | {
            f"difference_{end}": None if np.isnan(value) else value
            for end, value in (("low", difference.low), ("high", difference.high))
        }
    return row


def _saturation_rows(scores: dict[tuple, dict[int, dict]]) -> list[dict]:
    """A row for each data set and model whose cosmooth is known at several dimensions, on the same splits."""
    by_model: dict[tuple, dict[int, dict[int, dict]]] = {}
    for (dataset, task, model, latent_dim), by_split in sorted(scores.items()):
        if task == "cosmooth":
            by_model.setdefault((dataset, model), {})[latent_dim] = by_split
    rows = []
    for (dataset, model), by_dim in by_model.items():
        if len(by_dim) < 2 or len({tuple(sorted(by_split)) for by_split in by_dim.values()}) > 1:
            continue
        share = np.mean([values["share"] for by_split in by_dim.values() for values in by_split.values()])
        values = {dim: {split: v["value"] for split, v in by_split.items()} for dim, by_split in by_dim.items()}
        rows.append(
            dict.fromkeys(COLUMNS)
            | {
                "dataset": dataset,
                "task": SATURATION,
                "metric": SATURATION_METRIC,
                "model": model,
                "n_splits": len(next(iter(by_dim.values()))),
                "mean": saturation(values, float(share)),
                "n_values": len(by_dim),
            }
        )
    return rows


def family_of(task: str) -> str:
    """One of `FAMILIES`: ``forecast`` of ``forecast@5``, ``onset`` of ``onset1``, ``decode`` of ``decode/Position``."""
    return task.partition("/")[0].partition("@")[0].rstrip("0123456789")
