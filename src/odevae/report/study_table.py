"""Tables 1 and 2 from artifacts: what runs left on disk, beside what the paper published."""

import csv
import math
from importlib.resources import files
from io import StringIO
from pathlib import Path

import numpy as np

from odevae.evaluation.run_scores import best_reference
from odevae.storage.files import write_bytes
from odevae.storage.run_folder import read_result

COLUMNS = (
    "dataset",
    "protocol",
    "model",
    "latent_dim",
    "lambda_smooth",
    "split",
    "seed",
    "status",
    "epochs",
    "best_r2",
    "final_r2",
    "best_val_loss",
    "r2_neuron",
    "r2_pooled",
    "r",
    "trivial_r2_neuron",
    "shared_trials",
    "padded_fraction",
    "published_final_r2",
    "published_best_val_loss",
    "mlflow_run_id",
    "git_commit",
    "data_sha256",
    # What a mean rests on and how far its runs spread (SD, n - 1); empty in the row of a single run.
    "n_runs",
    "best_r2_sd",
    "final_r2_sd",
    "r2_neuron_sd",
    # Where the rest is written: run.json there holds settings, checksums and the whole environment.
    "run_directory",
    "host",
    "duration_s",
)
TABLE_2_COLUMNS = ("published_best_r2", "hold_last_r2")
MEAN_ROWS = ("mean_all", "mean_non_collapsed")
_GROUP = ("dataset", "protocol", "model", "latent_dim", "lambda_smooth")
_AVERAGED = COLUMNS[COLUMNS.index("epochs") : COLUMNS.index("published_final_r2")]
_SPREAD = ("best_r2", "final_r2", "r2_neuron")
# What the readable tables show, with their headings.
READABLE = {
    "dataset": "data set",
    "protocol": "protocol",
    "model": "model",
    "latent_dim": "D",
    "lambda_smooth": "lambda_smooth",
    "split": "split",
    "seed": "seed",
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
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}


def study_rows(runs: list[dict], published_table: int) -> list[dict]:
    """Rows of a study's table: one for each run, then two mean rows for each group of runs.

    Args:
        runs: for each run ``run`` (``run.json``), ``metrics`` (``metrics.json``), ``audit`` (``audit.json`` of its
            fold), ``mlflow_run_id`` and, for Table 2, ``published_row``.
        published_table: number of the paper's table whose values stand beside runs under the published protocol: of the
            same seed (Table 1), or of the row that the study names (Table 2); 0 for none.

    Returns:
        Rows with the keys `COLUMNS`, and `TABLE_2_COLUMNS` for Table 2, in that order; None where there is nothing to
        say.
    """
    published = published_rows(published_table)
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        row = _run_row(run, published, published_table)
        groups.setdefault(tuple(row[name] for name in _GROUP), []).append(row)
    rows = []
    for members in groups.values():
        finished = [row for row in members if row["status"] == "ok"]
        rows += members
        for name, averaged in zip(MEAN_ROWS, (members, finished), strict=True):
            rows.append(_mean_row(name, averaged, members, published))
    columns = COLUMNS if published_table != 2 else COLUMNS + TABLE_2_COLUMNS
    return [{name: row[name] for name in columns} for row in rows]


def results_of_study(
    results: str | Path, runs: dict[str, str], ids: dict[str, str], in_paper: dict[str, int]
) -> list[dict]:
    """What `study_rows` takes, from disk.

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
        beside = {"mlflow_run_id": ids.get(run, ""), "published_row": in_paper.get(run)}
        found.append({"run": record, "metrics": metrics, "audit": audit, **beside})
    return found


def study_metrics(rows: list[dict]) -> dict[str, float]:
    """The means of a table as metrics of the whole study, named after the group of runs that they rest on."""
    return {
        f"{'.'.join(str(row[name]) for name in _GROUP)}/{row['seed']}/{column}": row[column]
        for row in rows
        if row["seed"] in MEAN_ROWS
        for column in _SPREAD
        if row[column] is not None
    }


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


def write_csv(rows: list[dict], path: Path) -> None:
    """Write every column of the rows; six significant digits, so that the same values give the same bytes."""
    write_bytes(path, "".join(f"{line}\n" for line in csv_lines(rows)).encode())


def csv_lines(rows: list[dict]) -> list[str]:
    """The lines that `write_csv` writes, heading first."""
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_plain(value) for value in row.values()] for row in rows)
    return text.getvalue().splitlines()


def read_csv(path: Path) -> list[dict]:
    """Read what `write_csv` wrote: numbers as floats, empty cells as None."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _parsed(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def write_markdown(rows: list[dict], headings: dict[str, str], path: Path) -> None:
    """Write the columns that have a heading, where the rows have them, as a Markdown table."""
    shown = _shown(rows, headings)
    lines = [list(shown.values()), ["---"] * len(shown)]
    lines += [[_readable(row, name) for name in shown] for row in rows]
    write_bytes(path, "".join(f"| {' | '.join(line)} |\n" for line in lines).encode())


