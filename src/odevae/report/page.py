"""One web page about a study or a benchmark. It opens from disk, without a network, also on a phone."""

import base64
import gzip
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from odevae.benchmark.families import EVENT_SCORES, Task
from odevae.benchmark.table import SATURATION
from odevae.report.findings import benchmark_findings, findings, is_mean
from odevae.report.study_table import MEAN_ROWS
from odevae.report.table_files import cell_text

# Of a figure, in pixels: sharp on a screen of 1400 pixels and on a phone. WebP of this quality hides no line.
WIDTH, QUALITY = 1200, 75
# Columns of the headline table of a study, with their headings.
HEADLINE = {
    "dataset": "data set",
    "protocol": "protocol",
    "model": "model",
    "latent_dim": "D",
    "n_runs": "runs",
    "final_r2": "R2, last epoch",
    "best_r2": "R2, best epoch",
    "r2_neuron": "r2_neuron",
    "trivial_r2_neuron": "best guess",
    "test_trials": "scored trials",
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}
SETTINGS = ("dataset", "model", "latent_dim")
WHOLE = ("latent_dim", "n_runs", "test_trials")
SHARES = ("shared_trials", "padded_fraction")


def study_page(
    study: str, rows: Sequence[dict], figure: Path, runs: Sequence[dict], settings: str, manifold: dict | None
) -> str:
    """The page of a study.

    Args:
        study: its name.
        rows: of its table, as `table_files.read_csv` gives them.
        figure: of the study, a PNG file.
        runs: for each run ``row`` (its row of the table) and ``figures``, PNG files by name.
        settings: of the study in the configuration, as text.
        manifold: ``row`` of a run, and ``figure``, its manifold by Plotly; None if no run has one.
    """
    return (
        _environment()
        .get_template("study.html.j2")
        .render(
            name=study,
            asked=_asked(rows),
            table=_headline(rows),
            figure=embedded(figure),
            findings=findings(rows),
            runs=[
                {
                    "title": _title(run["row"]),
                    "scores": _scores(run["row"]),
                    "folder": run["row"]["run_directory"],
                    "figures": {
                        name.replace("_", " ").capitalize(): embedded(file) for name, file in run["figures"].items()
                    },
                }
                for run in runs
            ],
            manifold=manifold and {"run": _title(manifold["row"]), "json": manifold["figure"].to_json()},
            plotly=packed_plotly() if manifold else "",
            provenance={
                "made by": f"snakemake --cores all results/report/{study}.html",
                "code": _distinct(row["git_commit"] for row in rows),
                "recordings, SHA-256": _distinct(row["data_sha256"] for row in rows),
                "computers": _distinct(row["host"] for row in rows),
            },
            settings=settings,
        )
    )


def benchmark_page(benchmark: str, rows: Sequence[dict], figures: dict[str, Path], settings: str) -> str:
    """The page of a benchmark.

    Args:
        benchmark: its name.
        rows: of its table, as `table_files.read_csv` gives them.
        figures: PNG files by family of tasks.
        settings: of the benchmark in the configuration, as text.
    """
    return (
        _environment()
        .get_template("benchmark.html.j2")
        .render(
            name=benchmark,
            tables=_by_dimension(rows),
            findings=benchmark_findings(rows),
            figures={family: embedded(file) for family, file in figures.items()},
            provenance={"made by": f"snakemake --cores all results/report/{benchmark}.html"},
            settings=settings,
        )
    )


