"""Do the numbers still follow from the files on disk? Scores follow from predictions, tables from scores."""

import math
from pathlib import Path

import pandas as pd

from odevae.errors import OdevaeError
from odevae.evaluation.run_scores import metrics_of
from odevae.models.presets import spec_from
from odevae.protocols.fold import load_fold
from odevae.report.table_files import csv_text
from odevae.storage.files import read_checked
from odevae.storage.run_folder import HISTORY_FILE, read_history, read_predictions, read_result
from odevae.storage.scores import scores_of
from odevae.training.checkpoints import load_checkpoint

# Another machine may add up in another order.
RELATIVE_TOLERANCE = 1e-6


def verify_run(folder: str | Path, fold_folder: str | Path) -> int:
    """Check everything that a finished run states about itself; gives the number of its scores.

    Every file is compared with its checksum, the scores of ``metrics.json`` with those of ``predictions.npz`` against
    the fold, and the R2 and losses of ``run.json`` with ``history.csv``.

    Raises:
        OdevaeError: for the first thing that does not agree.
    """
    folder = Path(folder)
    run, metrics, _ = read_result(folder, fold_folder)
    fold = load_fold(fold_folder)
    load_checkpoint(folder, run)
    expected = metrics_of(fold, run, read_predictions(folder, run))
    _compare(f"{folder}/metrics.json", *({row.name: row.value for row in scores_of(m)} for m in (metrics, expected)))
    read_checked(folder / HISTORY_FILE, run["files"][HISTORY_FILE])
    rows = read_history(folder / HISTORY_FILE)
    if run["status"] == "ok":
        scores, losses = ([row[name] for row in rows] for name in ("val_r2", "val_loss"))
        best = scores.index(max(scores)) if spec_from(run["spec"]).select_by == "r2" else losses.index(min(losses))
        follows = {
            "epochs": len(rows),
            "best_r2": scores[best],
            "final_r2": scores[-1],
            "best_val_loss": min(losses),
            "best_epoch": 1 + best,
        }
        _compare(f"{folder}/run.json", {name: run[name] for name in follows}, follows)
    return len(metrics["scores"])


def verify_table(path: str | Path, table: pd.DataFrame) -> int:
    """Check that a table says what the runs of a study, or the cells of a benchmark, say; gives the number of its rows.

    Args:
        path: the ``.csv``.
        table: what the files on disk give.

    Raises:
        OdevaeError: if the file cannot be read, or for the first line that differs.
    """
    try:
        found = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise OdevaeError(f"{path}: cannot be read ({error}); delete it and run the workflow again.") from error
    expected = csv_text(table).splitlines()
    for number, (line, other) in enumerate(zip(found, expected, strict=False), start=1):
        if line != other:
            raise OdevaeError(
                f"{path}: line {number} is {line!r} but the files on disk give {other!r}; delete the table and run the "
                "workflow again."
            )
    if len(found) != len(expected):
        raise OdevaeError(
            f"{path}: {len(found)} lines, but the files on disk give {len(expected)}; delete the table and run the "
            "workflow again."
        )
    return len(table)


def _compare(where: str, found: dict[str, float], expected: dict[str, float]) -> None:
    if found.keys() != expected.keys():
        name = min(found.keys() ^ expected.keys())
        which = "is missing" if name in expected else "follows from nothing"
        raise OdevaeError(f"{where}: {name} {which}; delete the file and run the workflow again.")
    for name, value in expected.items():
        if math.isnan(value) and math.isnan(found[name]):
            continue
        if not math.isclose(found[name], value, rel_tol=RELATIVE_TOLERANCE):
            raise OdevaeError(
                f"{where}: {name} is {found[name]!r}, but the run's files give {value!r}; delete the file and run the "
                "workflow again."
            )
