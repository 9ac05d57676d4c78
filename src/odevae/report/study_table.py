"""Tables 1 and 2 from artifacts: what runs left on disk, next to what the paper published."""

import csv
import math
from importlib.resources import files
from pathlib import Path

import pandas as pd

from odevae.evaluation.group_means import mean_of, sd_of
from odevae.models.presets import spec_from
from odevae.storage.run_folder import read_result
from odevae.storage.scores import REFERENCE, headline, scores_of, select

MEAN_ROWS = ("mean_all", "mean_non_collapsed")
# Runs that differ in seed and split only are averaged together.
_GROUP = ["dataset", "protocol", "model", "latent_dim", "lambda_smooth"]
_OF_RUN, _OF_BEST = (
    ["epochs", "best_r2", "final_r2", "best_val_loss"],
    ["r2_neuron", "r2_pooled", "r", "event_auc", "bits_per_event", "latent_rank", "participation_ratio"],
)
_OF_AUDIT = ["shared_trials", "padded_fraction"]
_OF_REFERENCE = ["trivial_r2_neuron", "trivial_bits_per_event"]
_AVERAGED = [*_OF_RUN, *_OF_BEST, *_OF_REFERENCE, "test_trials", *_OF_AUDIT]
_SPREAD = ["best_r2", "final_r2", "r2_neuron"]
# What the readable tables show, with their headings.
READABLE = {
    "dataset": "data set",
    "protocol": "protocol",
    "model": "model",
    "latent_dim": "D",
    "latent_rank": "D in use",
    "lambda_smooth": "lambda_smooth",
    "split": "split",
    "seed": "seed",
    "task": "task",
    "status": "status",
    "n_runs": "runs",
    "best_r2": "best R2 (published definition)",
    "published_best_r2": "best R2 in the paper",
    "final_r2": "final R2 (published definition)",
    "published_final_r2": "final R2 in the paper",
    "hold_last_r2": "R2 of holding the last frame",
    "best_val_loss": "best validation loss",
    "r2_neuron": "r2_neuron (raw, best epoch)",
    "trivial_r2_neuron": "best trivial r2_neuron",
    "event_auc": "AUC of events",
    "bits_per_event": "bits an event",
    "trivial_bits_per_event": "best trivial bits an event",
    "test_trials": "scored trials",
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}


def study_table(runs: list[dict], published_table: int) -> pd.DataFrame:
    """A study's table: a row for each run, and after each group of runs its two mean rows.

    Args:
        runs: for each run ``run`` (``run.json``), ``metrics`` (``metrics.json``), ``audit`` (``audit.json`` of its
            fold), ``mlflow_run_id`` and, for Table 2, ``published_row``.
        published_table: number of the paper's table whose values are shown for runs under the published protocol: of
            the same seed (Table 1), or of the row that the study names (Table 2); 0 for none.

    Returns:
        Cells are Python objects, None where there is no value. Table 2 has two columns more than the others.
    """
    published = published_rows(published_table)
    rows = pd.DataFrame([_run_row(run, published, published_table) for run in runs], dtype=object)
    parts = []
    for _, members in rows.groupby(_GROUP, sort=False):
        averaged = (members, members[members["status"] == "ok"])
        means = [_mean_row(name, some, members, published) for name, some in zip(MEAN_ROWS, averaged, strict=True)]
        parts += [members, pd.DataFrame(means, columns=rows.columns, dtype=object)]
    return pd.concat(parts, ignore_index=True)


def results_of_study(
    results: str | Path, runs: dict[str, str], ids: dict[str, str], in_paper: dict[str, int]
) -> list[dict]:
    """What `study_table` takes, from disk.

    Args:
        results: the folder ``results``.
        runs: folder of each run's fold by the run's folder, both below `results`.
        ids: run id in MLflow by folder, empty where tracking failed.
        in_paper: row of the paper's Table 2 by folder, for the runs that have one.

    Raises:
        OdevaeError: if a file is missing or damaged, or does not belong to the run.
    """
    found = []
    for run, fold in runs.items():
        record, metrics, audit = read_result(Path(results) / run, Path(results) / fold)
        known = {"mlflow_run_id": ids.get(run, ""), "published_row": in_paper.get(run)}
        found.append({"run": record, "metrics": metrics, "audit": audit, **known})
    return found