def embedded(png: Path) -> str:
    """An image as the address of itself: WebP, at most `WIDTH` pixels wide."""
    with Image.open(png) as image:
        image = image.convert("RGB")
        if image.width > WIDTH:
            image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        image.save(content, "WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


@cache
def packed_plotly() -> str:
    """plotly.js, packed with gzip; the browser unpacks it when the manifold is opened."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("odevae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asked(rows: Sequence[dict]) -> str:
    """What the study asks, from what it varies."""
    models, protocols, dims = (_distinct(row[name] for row in rows) for name in ("model", "protocol", "latent_dim"))
    datasets, seeds = _distinct(row["dataset"] for row in rows), {row["seed"] for row in rows if not is_mean(row)}
    return (
        f"How well do latent neural-ODE models ({models}; D = {dims}) predict trials of {datasets}, scored under "
        f"{protocols}, with {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}?"
    )


def _title(row: dict) -> str:
    return f"{row['dataset']}, {row['protocol']}: {row['model']}, D = {row['latent_dim']:.0f}, seed {row['seed']:.0f}"


def _scores(row: dict) -> str:
    if row["status"] != "ok":
        return f"{row['status']} after {row['epochs']:.0f} epochs"
    return (
        f"published R2 {_cell(row, 'best_r2')} at best and {_cell(row, 'final_r2')} at the last epoch; "
        f"r2_neuron {_cell(row, 'r2_neuron')}, best guess {_cell(row, 'trivial_r2_neuron')}; "
        f"{row['duration_s']:.0f} s"
    )


def _headline(rows: Sequence[dict]) -> dict:
    """The means of a study as text; settings that all runs share stand in the question above the table."""
    shown, n_runs = [], 0
    for row in filter(is_mean, rows):
        if row["seed"] == MEAN_ROWS[0]:
            n_runs = row["n_runs"]
            shown.append(row)
        elif 0 < row["n_runs"] < n_runs:  # some runs collapsed
            shown.append(row)
    names = [name for name in HEADLINE if name not in SETTINGS or len({row[name] for row in shown}) > 1]
    return {
        "head": [HEADLINE[name] for name in names],
        "rows": [[_cell(row, name) for name in names] for row in shown],
    }


def _cell(row: dict, name: str) -> str:
    if name == "protocol":
        return _label(row)
    if row[name] is None:
        return "–"
    if name in WHOLE:
        return f"{row[name]:.0f}"
    if name in SHARES:
        return f"{row[name]:.0%}"
    return cell_text(row, name, digits=3)


def _label(row: dict) -> str:
    """The protocol, and which runs the mean is of if not of all."""
    return row["protocol"] + (", without collapsed runs" if row["seed"] == MEAN_ROWS[1] else "")


def _by_dimension(rows: Sequence[dict]) -> list[dict]:
    """For each data set and dimension a table of models by tasks, the dimension with the most scores first.

    Models without latents stand in each of them. Event scores have tables of their own, after the one of headlines.
    """
    tables = []
    frame = pd.DataFrame([row for row in rows if row["task"] != SATURATION], dtype=object)
    for dataset, of_dataset in frame.groupby("dataset", sort=False):
        dims = of_dataset["latent_dim"].dropna()
        for dim in dims.value_counts().sort_index(ascending=False).sort_values(ascending=False, kind="stable").index:
            at_dim = of_dataset[of_dataset["latent_dim"].isna() | (of_dataset["latent_dim"] == dim)]
            of_events = at_dim["metric"].isin(EVENT_SCORES)
            scores = {"": at_dim[~of_events]} | {name: at_dim[at_dim["metric"] == name] for name in EVENT_SCORES}
            tables += [_table(dataset, dim, score, shown) for score, shown in scores.items() if len(shown)]
    return tables


def _table(dataset: str, dim: float, score: str, shown: pd.DataFrame) -> dict:
    """Models by tasks; `score` is its name if it is not the headline of each task."""
    tasks = sorted(shown["task"].unique(), key=Task.parse)
    cells = {(row["model"], row["task"]): row for row in shown.to_dict("records")}
    best = {
        task: max((row["mean"] for (_, name), row in cells.items() if name == task), default=None) for task in tasks
    }
    return {
        "title": f"{dataset}, D = {dim:.0f}" + (f": {score}" if score else ""),
        "head": ["model", *tasks],
        "rows": [
            [model, *(_score(cells.get((model, task)), best[task]) for task in tasks)]
            for model in shown["model"].unique()
        ],
    }


def _score(row: dict | None, best: float | None) -> dict:
    if row is None or row["mean"] is None:
        return {"text": "–", "best": False}
    spread = "" if row["sd"] is None else f" ± {row['sd']:.3f}"
    return {"text": f"{row['mean']:.3f}{spread}", "best": row["mean"] == best}


def _distinct(values) -> str:
    """Different values in their order; whole numbers without a decimal point."""
    texts = (f"{value:.0f}" if isinstance(value, float) else str(value) for value in values if value is not None)
    return ", ".join(dict.fromkeys(text for text in texts if text != "several"))
