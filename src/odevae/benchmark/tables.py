"""The table of a benchmark from the scores of its cells."""

import numpy as np

from odevae.benchmark.cells import WITHOUT_LATENTS
from odevae.benchmark.comparison import paired_difference

# The tasks by what is asked; each has a figure.
FAMILIES = ("reconstruct", "onset", "forecast", "cosmooth", "decode")
# Of every task, the score that is compared.
HEADLINE = {"decode": ("r2", "balanced_accuracy")}
DEFAULT_HEADLINE = ("r2_neuron",)
COLUMNS = (
    "dataset",
    "task",
    "metric",
    "reference",
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
    "task": "task",
    "metric": "score",
    "reference": "model",
    "latent_dim": "D",
    "n_splits": "splits",
    "mean": "mean",
    "sd": "SD",
    "compared_with": "compared with",
    "difference": "difference",
    "difference_low": "from",
    "difference_high": "to",
    "null_95": "null (95 %)",
}


def benchmark_rows(cells: list[dict], compare_with: dict[str, str]) -> list[dict]:
    """Rows of a benchmark's table: one for each task, model and dimension.

    Args:
        cells: what the rule benchmark_reference wrote, any order.
        compare_with: model by task family (``reconstruct``, ``onset``, ``forecast``, ``cosmooth``, ``decode``), from
            which differences are taken on the same splits: at the same dimension, or that of no latents.

    Returns:
        Rows with the keys `COLUMNS`: mean and SD over splits of the headline score in recorded units on test trials
        (draws of neurons are averaged first), the paired difference with its interval, the null of decoding, values
        scored in all splits together, and mean time of a fit.
    """
    scores: dict[tuple, dict[int, dict]] = {}
    for cell in cells:
        for task, values in _tasks(cell).items():
            scores.setdefault((task, cell["reference"], cell["latent_dim"]), {})[cell["split"]] = values | {
                "fit_s": cell["fit_s"],
                "share": cell["n_trials"]["test"] / cell["n_trials"]["train"],
                "dataset": cell["dataset"],
            }
    return [_row(key, scores, compare_with) for key in sorted(scores, key=_order)]


def benchmark_metrics(rows: list[dict]) -> dict[str, float]:
    """The means of a table as metrics of the whole benchmark, by task, model and dimension."""
    return {
        f"{row['task']}/{row['reference']}/d{row['latent_dim'] or WITHOUT_LATENTS}/{row['metric']}": row["mean"]
        for row in rows
    }


def _tasks(cell: dict) -> dict[str, dict]:
    """The scores of a cell by task, draws of neurons averaged."""
    tasks, draws = {}, []
    for task, values in cell["scores"].items():
        family = task.partition("/")[0]
        if family == "cosmooth":
            draws.append(values)
            continue
        metric = next(name for name in HEADLINE.get(family, DEFAULT_HEADLINE) if name in values)
        tasks[task] = {"metric": metric, "value": values[metric], "n_values": values["n_values"]} | {
            name: values[name] for name in ("null_mean", "null_95") if name in values
        }
    if draws:
        tasks["cosmooth"] = {
            "metric": DEFAULT_HEADLINE[0],
            "value": float(np.mean([draw[DEFAULT_HEADLINE[0]] for draw in draws])),
            "n_values": sum(draw["n_values"] for draw in draws),
        }
    return tasks


def _order(key: tuple) -> tuple:
    task, reference, latent_dim = key
    number = int("".join(filter(str.isdigit, task.partition("/")[0])) or 0)
    return task.partition("@")[0].rstrip("0123456789"), number, task, latent_dim, reference


def _row(key: tuple, scores: dict[tuple, dict[int, dict]], compare_with: dict[str, str]) -> dict:
    task, reference, latent_dim = key
    by_split = scores[key]
    splits = sorted(by_split)
    values = np.array([by_split[split]["value"] for split in splits])
    first = by_split[splits[0]]
    row = dict.fromkeys(COLUMNS) | {
        "dataset": first["dataset"],
        "task": task,
        "metric": first["metric"],
        "reference": reference,
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
    other = compare_with.get(_family(task))
    beside = scores.get((task, other, latent_dim)) or scores.get((task, other, WITHOUT_LATENTS))
    shared = [split for split in splits if beside and split in beside]
    if other != reference and shared:
        one, two = ([part[split]["value"] for split in shared] for part in (by_split, beside))
        difference = paired_difference(one, two, float(np.mean([by_split[split]["share"] for split in shared])))
        row |= {"compared_with": other, "difference": difference.mean} | {
            f"difference_{end}": None if np.isnan(value) else value
            for end, value in (("low", difference.low), ("high", difference.high))
        }
    return row


def _family(task: str) -> str:
    return task.partition("/")[0].partition("@")[0].rstrip("0123456789")
