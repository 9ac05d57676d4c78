"""The run directory: how a run is named, what lies in its folder, how that is written and read.

A folder ``results/<dataset>/<protocol>/split<k>/<model>/d<dim>_ls<lambda>_seed<seed>/`` holds everything about one run;
MLflow and the tables only ever repeat what stands there.
"""

import csv
import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from odevae.errors import OdevaeError

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


@dataclass(frozen=True)
class RunKey:
    """What tells one run from another; `lambda_smooth` is the string of the config, never a re-formatted float."""

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
        return (
            f"{self.dataset}/{self.protocol}/split{self.split}/{self.model}/"
            f"d{self.latent_dim}_ls{self.lambda_smooth}_seed{self.seed}"
        )

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_text(cls, **parts: str) -> "RunKey":
        """A key from the parts of its path, all of them text."""
        return cls(**{f.name: f.type(parts[f.name]) for f in fields(cls)})


def write_json(path: str | Path, content: dict) -> None:
    """Write JSON aside and rename, so that a reader never sees half a file. Non-finite numbers become strings."""
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(_encode(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(aside, path)


def read_json(path: str | Path) -> dict:
    """Read what `write_json` wrote; ``"inf"``, ``"-inf"`` and ``"nan"`` become floats again.

    Raises:
        OdevaeError: if the file is missing or is not whole JSON.
    """
    try:
        return _decode(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OdevaeError(f"{path}: cannot be read ({error}); delete it and run the workflow again.") from error


_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _encode(value):
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _decode(value):
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    return value


def append_history(path: str | Path, row: dict[str, float]) -> None:
    """Append one epoch to ``history.csv``; the first row writes the header."""
    path = Path(path)
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def read_history(path: str | Path) -> list[dict[str, float]]:
    """Rows of ``history.csv``, one per epoch, every value a float; an unfinished last line is left out."""
    path = Path(path)
    if not path.exists():
        return []
    whole_lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    rows = list(csv.DictReader(whole_lines))
    return [
        {name: float(value) for name, value in row.items()}
        for row in rows
        if None not in row.values() and "" not in row.values()
    ]


def read_predictions(folder: str | Path) -> dict[str, np.ndarray]:
    """Arrays of ``predictions.npz`` of a run.

    Raises:
        OdevaeError: if the file is missing or damaged.
    """
    path = Path(folder) / PREDICTIONS_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise OdevaeError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); delete it and run the workflow again."
        ) from error


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
