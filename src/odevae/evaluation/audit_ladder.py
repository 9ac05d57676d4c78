"""The audit ladder: from the paper's protocol to an honest one, one flaw taken away at a time."""

from pathlib import Path

import numpy as np
import pandas as pd

from odevae.evaluation.group_means import mean_of, sd_of
from odevae.evaluation.trivial import TRIVIAL
from odevae.metrics import moments, r2_batched
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
    "test_trials": "scored trials",
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}
MEAN_ROW = "mean"
_SPREAD = ["r2", "r2_last", "r2_neuron"]
_OF_REFERENCES = [*(f"{name}_r2" for name in TRIVIAL), "reference_r2"]
_AVERAGED = ["n_values", *_SPREAD, *_OF_REFERENCES, "test_trials", "shared_trials", "padded_fraction"]
_PREDICTIONS = ("best", "best_sampled", "last_sampled")


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
    part, batch_size = fold.scored_part, run["spec"]["batch_size"]
    for rung, (flaw, protocol, space, recorded_only) in RUNGS.items():
        if protocol != run["key"]["protocol"]:
            continue
        counted = fold.raw.mask & fold.raw.recorded if recorded_only else fold.raw.mask
        mask, train_mask = counted[fold.parts[part]], counted[fold.parts["train"]]
        true, train = fold.truth(part, space), fold.truth("train", space)
        references = {
            f"{name}_r2": r2_batched(true, guess(train, train_mask, true, mask), mask, batch_size)
            for name, guess in TRIVIAL.items()
        }
        row = {
            "rung": rung,
            "flaw": flaw,
            **{name: run["key"][name] for name in ("dataset", "protocol")},
            "space": space,
            **{name: run["key"][name] for name in ("model", "latent_dim", "lambda_smooth", "split", "seed")},
            "status": run["status"],
            "n_values": int(mask.sum()) * true.shape[2],
            **dict.fromkeys(_SPREAD),
            **references,
            "reference_r2": max(references.values()),
            # How many different trials the scores rest on.
            "test_trials": len(set(audit["scored_trial_ids"])),
            "shared_trials": audit["shared_trials"],
            "padded_fraction": 0.0 if recorded_only else audit["padded_fraction"],
            # Of a mean row only.
            "n_runs": None,
            **{f"{name}_sd": None for name in _SPREAD},
        }
        if run["status"] == "ok":
            best, drawn, last = (fold.carried(part, predictions[f"{part}_{name}"], space) for name in _PREDICTIONS)
            row["r2"] = r2_batched(true, drawn, mask, batch_size)
            row["r2_last"] = r2_batched(true, last, mask, batch_size)
            row["r2_neuron"] = moments(true, best, mask).r2_neuron()
        rows.append(row)
    return rows


def ladder_of_study(results: str | Path, runs: dict[str, str]) -> pd.DataFrame:
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
    return ladder_table(rows)


def ladder_table(rows: list[dict]) -> pd.DataFrame:
    """Rows of runs in the order of rungs and models, each group followed by its mean row with SDs (n - 1).

    A mean row has ``mean`` for its seed, no split, and in ``n_runs`` how many runs it averages. Cells are Python
    objects, None where there is no value.
    """
    table = pd.DataFrame(rows, dtype=object).sort_values(["rung", "model", "split", "seed"], kind="stable")
    parts = []
    for _, members in table.groupby(["rung", "model", "latent_dim", "lambda_smooth"], sort=False):
        mean = {
            **members.iloc[0],
            "split": None,
            "seed": MEAN_ROW,
            "status": None,
            **{name: mean_of(members[name]) for name in _AVERAGED},
            "n_runs": len(members),
            **{f"{name}_sd": sd_of(members[name]) for name in _SPREAD},
        }
        parts += [members, pd.DataFrame([mean], dtype=object)]
    return pd.concat(parts, ignore_index=True)
