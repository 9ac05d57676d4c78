"""Write the manifold of many trials of one run as a web page that can be turned."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.protocols.fold import load_fold
from odevae.report.run_figures import interactive_manifold_of_run
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE, read_predictions


def main(fold_folder: Path, folder: Path, colour_by: list[str], output: Path) -> None:
    run = read_json(folder / RUN_FILE)
    page = interactive_manifold_of_run(load_fold(fold_folder), run, read_predictions(folder, run), colour_by)
    output.write_text(page, encoding="utf-8")
    log.info(f"{output}: {len(page)} characters")


with stage(snakemake.log[0]):
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        folder=Path(snakemake.input.run).parent,
        colour_by=snakemake.params.colour_by,
        output=Path(snakemake.output[0]),
    )
