"""The audit ladder: from the paper's protocol to an honest one, one flaw taken away at a time."""

from pathlib import Path

import numpy as np

from odevae.evaluation.trivial import TRIVIAL
from odevae.metrics import r2_batched, r2_neuron
from odevae.protocols.fold import Fold, load_fold
from odevae.storage.run_folder import read_predictions, read_result

# Rung, what it takes away, and where its scores come from: protocol, space, recorded bins only.
RUNGS = {
    "a": ("as published", "published", "pca", False),
    "b": ("shared trials removed from training", "published_unshared", "pca", False),
    "c": ("padding masked out of the score", "published", "pca", True),
    "d": ("PCA and scaling fitted on training trials", "published_train_fit", "pca", False),
    "e": ("recorded units instead of whitened components", "published", "raw", False),
    "f": ("a random tenth validates, not the last few", "published_random", "pca", False),
    "g": ("all of them, native frames, whole trials held out", "heldout", "raw", False),
}
COLUMNS = (
    "rung",
    "flaw",
    "dataset",
    "protocol",
    "space",
    "model",
    "latent_dim",
    "lambda_smooth",
    "split",
    "seed",
    "status",
    "n_values",
    "r2",
    "r2_last",
    "r2_neuron",
    *(f"{name}_r2" for name in TRIVIAL),
    "reference_r2",
    "shared_trials",
    "padded_fraction",
    "n_runs",
    "r2_sd",
    "r2_last_sd",
    "r2_neuron_sd",
)
# What the readable table shows, with its headings.
READABLE = {
    "rung": "rung",
    "flaw": "what is taken away",
    "model": "model",
    "split": "split",
    "seed": "seed",
    "n_runs": "runs",
    "r2": "R2, best epoch",
    "r2_last": "R2, last epoch",
    "r2_neuron": "r2_neuron",
    "training_mean_r2": "training mean",
    "trial_time_mean_r2": "trial-time mean",
    "hold_first_frame_r2": "first frame held",
    "hold_last_frame_r2": "last frame held",
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}
MEAN_ROW = "mean"
_AVERAGED = COLUMNS[COLUMNS.index("n_values") : COLUMNS.index("n_runs")]


def rungs_of_run(fold: Fold, run: dict, predictions: dict[str, np.ndarray], audit: dict) -> list[dict]:
    """Rows of every rung that a run's protocol serves.

    ``r2`` is the published definition at the best epoch (one draw from the posterior, the scalar mean in the
    denominator, averaged over batches) in the rung's space and bins, ``r2_last`` the same at the last epoch;
    ``r2_neuron`` takes the posterior mean and each channel's own mean. The references are scored as ``r2`` is, on the
    same values.

    Args:
        fold: what the run was trained on.
        run: content of ``run.json``.
        predictions: arrays of ``predictions.npz``.
        audit: content of ``audit.json`` of the fold.
    """
    rows = []
    for rung, (flaw, protocol, space, recorded_only) in RUNGS.items():
        if protocol != run["key"]["protocol"]:
            continue
        part = fold.scored_part
        mask, train_mask = fold.raw.mask[fold.parts[part]], fold.raw.mask[fold.parts["train"]]
        padded = audit["padded_fraction"]
        if recorded_only:
            mask = mask & fold.raw.recorded[fold.parts[part]]
            train_mask = train_mask & fold.raw.recorded[fold.parts["train"]]
            padded = 0.0
        true, train = fold.truth(part, space), fold.truth("train", space)
        batch_size = run["spec"]["batch_size"]
        references = {
            f"{name}_r2": r2_batched(true, guess(train, train_mask, true, mask), mask, batch_size)
            for name, guess in TRIVIAL.items()
        }
        row = {
            **dict.fromkeys(COLUMNS),
            **run["key"],
            "rung": rung,
            "flaw": flaw,
            "space": space,
            "status": run["status"],
            "n_values": int(mask.sum()) * true.shape[2],
            **references,
            "reference_r2": max(references.values()),
            "shared_trials": audit["shared_trials"],
            "padded_fraction": padded,
        }
        if run["status"] == "ok":
            scored = {name: fold.carried(part, predictions[f"{part}_{name}"], space) for name in _PREDICTIONS}
            row["r2"] = r2_batched(true, scored["best_sampled"], mask, batch_size)
            row["r2_last"] = r2_batched(true, scored["last_sampled"], mask, batch_size)
            row["r2_neuron"] = r2_neuron(true[mask].astype(float), scored["best"][mask].astype(float))
        rows.append(row)
    return rows


def rungs_of_study(results: str | Path, runs: dict[str, str]) -> list[dict]:
    """The table of a ladder, from disk.

    Args:
        results: the folder ``results``.
        runs: folder of each run's fold by the run's folder, both below `results`.

    Raises:
        OdevaeError: if a file is missing or damaged, or does not belong to the run.
    """
    rows = []
    for run, fold in runs.items():
        record, _, audit = read_result(Path(results) / run, Path(results) / fold)
        predictions = read_predictions(Path(results) / run, record)
        rows += rungs_of_run(load_fold(Path(results) / fold), record, predictions, audit)
    return with_means(rows)


_PREDICTIONS = ("best", "best_sampled", "last_sampled")


def with_means(rows: list[dict]) -> list[dict]:
    """Rows of runs in the order of rungs and models, each group followed by its mean row with SDs (n - 1).

    A mean row has ``mean`` for its seed, no split unless all share one, and in ``n_runs`` how many runs it rests on.
    """
    groups: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda r: (r["rung"], r["model"], r["split"], r["seed"])):
        groups.setdefault((row["rung"], row["model"], row["latent_dim"], row["lambda_smooth"]), []).append(row)
    table = []
    for members in groups.values():
        mean = {**members[0], "split": None, "seed": MEAN_ROW, "status": None, "n_runs": len(members)}
        for name in _AVERAGED:
            values = np.array([row[name] for row in members if row[name] is not None], dtype=float)
            mean[name] = float(values.mean()) if len(values) else None
            if f"{name}_sd" in mean:
                mean[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
        table += [*members, mean]
    return table