def published_rows(table: int) -> dict[str, dict[str, float | None]]:
    """Values of one of the paper's tables by seed (Table 1, means included) or row number (Table 2)."""
    text = files("odevae.report").joinpath("published_tables.csv").read_text(encoding="utf-8")
    return {
        row["seed_or_path" if table == 1 else "row"]: {
            name: float(row[name]) if row[name] else None for name in ("best_r2", "final_r2", "best_val_loss")
        }
        for row in csv.DictReader(text.splitlines())
        if int(row["table"]) == table
    }


def _run_row(run: dict, published: dict, published_table: int) -> dict:
    record, metrics, audit = run["run"], run["metrics"], run["audit"]
    key = record["key"]
    counterpart = str(key["seed"] if published_table == 1 else run.get("published_row"))
    in_paper = published.get(counterpart, {}) if key["protocol"] == "published" else {}
    found = headline(metrics, audit)
    row = {
        **{name: key[name] for name in (*_GROUP, "split", "seed")},
        "task": metrics["task"],
        **{name: record[name] for name in ("status", *_OF_RUN)},
        **{name: found[name] for name in (*_OF_BEST, *_OF_REFERENCE, "test_trials", *_OF_AUDIT)},
        "published_final_r2": in_paper.get("final_r2"),
        "published_best_val_loss": in_paper.get("best_val_loss"),
        "mlflow_run_id": run["mlflow_run_id"],
        **{name: record[name] for name in ("git_commit", "data_sha256")},
        # How many runs a mean averages and their SD (n - 1); empty in the row of a single run.
        "n_runs": None,
        **{f"{name}_sd": None for name in _SPREAD},
        # Where the rest is written: run.json there holds settings, checksums and the whole environment.
        "run_directory": f"results/{record['run']}",
        **{name: record[name] for name in ("host", "duration_s")},
    }
    row["latent_rank"] = _whole(row["latent_rank"])
    if published_table == 2:
        # The oracle in the space and by the definition in which the run's own R2 was taken.
        space = spec_from(record["spec"]).validation_space
        scored = {"part": metrics["scored_part"], "task": metrics["task"], "space": space}
        oracle_of = {"checkpoint": REFERENCE, "estimate": "hold_last_frame", "metric": "r2_batched"}
        (oracle,) = select(scores_of(metrics), **scored, **oracle_of)
        row |= {"published_best_r2": in_paper.get("best_r2"), "hold_last_r2": oracle.value}
    return row


def _mean_row(name: str, averaged: pd.DataFrame, members: pd.DataFrame, published: dict) -> dict:
    first = members.iloc[0]
    in_paper = published.get(f"{name}_seeds", {}) if first["protocol"] == "published" else {}
    row = {
        **dict.fromkeys(members.columns),
        **first[_GROUP],
        **{column: _common(members[column]) for column in ("split", "git_commit", "data_sha256")},
        "seed": name,
        "task": first["task"],
        **{column: mean_of(averaged[column]) for column in (*_AVERAGED, "hold_last_r2") if column in averaged},
        "published_final_r2": in_paper.get("final_r2"),
        "n_runs": len(averaged),
        **{f"{column}_sd": sd_of(averaged[column]) for column in _SPREAD},
    }
    return row | {"latent_rank": _whole(row["latent_rank"])}


def _whole(number: float | None) -> float | None:
    """A whole number as an integer, so that it is written without digits after the point."""
    return int(number) if number is not None and math.isfinite(number) and number == int(number) else number


def _common(column: pd.Series):
    """The value that all rows share, or ``several``."""
    values = set(column)
    return values.pop() if len(values) == 1 else "several"
