"""What the numbers of a benchmark say, in sentences: every figure in them is computed from the table."""

from collections.abc import Mapping, Sequence

import numpy as np

from odevae.benchmark.dynamics import answer_of, because
from odevae.benchmark.families import DYNAMICS, EVENT_SCORES, FAMILIES, Task
from odevae.protocols.few_trials import FEW_TRIALS

# Tasks whose event scores are worth a sentence: those that a copy of what was seen cannot win.
EVENTS_OF = ("cosmooth", "new_events")


def scores_by_task(rows: Sequence[dict], metric: str | None = None) -> dict[str, list[dict]]:
    """The rows of each task that has a score to compare, in the order of `FAMILIES`.

    Args:
        rows: of the benchmark's table.
        metric: one of `EVENT_SCORES`; the headline of each task if not given.
    """
    tasks: dict[str, list[dict]] = {}
    for row in rows:
        wanted = row["metric"] == metric if metric else is_headline(row)
        known = row["mean"] is not None and np.isfinite(row["mean"])
        if wanted and known and Task.parse(row["task"]).family in FAMILIES:
            tasks.setdefault(row["task"], []).append(row)
    return {task: tasks[task] for task in sorted(tasks, key=place_of)}


def is_headline(row: Mapping) -> bool:
    """Whether a row of the table has the score that is compared first in its task."""
    return Task.parse(row["task"]).headline([row["metric"]]) is not None


def place_of(task: str) -> tuple:
    """For sorting: tasks by family in the order of `FAMILIES`, then by number; those without a family last."""
    found = Task.parse(task)
    return FAMILIES.index(found.family) if found.family in FAMILIES else len(FAMILIES), found


def benchmark_findings(rows: Sequence[dict]) -> list[str]:
    """Sentences about a benchmark: on what it rests, in which tasks a model is above the one it is compared with.

    Args:
        rows: of the benchmark's table, as `table_files.read_csv` gives them.
    """
    tasks = scores_by_task(rows)
    scored = [row for found in tasks.values() for row in found]
    if not scored:
        return ["No model has a score."]
    better, none = [], []
    for task, found in tasks.items():
        if task == DYNAMICS:
            continue
        compared = [row for row in found if row["compared_with"] is not None and row["difference_low"] is not None]
        if compared:
            reference, above = compared[0]["compared_with"], is_above(compared)
            if above:
                better.append(f"{task} {above} of {len(compared)} ({reference})")
            else:
                none.append(f"{task} ({reference})")
    sentences = [_what_it_rests_on(scored), *verdicts(rows)]
    if better:
        sentences.append(
            "Scores above the model that they are compared with on the same splits (the 95 % interval of the "
            f"difference is above 0): {', '.join(better)}."
        )
    if none:
        sentences.append(f"No score is above the model that it is compared with in {', '.join(none)}.")
    decoded = [
        f"{task.partition('/')[2]} {sum(row['mean'] > row['null_95'] for row in known)} of {len(known)}"
        for task, found in tasks.items()
        if (known := [row for row in found if row["null_95"] is not None])
    ]
    sentences += [sentence for metric in EVENT_SCORES if (sentence := _of_events(rows, metric))]
    if decoded:
        sentences.append(f"Scores of decoding above 95 % of their own null: {', '.join(decoded)}.")
    return sentences


def verdicts(rows: Sequence[Mapping]) -> list[str]:
    """The verdict on dynamics of each data set, at each dimension; with the reason if there is one dimension."""
    rows = [row for row in rows if row["task"] == DYNAMICS]
    sentences = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == dataset]
        found = [(row["difference"], row["difference_low"], row["difference_high"]) for row in own]
        by_dim = [answer_of(low, high) for _, low, high in found]
        if len(own) == 1:
            ((share, low, high),) = found
            reason = because(by_dim[0], share, low, high, int(own[0]["n_values"]))
            sentences.append(f"Dynamics in {dataset} (D = {own[0]['latent_dim']:.0f}): {by_dim[0]}, because {reason}.")
            continue
        listed = [
            f"{answer} at D = {row['latent_dim']:.0f} ({share:z.0%} [{low:z.0%}, {high:z.0%}])"
            for answer, row, (share, low, high) in zip(by_dim, own, found, strict=True)
        ]
        sentences.append(
            f"Dynamics in {dataset}: {'; '.join(listed)}. That is what the field predicts from the first half of a "
            "trial, of what can be predicted of the second half, beyond latents that are held or drawn back to their "
            "mean."
        )
    return sentences


def _of_events(rows: Sequence[dict], metric: str) -> str:
    """The best score of events in each task of `EVENTS_OF`; empty if there is none."""
    best = {
        task: max(found, key=lambda row: row["mean"])
        for task, found in scores_by_task(rows, metric).items()
        if Task.parse(task).family in EVENTS_OF
    }
    named = [f"{task} {row['model']} {row['mean']:.3f}" for task, row in best.items()]
    return f"Best {metric}, whether a neuron is active and not how much: {', '.join(named)}." if named else ""


def is_above(rows: Sequence[dict]) -> int:
    """How many scores are above those of the model that they are compared with."""
    return sum(row["difference_low"] is not None and row["difference_low"] > 0 for row in rows)


def _what_it_rests_on(rows: Sequence[dict]) -> str:
    models, datasets = {row["model"] for row in rows}, list(dict.fromkeys(row["dataset"] for row in rows))
    on = datasets[0] if len(datasets) == 1 else f"{len(datasets)} data sets"
    splits, trials = _count([row["n_splits"] for row in rows], "random split"), [row["test_trials"] for row in rows]
    anecdote = "; scores on fewer than five are an anecdote, not a result" if min(trials) < FEW_TRIALS else ""
    return f"{_count([len(models)], 'model')} on {on}: {splits}, {_count(trials, 'test trial')} each{anecdote}."


def _count(values: Sequence[float], noun: str) -> str:
    found = sorted(set(values))
    number = f"{found[0]:.0f}" if len(found) == 1 else f"{found[0]:.0f} to {found[-1]:.0f}"
    return f"{number} {noun}" + ("" if found == [1] else "s")