def write_latex(rows: list[dict], headings: dict[str, str], path: Path) -> None:
    """Write the columns that have a heading, where the rows have them, as a LaTeX table for the package booktabs."""
    shown = _shown(rows, headings)
    text = [f"\\begin{{tabular}}{{{'l' * len(shown)}}}", "\\toprule"]
    text += [" & ".join(_escaped(heading) for heading in shown.values()) + " \\\\", "\\midrule"]
    text += [" & ".join(_escaped(_readable(row, name)) for name in shown) + " \\\\" for row in rows]
    text += ["\\bottomrule", "\\end{tabular}", ""]
    write_bytes(path, "\n".join(text).encode())


def _shown(rows: list[dict], headings: dict[str, str]) -> dict[str, str]:
    return {name: heading for name, heading in headings.items() if name in rows[0]}


def _run_row(run: dict, published: dict, published_table: int) -> dict:
    record, metrics, audit = run["run"], run["metrics"], run["audit"]
    key = record["key"]
    part, task = metrics["scored_part"], metrics["task"]
    counterpart = str(key["seed"] if published_table == 1 else run.get("published_row"))
    in_paper = published.get(counterpart, {}) if key["protocol"] == "published" else {}

    def raw(metric: str) -> float | None:
        return metrics["values"].get(f"{part}/raw/{task}/best/mean/{metric}")

    row = {
        **key,
        "status": record["status"],
        "epochs": record["epochs"],
        "best_r2": record["best_r2"],
        "final_r2": record["final_r2"],
        "best_val_loss": record["best_val_loss"],
        "r2_neuron": raw("r2_neuron"),
        "r2_pooled": raw("r2_pooled"),
        "r": raw("r"),
        "trivial_r2_neuron": best_reference(metrics["values"], part, "raw", task, "r2_neuron")[1],
        "shared_trials": audit["shared_trials"],
        "padded_fraction": audit["padded_fraction"],
        "published_final_r2": in_paper.get("final_r2"),
        "published_best_val_loss": in_paper.get("best_val_loss"),
        "mlflow_run_id": run["mlflow_run_id"],
        "git_commit": record["git_commit"],
        "data_sha256": record["data_sha256"],
        "n_runs": None,
        **{f"{name}_sd": None for name in _SPREAD},
        "run_directory": f"results/{record['run']}",
        "host": record["host"],
        "duration_s": record["duration_s"],
    }
    if published_table == 2:
        # The oracle in the space and by the definition in which the run's own R2 was taken.
        space = record["spec"]["validation_space"]
        oracle = metrics["values"][f"{part}/{space}/{task}/reference/hold_last_frame/r2_batched"]
        row |= {"published_best_r2": in_paper.get("best_r2"), "hold_last_r2": oracle}
    return row


_PUBLISHED_MEANS = {"mean_all": "mean_all_seeds", "mean_non_collapsed": "mean_non_collapsed_seeds"}


def _mean_row(name: str, averaged: list[dict], members: list[dict], published: dict) -> dict:
    first = members[0]
    in_paper = published.get(_PUBLISHED_MEANS[name], {}) if first["protocol"] == "published" else {}
    return {
        **dict.fromkeys(first),
        **{column: first[column] for column in _GROUP},
        "split": _common(members, "split"),
        "seed": name,
        **{column: _mean(averaged, column) for column in (*_AVERAGED, "hold_last_r2") if column in first},
        "published_final_r2": in_paper.get("final_r2"),
        "git_commit": _common(members, "git_commit"),
        "data_sha256": _common(members, "data_sha256"),
        "n_runs": len(averaged),
        **{f"{column}_sd": _sd(averaged, column) for column in _SPREAD},
    }


def _common(rows: list[dict], column: str):
    """The value that all rows share, or ``several``."""
    values = {row[column] for row in rows}
    return values.pop() if len(values) == 1 else "several"


def _values(rows: list[dict], column: str) -> np.ndarray:
    return np.array([row[column] for row in rows if row[column] is not None], dtype=float)


def _mean(rows: list[dict], column: str) -> float | None:
    values = _values(rows, column)
    return float(values.mean()) if len(values) else None


def _sd(rows: list[dict], column: str) -> float | None:
    values = _values(rows, column)
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _plain(value) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _parsed(cell: str) -> float | str | None:
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return cell


def _readable(row: dict, name: str) -> str:
    value = row[name]
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    text = "inf" if math.isinf(value) else f"{value:.4f}"
    spread = row.get(f"{name}_sd")
    return text if spread is None else f"{text} ± {spread:.4f}"


def _escaped(text: str) -> str:
    for plain, latex in (("_", "\\_"), ("%", "\\%"), ("R2", "$R^2$"), (" ± ", " $\\pm$ "), ("–", "--")):
        text = text.replace(plain, latex)
    return text
