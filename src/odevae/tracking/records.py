"""What the store should hold about a run, a preprocessing or a benchmark, read from disk, without MLflow."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from odevae.errors import OdevaeError
from odevae.storage import run_folder
from odevae.storage.files import read_json, sha256_of
from odevae.storage.scores import Score, headline, scores_of

# The longest value of a parameter or tag that every MLflow store takes, in characters.
MAX_VALUE = 6000
# What the UI shows as the description of a run or an experiment, in Markdown.
NOTE_TAG = "mlflow.note.content"
# The row of a run in the table of its study; the views sort by it.
ROW_TAG = "odevae.row"
# Characters of a dataset's digest that MLflow keeps.
MAX_DIGEST = 36

LOSSES = ("loss", "reconstruction", "kl", "smoothness", "transition", "lle")
STATUS = {"running": "RUNNING", "ok": "FINISHED", "diverged": "FAILED"}
SUMMARY = ("best_r2", "best_val_loss", "best_epoch", "final_r2")
# Columns of a history that the store repeats, by their names there: the UI groups metrics by the part before the slash.
# The other columns follow from these and the settings, and history.csv is among the artifacts.
HISTORY = {
    **{f"train/{term}": f"train_{term}" for term in LOSSES},
    **{f"train/{name}": name for name in ("solver_steps", "solver_error", "skipped_steps")},
    "train/kl_weight": "weight_kl",
    **{f"validation/{term}": f"val_{term}" for term in ("loss", "reconstruction", "kl", "r2")},
}
# Among the artifacts of a run, its scores as a table that the UI shows.
SCORES_TABLE = "scores.json"

# Names of columns, and rows.
Table = tuple[Sequence[str], Sequence[Sequence]]


@dataclass(frozen=True)
class Record:
    """One run of the store.

    Attributes:
        name: what the run is found by.
        attempt: changes when the work is done again, so that the old run is replaced.
        params, tags: text by name.
        summary: the values that a run has once; NaN where infinite.
        summary_ms: when they were computed, where that was after the end of the run.
        history: values by column for each epoch; NaN where infinite.
        history_ms: when the history was last written.
        status: ``RUNNING``, ``FINISHED`` or ``FAILED``.
        start_ms, end_ms: milliseconds since 1970; no end while it is running.
        dataset: name, digest and place of the recording.
        artifacts: file by its path among the artifacts.
        tables: by its path among the artifacts, names of columns and rows of a table that the UI shows.
        model: file by its name, of the trained model that the run left; empty if it left none.

    Raises:
        OdevaeError: if the name has a character that a search of MLflow could misread.
    """

    name: str
    attempt: str
    params: dict[str, str]
    tags: dict[str, str]
    summary: dict[str, float]
    status: str
    start_ms: int
    end_ms: int | None
    summary_ms: dict[str, int] = field(default_factory=dict)
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    history_ms: int = 0
    dataset: tuple[str, str, str] | None = None
    artifacts: dict[str, Path] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    model: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self):
        require_plain(self.name)

    @property
    def columns(self) -> list[str]:
        return list(next(iter(self.history.values()), {}))

    def moment_ms(self, name: str) -> int:
        """When a value that a run has once was computed: the same whenever it is logged."""
        return self.summary_ms.get(name) or self.end_ms or self.start_ms


def require_plain(name: str) -> str:
    """The name itself, which searches of MLflow put between quotes.

    Raises:
        OdevaeError: if it has characters that no path of a run and no project has.
    """
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", name):
        raise OdevaeError(f"{name!r} is no name of a run; only letters, digits and the characters _ . / - are.")
    return name


def record_of_run(run_dir: str | Path) -> Record:
    """Read a run directory, at whatever stage the run is.

    Raises:
        OdevaeError: if ``run.json`` or a later file is missing or damaged.
    """
    folder = Path(run_dir)
    info = read_json(folder / run_folder.RUN_FILE)
    key, running = info["key"], info["status"] == "running"
    summary = {f"score/{name}": info[name] for name in SUMMARY if info.get(name) is not None}
    stage, scores, later_ms = "train", [], {}
    metrics_file, manifold_file = folder / run_folder.METRICS_FILE, folder / run_folder.MANIFOLD_FILE
    # A file of an earlier training does not describe this one.
    if metrics := _of_attempt(metrics_file, info):
        stage, scores = "evaluate", scores_of(metrics)
        audit = read_json(folder.parents[1] / info["observations"] / run_folder.AUDIT_FILE)
        found = {f"score/{name}": value for name, value in headline(metrics, audit).items() if value is not None}
        summary |= found
        later_ms |= dict.fromkeys(found, _written_ms(metrics_file))
    if manifold := _of_attempt(manifold_file, info):
        stage = "manifold"
        found = {f"manifold/{name.removeprefix('manifold_')}": value for name, value in manifold["values"].items()}
        summary |= found
        later_ms |= dict.fromkeys(found, _written_ms(manifold_file))
    history_file = folder / run_folder.HISTORY_FILE
    history = {
        int(row["epoch"]): {name: row[column] for name, column in HISTORY.items() if column in row}
        for row in run_folder.read_history(history_file)
    }
    about = ("status", "reason", "host", "data_sha256", "git_commit", "git_dirty")
    return Record(
        name=info["run"],
        attempt=info["attempt"],
        params=texts(flat(info["spec"]) | key | {name: info[name] for name in ("observations", "threads")}),
        tags=texts(
            {"stage": stage, "infinite": _infinite_of(summary, *history.values())}
            | {name: info[name] for name in about}
            | {"mlflow.source.git.commit": info["git_commit"], NOTE_TAG: _note_of_run(info, summary)}
            | {f"version.{name}": version for name, version in info["versions"].items()}
        ),
        summary=numbers(summary),
        summary_ms=later_ms,
        status=STATUS[info["status"]],
        start_ms=_milliseconds(info["started_at"]),
        end_ms=_milliseconds(info["finished_at"]) if info["finished_at"] and not running else None,
        history={epoch: numbers(row) for epoch, row in history.items()},
        history_ms=_written_ms(history_file) if history else 0,
        dataset=_dataset(key["dataset"], info["data_sha256"]),
        # While a training runs, its checkpoint may be replaced while we read it.
        artifacts={} if running else _artifacts_of_run(folder),
        tables={SCORES_TABLE: (Score._fields, scores)} if scores else {},
        # A model without scores says nothing in a list of models.
        model=_model_of_run(folder, info) if scores and info["status"] == "ok" else {},
    )


def _of_attempt(file: Path, info: dict) -> dict:
    """What a file says of the training of ``run.json``; empty if it does not."""
    content = read_json(file) if file.exists() else {}
    return content if content.get("attempt") == info["attempt"] else {}


def _note_of_run(info: dict, summary: dict[str, float]) -> str:
    """The description of a run: its scores in one line, and where its folder is."""
    value = {name.removeprefix("score/"): f"{number:.3f}" for name, number in summary.items()}
    said = [f"{info['status']} after {info['epochs']} epochs"]
    if "best_r2" in value:
        said.append(f"published R2 {value['best_r2']} at the best epoch, {value['final_r2']} at the last")
    if "r2_neuron" in value:
        said.append(
            f"r2_neuron {value['r2_neuron']} (best guess {value['trivial_r2_neuron']}) on "
            f"{summary['score/test_trials']} trials, {summary['score/shared_trials']:.0%} of the scored sequences "
            "from trials that were also trained on"
        )
    return f"{'; '.join(said)}.\n\nFolder: `results/{info['run']}`"


def _model_of_run(folder: Path, info: dict) -> dict[str, Path]:
    """What loads the model again (`odevae.evaluation.trained_model`)."""
    return {name: folder / name for name in (run_folder.RUN_FILE, run_folder.CHECKPOINT_FILE)}


def record_of_fold(fold_dir: str | Path, name: str) -> Record:
    """Read what the preprocessing of a fold wrote: its settings become parameters, the audit's numbers metrics.

    Raises:
        OdevaeError: if one of the two files is missing or damaged.
    """
    files = {file: Path(fold_dir) / file for file in (run_folder.PREPROCESSING_FILE, run_folder.AUDIT_FILE)}
    settings, audit = (flat(read_json(path)) for path in files.values())
    found = {f"audit/{name}": value for name, value in audit.items()}
    return Record(
        name=name,
        attempt=digest_of(files),
        params=texts(settings),
        tags={"stage": "preprocessing", "infinite": _infinite_of(found), NOTE_TAG: f"Folder: `results/{name}`"},
        summary=numbers(found),
        artifacts=files,
        **_finished_with(files[run_folder.AUDIT_FILE]),
    )


def record_of_fit(file: str | Path, name: str, latent_dim: int, compared: Callable[[str, dict], str]) -> Record:
    """Read the scores of one model on one split at one of its dimensions, from a cell of a benchmark.

    Args:
        file: the cell.
        name: of the fit.
        latent_dim: its dimension.
        compared: gives, of the name of a task and its scores, the metric that the benchmark compares.

    Raises:
        OdevaeError: if the file is missing or damaged.
    """
    content = read_json(file)
    (fit,) = (fit for fit in content["fits"] if fit["latent_dim"] == latent_dim)
    shown = {f"score/{task}": values[compared(task, values)] for task, values in fit["scores"].items()}
    rows = [(task, metric, value) for task, values in fit["scores"].items() for metric, value in values.items()]
    return Record(
        name=name,
        attempt=sha256_of(file),
        params=texts({name: content[name] for name in ("dataset", "split", "model")} | {"latent_dim": latent_dim}),
        tags=texts(
            {"stage": "benchmark", "infinite": _infinite_of(shown), NOTE_TAG: f"File: `{Path(file).as_posix()}`"}
            | {name: content[name] for name in ("host", "data_sha256", "git_commit", "git_dirty")}
        ),
        summary=numbers(shown | {"fit_s": fit["fit_s"]}),
        dataset=_dataset(content["dataset"], content["data_sha256"]),
        artifacts={Path(file).name: Path(file)},
        tables={SCORES_TABLE: (("task", "metric", "value"), rows)},
        **_finished_with(Path(file)),
    )


def digest_of(files: dict[str, Path]) -> str:
    """SHA-256 of files and of their names, together."""
    listing = [f"{sha256_of(path)} {name}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def flat(content: dict, prefix: str = "") -> dict:
    """Nested dictionaries as one, names joined with dots."""
    result = {}
    for name, value in content.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return result


def texts(values: dict) -> dict[str, str]:
    """Values as the text of parameters or tags, cut to the length that MLflow takes."""
    return {
        metric_name(name): (value if isinstance(value, str) else json.dumps(value))[:MAX_VALUE]
        for name, value in values.items()
    }


def numbers(values: dict) -> dict[str, float]:
    """The numbers among the values, as metrics. Infinity becomes NaN: MLflow would show it as a finite 1.8e308."""
    return {
        metric_name(name): math.nan if _infinite(value) else float(value)
        for name, value in values.items()
        if isinstance(value, (int, float))
    }


def _infinite(value) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _infinite_of(*groups: dict) -> str:
    """Names of the infinite values, for a tag."""
    return ", ".join(sorted({name for values in groups for name, value in values.items() if _infinite(value)}))


def _dataset(name: str, sha256: str) -> tuple[str, str, str]:
    return name, sha256[:MAX_DIGEST], f"{name}/recording.npz"


def metric_name(name: str) -> str:
    """A name as MLflow takes it: it refuses other characters, for instance the one in ``forecast@5``."""
    return re.sub(r"[^\w./: -]", "_", name)


def _finished_with(file: Path) -> dict:
    return {"status": "FINISHED", "start_ms": _written_ms(file), "end_ms": _written_ms(file)}


def _artifacts_of_run(folder: Path) -> dict[str, Path]:
    figures = sorted((folder / run_folder.FIGURES_FOLDER).rglob("*"))
    names = (run_folder.RUN_FILE, run_folder.HISTORY_FILE, run_folder.METRICS_FILE)
    files = [*(folder / name for name in names), *figures]
    # Hidden files are Snakemake's.
    return {f.relative_to(folder).as_posix(): f for f in files if f.is_file() and not f.name.startswith(".")}


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _written_ms(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000
