"""The figures of one run, put together from what its stages left on disk."""

import numpy as np
from matplotlib.figure import Figure

from odevae import plots
from odevae.folds import Fold
from odevae.manifold import embed, thin
from odevae.recording import require_covariate


def figures_of_run(
    fold: Fold, run: dict, history: list[dict], predictions: dict[str, np.ndarray], colour_by: str
) -> tuple[dict[str, Figure], dict[str, float]]:
    """Manifolds, learning curves and example neurons of the best epoch, on the part that is scored.

    Args:
        fold: what the run was trained on.
        run: content of ``run.json``.
        history: rows of ``history.csv``.
        predictions: arrays of ``predictions.npz``.
        colour_by: covariate that colours the manifold of many trials; empty for the time in the trial.

    Returns:
        Figures by name, and the stress of each embedding by name.

    Raises:
        OdevaeError: if the covariate does not exist.
    """
    title = run["run"]
    figures = {"learning_curves": plots.learning_curves(history, title, run["best_epoch"] or None)}
    part = fold.scored_part
    rows = predictions[f"{part}_rows"]
    path = predictions.get(f"{part}_best_path")  # (B, L, D)
    if path is None or not np.isfinite(path).all():
        reason = run["reason"] or "the path of a held-out trial cannot be integrated"
        nothing = plots.message(f"There is no latent path to show ({reason}).", title)
        return figures | dict.fromkeys(("manifold_trial", "manifold_trials", "example_neurons"), nothing), {}
    counted = fold.raw.mask[rows]
    first = counted[0]
    time_s = fold.grid_s[first]
    subtitle = f"{title}\n{part} trial {fold.raw.trial_ids[rows[0]]}, best epoch"

    one = embed(path[0, first])
    figures["manifold_trial"] = plots.manifold_of_trial(one.coordinates, time_s, one.stress, subtitle)

    trial, bin_ = thin(counted)
    many = embed(path[trial, bin_])
    colour, label = _colour(fold, rows, colour_by)
    figures["manifold_trials"] = plots.manifold_of_trials(
        many.coordinates,
        trial,
        colour[trial, bin_],
        label,
        many.stress,
        f"{title}\n{_count(rows, part)}, best epoch",
    )

    true = fold.raw.values[rows[0], first]
    predicted = fold.to_raw(predictions[f"{part}_best"][:1], rows[:1])[0, first]
    figures["example_neurons"] = plots.example_neurons(
        true, predicted, time_s, plots.most_active(true), fold.about["units"], subtitle
    )
    return figures, {"manifold_trial_stress": one.stress, "manifold_trials_stress": many.stress}


def _count(rows: np.ndarray, part: str) -> str:
    """How many sequences are shown, and of how many trials where the published protocol repeats some."""
    distinct = len(np.unique(rows))
    return f"{len(rows)} {part} {'trials' if distinct == len(rows) else f'sequences of {distinct} trials'}"


def _colour(fold: Fold, rows: np.ndarray, colour_by: str) -> tuple[np.ndarray, str]:
    """Values ``(B, L)`` that colour the points, and their label."""
    if not colour_by:
        return np.broadcast_to(fold.grid_s, (len(rows), len(fold.grid_s))), "time (s)"
    require_covariate(colour_by, fold.raw.covariates, fold.about["recording"])
    return fold.raw.covariates[colour_by][rows], colour_by
