"""What the numbers of a study say, in sentences: every figure in them is computed from the table."""

from collections.abc import Sequence

import numpy as np

from odevae.protocols.few_trials import FEW_TRIALS

# Protocols whose scored trials are never training trials.
UNSEEN = ("heldout",)
# What a model is given of a trial that it predicts, by the task of its scores, see `run_scores.task_of`.
GIVEN = {
    "reconstruct": "the whole trial",
    "onset": "the first frame",
    "onset5": "the first frame and the mean of the first five",
}

_GROUP = ("dataset", "protocol", "model", "latent_dim", "lambda_smooth")


def groups_of(rows: Sequence[dict]) -> list[list[dict]]:
    """The runs of a study's table that differ in seed and split only, group by group, in the order of the table."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["n_runs"] is None:
            groups.setdefault(tuple(row[name] for name in _GROUP), []).append(row)
    return list(groups.values())


def run_to_turn(rows: Sequence[dict]) -> dict | None:
    """The run whose manifold a page shows: the first finished one that was scored on unseen trials, if there is one.

    The first and not the best, because a good score is no reason to look at a run.
    """
    finished = [row for group in groups_of(rows) for row in group if row["status"] == "ok"]
    return next((row for row in finished if row["protocol"] in UNSEEN), finished[0] if finished else None)


def findings(rows: Sequence[dict]) -> list[str]:
    """Sentences about a study: what was scored on what, and whether the model beats the best guess on unseen trials.

    Args:
        rows: of the study's table, as `table_files.read_csv` gives them.
    """
    groups = groups_of(rows)
    unseen = [group for group in groups if group[0]["protocol"] in UNSEEN]
    seen = [group for group in groups if group[0]["protocol"] not in UNSEEN]
    sentences = [against_the_best_guess(group) for group in unseen]
    if not unseen:
        sentences.append("No run of this study was scored on held-out trials.")
    sentences += [what_was_scored(group) for group in seen]
    sentences += [how_many_trials(group) for group in groups]
    failed = [row for group in groups for row in group if row["status"] != "ok"]
    if failed:
        seeds = ", ".join(f"{row['protocol']} seed {row['seed']:.0f}" for row in failed)
        sentences.append(f"{len(failed)} of {sum(map(len, groups))} runs diverged: {seeds}.")
    return sentences + lost_dimensions([row for group in groups for row in group])


def lost_dimensions(runs: Sequence[dict]) -> list[str]:
    """A sentence if the latent paths of some finished runs span fewer dimensions than the model has."""
    lost = [row for row in runs if row["status"] == "ok" and row["latent_rank"] < row["latent_dim"]]
    if not lost:
        return []
    which = ", ".join(
        f"{row['model']} seed {row['seed']:.0f} uses {row['latent_rank']:.0f} of {row['latent_dim']:.0f}"
        for row in lost
    )
    return [f"{len(lost)} of {len(runs)} runs lost latent dimensions: {which}."]


def described(sentences: Sequence[str]) -> str:
    """Sentences as a list in Markdown."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def against_the_best_guess(group: Sequence[dict]) -> str:
    """Does the model beat the best trivial guess on the same values of held-out trials?"""
    pairs = [(row["r2_neuron"], row["trivial_r2_neuron"]) for row in group if row["r2_neuron"] is not None]
    if not pairs:
        return f"{_name(group)}: no run has a score on held-out trials."
    scores, guesses = np.array(pairs).T
    better = int((scores > guesses).sum())
    if better == len(pairs):
        verdict = "beats the best trivial guess in every run" if better > 1 else "beats the best trivial guess"
    elif better == 0:
        verdict = (
            "does not beat the best trivial guess in any run" if len(pairs) > 1 else "does not beat the best guess"
        )
    else:
        verdict = f"beats the best trivial guess in {better} of {len(pairs)} runs"
    return (
        f"On held-out trials, given {GIVEN[group[0]['task']]}, {_name(group)} {verdict}: r2_neuron {_mean(scores)} "
        f"against {_mean(guesses)}."
    )


def what_was_scored(group: Sequence[dict]) -> str:
    """How much of what was scored was trained on, and how much is padding."""
    shared = np.mean([row["shared_trials"] for row in group])
    padding = np.mean([row["padded_fraction"] for row in group])
    best = [row["best_r2"] for row in group if row["best_r2"] is not None]
    return (
        f"Under {group[0]['protocol']}, the published R2 of {_name(group)} is {_mean(best)} at the best epoch; "
        f"{shared:.0%} of the scored sequences come from trials that were also trained on, and {padding:.0%} of the "
        "scored bins are padding."
    )


def how_many_trials(group: Sequence[dict]) -> str:
    """On how many trials and runs the scores of a group rest."""
    counts = sorted({int(row["test_trials"]) for row in group})
    trials = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    noun = "trial" if counts == [1] else "trials"
    anecdote = "; fewer than five are an anecdote, not a result" if counts[0] < FEW_TRIALS else ""
    runs = "1 run" if len(group) == 1 else f"{len(group)} runs"
    return f"{_name(group)} under {group[0]['protocol']}: {runs}, each scored on {trials} {noun}{anecdote}."


def _name(group: Sequence[dict]) -> str:
    first = group[0]
    return f"{first['model']} (D = {first['latent_dim']:.0f}, {first['dataset']})"


def _mean(values: Sequence[float]) -> str:
    values = np.asarray(values, dtype=float)
    if not len(values):
        return "not defined"
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def is_mean(row: dict) -> bool:
    """Whether a row of a study's table is the mean of several runs."""
    return row["n_runs"] is not None
