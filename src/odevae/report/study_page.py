"""The web page of a study."""

from collections.abc import Sequence
from pathlib import Path

from odevae.report.findings import findings, is_mean
from odevae.report.page import distinct, embedded, packed_plotly, provenance_of, rendered
from odevae.report.study_table import MEAN_ROWS
from odevae.report.table_files import cell_text

# Columns of the headline table of a study, with their headings.
HEADLINE = {
    "dataset": "data set",
    "protocol": "protocol",
    "model": "model",
    "latent_dim": "D",
    "task": "task",
    "n_runs": "runs",
    "final_r2": "R2, last epoch",
    "best_r2": "R2, best epoch",
    "r2_neuron": "r2_neuron",
    "trivial_r2_neuron": "best guess",
    "test_trials": "scored trials",
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}
SETTINGS = ("dataset", "model", "latent_dim", "task")
WHOLE = ("latent_dim", "n_runs", "test_trials")
SHARES = ("shared_trials", "padded_fraction")


def study_page(
    study: str,
    rows: Sequence[dict],
    figure: Path,
    runs: Sequence[dict],
    settings: str,
    manifold: dict | None,
    warnings: Sequence[str] = (),
    options: str = "",
) -> str:
    """The page of a study.

    Args:
        study: its name.
        rows: of its table, as `table_files.read_csv` gives them.
        figure: of the study, a PNG file.
        runs: for each run ``row`` (its row of the table) and ``figures``, PNG files by name.
        settings: of the study in the configuration, as text.
        manifold: ``row`` of a run, and ``figure``, its manifold by Plotly; None if no run has one.
        warnings: about the recordings, see `odevae.report.page.warnings_of`.
        options: see `rendered`.
    """
    return rendered(
        "study",
        study,
        provenance_of(rows),
        settings,
        options,
        asked=_asked(rows),
        headline=_headline(rows),
        figure=embedded(figure),
        findings=[*warnings, *findings(rows)],
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
    )


def _asked(rows: Sequence[dict]) -> str:
    """What the study asks, from what it varies."""
    models, protocols, dims = (distinct(row[name] for row in rows) for name in ("model", "protocol", "latent_dim"))
    datasets, seeds = distinct(row["dataset"] for row in rows), {row["seed"] for row in rows if not is_mean(row)}
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
