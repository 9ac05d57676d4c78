"""The first things that a reader asks of a benchmark, answered from its table."""

from collections.abc import Sequence

import pandas as pd

from odevae.benchmark.families import DYNAMICS, Task
from odevae.report.benchmark_findings import is_above, scores_by_task, verdicts

# Of a model next to the one that it is compared with, by the 95 % interval of their difference.
BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown to differ"
# Of decoding, next to the 95th percentile of its null.
ABOVE_NULL, NOT_ABOVE_NULL = "above its null", "not above its null"


def answers(rows: Sequence[dict], asked: str) -> list[str]:
    """Sentences: do few latents carry the activity, do they predict neurons that were left out, is a model better than
    a simple guess, and does the state determine what follows it.

    Args:
        rows: of the benchmark's table, as `odevae.report.table_files.read_csv` gives them.
        asked: the model in question; the simple guess of a task is the model that is compared with.
    """
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    sentences = []
    for dataset in datasets:
        on = f"{dataset}: " if len(datasets) > 1 else ""
        own = [row for row in rows if row["dataset"] == dataset]
        found = [_carried(own), _left_out(own), _against_guess(own, asked)]
        sentences += [on + sentence for sentence in found if sentence]
    return [*sentences, *verdicts(rows)]


def best_of_each_task(rows: Sequence[dict], asked: str | None = None) -> dict:
    """For each task, on each data set, the best models and what they are compared with.

    Args:
        rows: of the benchmark's table.
        asked: the model in question; without it, how many scores are above what they are compared with.

    Returns:
        ``head`` and ``rows`` of a table, texts.
    """
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    lines = []
    for task, found in scores_by_task(rows).items():
        for dataset in datasets:
            own = [row for row in found if row["dataset"] == dataset]
            # A verdict is neither better nor worse than another.
            if not own or task == DYNAMICS:
                continue
            compared = [row for row in own if row["compared_with"] is not None]
            reference = _best([row for row in own if compared and row["model"] == compared[0]["compared_with"]])
            best = [
                _best([row for row in own if (row["latent_dim"] is not None) == latent]) for latent in (True, False)
            ]
            asked_rows = [row for row in own if row["model"] == asked]
            if asked:
                cells = [_best(asked_rows, named=False), reference, _verdict(asked_rows) or "–", *best]
            else:
                cells = [*best, reference, f"{is_above(compared)} of {len(compared)}" if compared else "–"]
            lines.append([task, *([dataset] if len(datasets) > 1 else []), *cells])
    head = ["task", *(["data set"] if len(datasets) > 1 else [])]
    best = ["best with latents", "best without latents"]
    if asked:
        return {"head": [*head, asked, "compared with", f"{asked} is", *best], "rows": lines}
    return {"head": [*head, *best, "compared with", "scores above that"], "rows": lines}


def printed(rows: Sequence[dict], asked: str | None) -> str:
    """`best_of_each_task` for a terminal."""
    table = best_of_each_task(rows, asked)
    return pd.DataFrame(table["rows"], columns=table["head"]).to_markdown(index=False, disable_numparse=True)


def score_text(row: dict) -> str:
    """The mean of a score and its SD over splits."""
    spread = "" if row["sd"] is None else f" ± {row['sd']:.3f}"
    return f"{row['mean']:.3f}{spread}"


def _carried(rows: Sequence[dict]) -> str:
    """How much of the activity goes through the latents of the best model, at each dimension."""
    found = scores_by_task(rows).get("reconstruct", [])
    latent = [row for row in found if row["latent_dim"] is not None]
    if not latent:
        return ""
    best = max(latent, key=lambda row: row["mean"])
    by_dim = sorted((row for row in latent if row["model"] == best["model"]), key=lambda row: row["latent_dim"])
    guess = next((row for row in found if row["model"] == best["compared_with"]), None)
    scores = _listed([f"{row['mean']:.3f}" for row in by_dim])
    dims = _listed([f"{row['latent_dim']:.0f}" for row in by_dim])
    return (
        f"Few dimensions? {best['model']} carries {scores} of the variance of test trials through {dims} latents"
        + (f"; {guess['model']}, without any, has {guess['mean']:.3f}" if guess else "")
        + " (reconstruct)."
    )


def _left_out(rows: Sequence[dict]) -> str:
    """What latents say of neurons that they were not made from, next to what all other neurons say."""
    parts = []
    for metric, what in ((None, "r2_neuron, 0 says nothing"), ("event_auc", "event_auc, 0.5 is chance")):
        found = scores_by_task(rows, metric).get("cosmooth", [])
        latent = [row for row in found if row["latent_dim"] is not None]
        if latent:
            limit = next((row for row in found if row["latent_dim"] is None), None)
            parts.append(
                f"{_best(latent)}" + (f", {limit['model']} {score_text(limit)}" if limit else "") + f" ({what})"
            )
    if not parts:
        return ""
    return f"Shared by the neurons? A quarter of them, predicted from latents of the others: {'; '.join(parts)}."


def _against_guess(rows: Sequence[dict], asked: str) -> str:
    """In which tasks a model is better than the one that it is compared with, and what is read from its latents."""
    tasks: dict[str, list[str]] = {BETTER: [], WORSE: [], NOT_SHOWN: [], ABOVE_NULL: [], NOT_ABOVE_NULL: []}
    for task, found in scores_by_task(rows).items():
        verdict = _verdict([row for row in found if row["model"] == asked])
        if verdict:
            tasks[verdict].append(Task.parse(task).subject or task)
    against = [f"{verdict} in {_listed(tasks[verdict])}" for verdict in (BETTER, WORSE, NOT_SHOWN) if tasks[verdict]]
    read = [f"{verdict} for {_listed(tasks[verdict])}" for verdict in (ABOVE_NULL, NOT_ABOVE_NULL) if tasks[verdict]]
    parts = [
        f"Better than a simple guess? {asked} is {'; '.join(against)}." if against else "",
        f"Behaviour read from its latents is {'; '.join(read)}." if read else "",
    ]
    return " ".join(part for part in parts if part) or f"{asked} has no score to compare."


def _verdict(rows: Sequence[dict]) -> str:
    """What the best score of a model says: of decoding, next to its null; else next to what it is compared with."""
    if not rows:
        return ""
    best = max(rows, key=lambda row: row["mean"])
    if best["null_95"] is not None:
        return ABOVE_NULL if best["mean"] > best["null_95"] else NOT_ABOVE_NULL
    if best["compared_with"] is None:
        return ""
    low, high = best["difference_low"], best["difference_high"]
    if low is not None and low > 0:
        return BETTER
    return WORSE if high is not None and high < 0 else NOT_SHOWN


def _best(rows: Sequence[dict], named: bool = True) -> str:
    if not rows:
        return "–"
    best = max(rows, key=lambda row: row["mean"])
    dim = "" if best["latent_dim"] is None else f"D = {best['latent_dim']:.0f}"
    who = f"{best['model']}{f' ({dim})' if dim else ''} " if named else ""
    return who + score_text(best)


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
