"""Write the web page of a study."""

import json
from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.protocols.fold import load_fold
from odevae.report.figure_names import FIGURES
from odevae.report.findings import run_to_turn
from odevae.report.page import warnings_of
from odevae.report.run_figures import rotating_manifold_of_run
from odevae.report.study_page import study_page
from odevae.report.table_files import read_csv
from odevae.storage.files import read_json, write_bytes
from odevae.storage.run_folder import FIGURES_FOLDER, RUN_FILE, read_predictions

RESULTS = Path("results")


def main(
    study: str,
    settings: dict,
    options: str,
    runs: dict[str, str],
    colour_by: dict[str, list[str]],
    table: Path,
    figure: Path,
    audits: list[str],
    output: Path,
) -> None:
    rows = read_csv(table)
    by_folder = {row["run_directory"]: row for row in rows if row["run_directory"] is not None}
    shown = [
        {
            "row": by_folder[f"results/{run}"],
            "figures": {name: RESULTS / run / FIGURES_FOLDER / f"{name}.png" for name in FIGURES},
        }
        for run in runs
    ]
    turned = run_to_turn(rows)
    manifold = None
    if turned is not None:
        folder = Path(turned["run_directory"])
        fold = load_fold(RESULTS / runs[folder.relative_to(RESULTS).as_posix()])
        run = read_json(folder / RUN_FILE)
        drawn = rotating_manifold_of_run(fold, run, read_predictions(folder, run), colour_by[turned["dataset"]])
        manifold = drawn and {"row": turned, "figure": drawn}
    page = study_page(
        study, rows, figure, shown, json.dumps(settings, indent=2), manifold, warnings_of(audits), options
    )
    write_bytes(output, page.encode())
    log.info(f"{output}: {len(page) / 1e6:.1f} MB, {len(shown)} runs")


with stage(snakemake.log[0]):
    main(
        study=snakemake.wildcards.study,
        settings=snakemake.params.settings,
        options=snakemake.params.options,
        runs=snakemake.params.runs,
        colour_by=snakemake.params.colour_by,
        table=Path(snakemake.input.table),
        figure=Path(snakemake.input.figure),
        audits=snakemake.input.audits,
        output=Path(snakemake.output[0]),
    )
