"""Run directories as training leaves them, and what a store says of them."""

import math
from pathlib import Path

from odevae.storage import run_folder
from odevae.storage.files import write_json
from odevae.storage.scores import REFERENCE, Score
from odevae.tracking.mirror import Mirror
from odevae.tracking.records import HISTORY, record_of_run

KEY = run_folder.RunKey("foraging", "heldout", 0, "v6", 5, "0.01", 1)
OBSERVATIONS = "pca-baseline"
COLUMNS = ("train_loss", "val_loss", "val_r2", "train_kl")


def write_run(root: Path, key=KEY, attempt="a" * 32, epochs=3, columns=COLUMNS, **changes) -> Path:
    """A run directory as training leaves it; epochs that it already holds stay as they are."""
    folder = root / key.path
    folder.mkdir(parents=True, exist_ok=True)
    history = folder / run_folder.HISTORY_FILE
    for epoch in range(len(run_folder.read_history(history)), epochs):
        run_folder.append_history(history, {"epoch": epoch} | {name: value_of(epoch, name) for name in columns})
    info = {
        "key": key.as_dict(),
        "run": key.path,
        "observations": OBSERVATIONS,
        "spec": {"encoder": "gru", "width": 64, "layers": [32, 32]},
        "status": "ok",
        "reason": "",
        "attempt": attempt,
        "epochs": epochs,
        "best_epoch": 1,
        "best_r2": 0.5,
        "final_r2": 0.25,
        "best_val_loss": 1.5,
        "started_at": "2025-01-01T10:00:00+00:00",
        "finished_at": "2025-01-01T10:01:00+00:00",
        "duration_s": 60.0,
        "host": "node1",
        "threads": 1,
        "versions": {"torch": "2.6"},
        "git_commit": "c" * 40,
        "git_dirty": False,
        "data_sha256": "d" * 64,
    }
    write_json(folder / run_folder.RUN_FILE, info | changes)
    return folder


def write_results(folder: Path, attempt="a" * 32, fold=OBSERVATIONS, r2_neuron=0.1) -> None:
    """What preprocessing, evaluation and manifold leave of a run."""
    of_test = ("test", "raw", "onset5")
    scores = [
        Score(*of_test, "best", "mean", "r2_neuron", r2_neuron),
        Score(*of_test, "best", "mean", "skill", math.nan),
        Score(*of_test, REFERENCE, "training_mean", "r2_neuron", -0.2),
    ]
    metrics = {"attempt": attempt, "scored_part": "test", "task": "onset5", "scores": [s._asdict() for s in scores]}
    write_json(folder / run_folder.METRICS_FILE, metrics)
    audit = {"scored_trial_ids": [3, 4, 4], "shared_trials": 0.25, "padded_fraction": 0.5}
    (folder.parents[1] / fold).mkdir(exist_ok=True)
    write_json(folder.parents[1] / fold / run_folder.AUDIT_FILE, audit)
    write_json(folder / run_folder.MANIFOLD_FILE, {"attempt": attempt, "values": {"manifold_trial_stress": 0.2}})
    if not (folder / run_folder.CHECKPOINT_FILE).exists():
        (folder / run_folder.CHECKPOINT_FILE).write_bytes(b"weights")
    (folder / run_folder.FIGURES_FOLDER).mkdir(exist_ok=True)
    (folder / run_folder.FIGURES_FOLDER / "fit.png").write_bytes(b"figure")


def put(mirror: Mirror, folder: Path) -> str:
    """Bring one run directory into the store; gives its run id."""
    return mirror.put(record_of_run(folder))


def value_of(epoch: int, column: str) -> float:
    return epoch + len(column) / 7


def histories(mirror: Mirror, run_id: str, columns=COLUMNS) -> dict[str, list[tuple[int, float]]]:
    """Epochs and values in the store by column of ``history.csv``."""
    client = mirror.client
    found = {name: client.get_metric_history(run_id, tracked) for tracked, name in HISTORY.items() if name in columns}
    return {name: sorted((m.step, m.value) for m in metrics) for name, metrics in found.items()}


def whole(epochs: int, columns=COLUMNS) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(epoch, value_of(epoch, name)) for epoch in range(epochs)]
        for name in HISTORY.values()
        if name in columns
    }
