"""The web page of a benchmark."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from odevae.benchmark.families import DYNAMICS, EVENT_SCORES, FAMILIES, Task
from odevae.benchmark.table import SATURATION
from odevae.report.benchmark_answers import answers, best_of_each_task, score_text
from odevae.report.benchmark_findings import benchmark_findings, is_headline, place_of
from odevae.report.page import embedded, rendered


def benchmark_page(
    benchmark: str,
    rows: Sequence[dict],
    figures: dict[str, Path],
    settings: str,
    asked: str | None = None,
    options: str = "",
    warnings: Sequence[str] = (),
) -> str:
    """The page of a benchmark.

    Args:
        benchmark: its name.
        rows: of its table, as `table_files.read_csv` gives them.
        figures: PNG files by family of tasks.
        settings: of the benchmark in the configuration, as text.
        asked: the model that the page speaks of first, if any.
        options: see `rendered`.
        warnings: about the recordings, see `odevae.report.page.warnings_of`.
    """
    found = benchmark_findings(rows)
    first = [*answers(rows, asked), *warnings, *found[:1]] if asked else [*warnings, *found]
    return rendered(
        "benchmark",
        benchmark,
        {},
        settings,
        options,
        asked=asked,
        findings=first,
        more_findings=[sentence for sentence in found if sentence not in first],
        best=best_of_each_task(rows, asked),
        tables=_by_dimension(rows),
        figures={family: embedded(file) for family, file in figures.items()},
    )


def _by_dimension(rows: Sequence[dict]) -> list[dict]:
    """For each data set and dimension a table of models by tasks, the dimension with the most scores first.

    Models without latents stand in each of them. Event scores have tables of their own, after the one of headlines.
    """
    tables = []
    frame = pd.DataFrame([row for row in rows if row["task"] != SATURATION], dtype=object)
    for dataset, of_dataset in frame.groupby("dataset", sort=False):
        counts = of_dataset["latent_dim"].dropna().value_counts()
        dims = counts.sort_index(ascending=False).sort_values(ascending=False, kind="stable").index
        for dim in list(dims) or [None]:
            at_dim = of_dataset[of_dataset["latent_dim"].isna() | (of_dataset["latent_dim"] == dim)]
            title = dataset if dim is None else f"{dataset}, D = {dim:.0f}"
            tables.append(_table(title, at_dim[at_dim.apply(is_headline, axis=1).astype(bool)]))
            for score in EVENT_SCORES:
                if len(of_events := at_dim[at_dim["metric"] == score]):
                    tables.append(_table(f"{title}: {score}", of_events))
    return tables


def _table(title: str, shown: pd.DataFrame) -> dict:
    """Models by tasks. The best score of a task is marked, except where the task has no better and worse."""
    tasks = sorted(shown["task"].unique(), key=place_of)
    cells = {(row["model"], row["task"]): row for row in shown.to_dict("records")}
    best = {
        task: max((row["mean"] for (_, name), row in cells.items() if name == task), default=None)
        for task in tasks
        if Task.parse(task).family in FAMILIES and task != DYNAMICS
    }
    return {
        "title": title,
        "head": ["model", *tasks],
        "rows": [
            [model, *(_cell(cells.get((model, task)), best.get(task)) for task in tasks)]
            for model in shown["model"].unique()
        ],
    }


def _cell(row: dict | None, best: float | None) -> dict:
    if row is None or row["mean"] is None:
        return {"text": "–", "best": False}
    return {"text": score_text(row), "best": row["mean"] == best}
