"""The web page of an audit ladder."""

from collections.abc import Sequence
from pathlib import Path

from odevae.report.findings import is_mean
from odevae.report.ladder_findings import ladder_findings, means_of
from odevae.report.page import distinct, embedded, provenance_of, rendered
from odevae.report.table_files import cell_text

# Columns of the headline table, with their headings.
HEADLINE = {
    "rung": "rung",
    "flaw": "what is taken away",
    "dataset": "data set",
    "model": "model",
    "latent_dim": "D",
    "n_runs": "runs",
    "r2": "R2",
    "change": "change",
    "reference_r2": "best guess",
    "r2_last": "R2, last epoch",
    "r2_neuron": "r2_neuron",
    "test_trials": "scored trials",
    "shared_trials": "shared trials",
    "padded_fraction": "padding",
}
# Settings that all rows share stand in the question and have no column.
SETTINGS = ("dataset", "model", "latent_dim")
OF_RUN = {
    "rung": "rung",
    "model": "model",
    "latent_dim": "D",
    "split": "split",
    "seed": "seed",
    "status": "status",
    **{name: HEADLINE[name] for name in ("r2", "reference_r2", "r2_last", "r2_neuron", "test_trials", "shared_trials")},
}
FORMATS = {
    **dict.fromkeys(("latent_dim", "n_runs", "split", "seed"), ".0f"),
    "test_trials": ".3g",
    "change": "+.3f",
    **dict.fromkeys(("shared_trials", "padded_fraction"), ".0%"),
}


def ladder_page(
    study: str,
    rows: Sequence[dict],
    figure: Path,
    runs: Sequence[dict],
    settings: str,
    warnings: Sequence[str] = (),
    options: str = "",
) -> str:
    """The page of an audit ladder.

    Args:
        study: its name.
        rows: of its table, as `table_files.read_csv` gives them.
        figure: of the ladder, a PNG file.
        runs: content of ``run.json`` of each run.
        settings: of the study in the configuration, as text.
        warnings: about the recordings, see `odevae.report.page.warnings_of`.
        options: see `rendered`.
    """
    means = means_of(rows)
    names = [name for name in HEADLINE if name not in SETTINGS or len({row[name] for row in means}) > 1]
    return rendered(
        "ladder",
        study,
        provenance_of(runs),
        settings,
        options,
        asked=_asked(rows),
        findings=[*warnings, *ladder_findings(rows)],
        figure=embedded(figure),
        headline=_table(_named_once(means), {name: HEADLINE[name] for name in names}),
        runs=_table([row for row in rows if not is_mean(row)], OF_RUN),
    )


def _asked(rows: Sequence[dict]) -> str:
    models, datasets, dims = (distinct(row[name] for row in rows) for name in ("model", "dataset", "latent_dim"))
    return (
        f"How much of the published score of {models} (D = {dims}) on {datasets} is left when the flaws of the paper's "
        "protocol are taken away?"
    )


def _named_once(rows: Sequence[dict]) -> list[dict]:
    """The rows, where only the first of a rung has its name."""
    before = [None, *(row["rung"] for row in rows)]
    return [
        row | {"rung": "", "flaw": ""} if row["rung"] == rung else row for row, rung in zip(rows, before, strict=False)
    ]


def _table(rows: Sequence[dict], headings: dict[str, str]) -> dict:
    return {
        "head": list(headings.values()),
        "rows": [[_cell(row, name) for name in headings] for row in rows],
    }


def _cell(row: dict, name: str) -> str:
    value = row[name]
    if name in FORMATS and value is not None:
        return f"{value:{FORMATS[name]}}"
    return cell_text(row, name, digits=3)
