"""The run directory: how a run is named, which files its folder holds, how they are written and read.

A folder ``results/<dataset>/<protocol>/split<k>/<model>/d<dim>_ls<lambda>_seed<seed>/`` holds everything about one run;
MLflow and the tables only repeat it.
"""

import csv
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path

import numpy as np

from odevae.errors import OdevaeError
from odevae.storage.files import read_arrays, read_checked, read_json, write_arrays, write_bytes

# Of a training that is not finished yet; no output of a rule, so that Snakemake never deletes it.
RESUME_FILE = "resume.pt"
RUN_FILE = "run.json"
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
CHECKPOINT_FILE = "checkpoint.pt"
PREDICTIONS_FILE = "predictions.npz"
MANIFOLD_FILE = "manifold.json"
FIGURES_FOLDER = "figures"
TRIALS_FILE = "trials.npz"
AUDIT_FILE = "audit.json"
PREPROCESSING_FILE = "preprocessing.json"
# This entry shows which files belong to the same training.
ATTEMPT = "attempt"


@dataclass(frozen=True)
class RunKey:
    """What distinguishes runs from each other; `lambda_smooth` is the string of the config, never a formatted float."""

    dataset: str
    protocol: str
    split: int
    model: str
    latent_dim: int
    lambda_smooth: str
    seed: int

    @property
    def path(self) -> str:
        """Folder of the run below ``results/``; also the run's name in MLflow."""
        settings = f"d{self.latent_dim}_ls{self.lambda_smooth}_seed{self.seed}"
        return f"{self.dataset}/{self.protocol}/split{self.split}/{self.model}/{settings}"

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_text(cls, **parts: str) -> "RunKey":
        """A key from the parts of its path, all of them text."""
        return cls(**{f.name: f.type(parts[f.name]) for f in fields(cls)})


def write_history(path: str | Path, rows: list[dict[str, float]]) -> None:
    """Replace ``history.csv`` by these epochs; an empty file if there are none yet."""
    text = StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def append_history(path: str | Path, row: dict[str, float]) -> None:
    """Append one epoch to ``history.csv``; the first row writes the header.

    Raises:
        OSError: if it cannot be written, with `path` as its file name.
    """
    path = Path(path)
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_history(path: str | Path, sha256: str | None = None) -> list[dict[str, float]]:
    """Rows of ``history.csv``, one per epoch, every value a float; an unfinished last line is left out.

    Args:
        path: of the file; a missing one has no rows.
        sha256: what ``run.json`` of a finished run says of the file.

    Raises:
        OdevaeError: if it cannot be read, or if it is not the file that `sha256` belongs to.
    """
    if sha256 is None and not Path(path).exists():
        return []
    try:
        text = (Path(path).read_bytes() if sha256 is None else read_checked(path, sha256)).decode()
        rows = csv.DictReader(text.rpartition("\n")[0].splitlines())
        whole = (row for row in rows if all(row.values()))
        return [{name: float(value) for name, value in row.items()} for row in whole]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise OdevaeError(f"{path}: cannot be read ({error}); delete it and run the workflow again.") from error


def write_predictions(folder: str | Path, run: dict, predictions: dict[str, np.ndarray]) -> None:
    """Write ``predictions.npz`` of a run, marked with the attempt at training that made them."""
    write_arrays(Path(folder) / PREDICTIONS_FILE, predictions | {ATTEMPT: np.array(run["attempt"])})


def read_predictions(folder: str | Path, run: dict) -> dict[str, np.ndarray]:
    """Arrays of ``predictions.npz`` of a run, whose ``run.json`` is `run`.

    Raises:
        OdevaeError: if the file is missing, damaged, or made from another training.
    """
    path = Path(folder) / PREDICTIONS_FILE
    predictions, _ = read_arrays(path)
    _require_same(path, str(predictions.pop(ATTEMPT, "")), run["attempt"], "another training")
    return predictions


def remove_older_figures(folder: str | Path) -> None:
    """Remove the figures of a run that are older than its training, because they show an earlier one."""
    trained = (Path(folder) / RUN_FILE).stat().st_mtime
    for file in (Path(folder) / FIGURES_FOLDER).rglob("*"):
        if file.is_file() and file.stat().st_mtime < trained:
            file.unlink()


def read_result(folder: str | Path, fold_folder: str | Path) -> tuple[dict, dict, dict]:
    """``run.json``, ``metrics.json`` and the fold's ``audit.json``, which belong together.

    Raises:
        OdevaeError: if one is missing, damaged, or of another run, training or fold.
    """
    run_path, metrics_path = Path(folder) / RUN_FILE, Path(folder) / METRICS_FILE
    run, metrics, audit = map(read_json, (run_path, metrics_path, Path(fold_folder) / AUDIT_FILE))
    if not Path(folder).resolve().as_posix().endswith("/" + run["run"]):
        raise OdevaeError(f"{run_path}: belongs to the run {run['run']}; delete the folder and run the workflow again.")
    _require_same(metrics_path, metrics["attempt"], run["attempt"], "another training")
    _require_same(run_path, run["fold_sha256"], audit["fold_sha256"], f"another fold than {fold_folder}")
    return run, metrics, audit


def _require_same(path: Path, found: str, expected: str, what: str) -> None:
    if found != expected:
        raise OdevaeError(f"{path}: was made from {what}; delete it and run the workflow again.")
