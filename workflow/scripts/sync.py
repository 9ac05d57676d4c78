"""Bring the record of every study and benchmark in MLflow up to date with what is on disk, finished or not."""

from pathlib import Path

from odevae.benchmark.grid import Cell, benchmark_cells
from odevae.benchmark.table import benchmark_metrics, table_of_cells
from odevae.config.studies import folds_of_runs, published_rows_of, study_folds, study_runs
from odevae.errors import OdevaeError
from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import results_of_study, study_metrics, study_table
from odevae.storage.run_folder import PREPROCESSING_FILE, RUN_FILE
from odevae.tracking import Mirrors, mirrors_of_studies

RESULTS = Path("results")


def main(config: dict) -> None:
    studies = {study: folds_and_runs_on_disk(config, study) for study in config["studies"]}
    studies = {study: found for study, found in studies.items() if any(found)}
    benchmarks = {benchmark: cells_on_disk(config, benchmark) for benchmark in config["benchmarks"]}
    benchmarks = {benchmark: cells for benchmark, cells in benchmarks.items() if cells}
    mirrors = mirrors_of_studies(config, *studies, *benchmarks)
    for study, (folds, runs) in studies.items():
        done = [mirrors.preprocessing(RESULTS / fold, fold, study) for fold in folds]
        done += [mirrors.run(RESULTS / run, study) for run in runs]
        mirrors.keep(study, [*folds, *runs])
        put_tables(mirrors, study, lambda study=study: metrics_of_study(config, study))
        log.info(f"{study}: {sum(map(bool, done))} of {len(done)} folds and runs on disk are in the record")
    for benchmark, cells in benchmarks.items():
        done = [put for cell in cells for put in mirrors.cell(RESULTS / cell.path, cell.fits, benchmark)]
        mirrors.keep(benchmark, [name for cell in cells for name in cell.fits])
        put_tables(mirrors, benchmark, lambda benchmark=benchmark: metrics_of_benchmark(config, benchmark))
        log.info(f"{benchmark}: {sum(map(bool, done))} of {len(done)} fits on disk are in the record")
    if not mirrors.working:
        raise OdevaeError("the record is not complete; run `snakemake sync` again when the store can be reached.")


def put_tables(mirrors: Mirrors, study: str, metrics) -> None:
    """With the table its means, and the figure of a study or the figures of a benchmark."""
    patterns = (f"tables/{study}.*", f"figures/{study}.png", f"figures/{study}/*.png")
    files = sorted(file for pattern in patterns for file in RESULTS.glob(pattern))
    if not files:
        return
    try:
        means = metrics()
    except OdevaeError as error:
        # The table is older than what it is made from; the next one brings its means.
        log.warning(f"warning: {study}: its means are left out of the record: {error}")
        means = {}
    mirrors.study(study, files, means)


def metrics_of_study(config: dict, study: str) -> dict[str, float]:
    settings = config["studies"][study]
    if settings["ladder"]:
        return {}
    results = results_of_study(RESULTS, folds_of_runs(config, study), {}, published_rows_of(config, study))
    return study_metrics(study_table(results, settings.get("published_table", 0)))


def metrics_of_benchmark(config: dict, benchmark: str) -> dict[str, float]:
    files = [RESULTS / cell.path for cell in benchmark_cells(config, benchmark)]
    return benchmark_metrics(table_of_cells(files, config["benchmarks"][benchmark]["compare_with"]))


def folds_and_runs_on_disk(config: dict, study: str) -> tuple[list[str], list[str]]:
    folds = [fold for fold in study_folds(config, study) if (RESULTS / fold / PREPROCESSING_FILE).exists()]
    return folds, [key.path for key in study_runs(config, study) if (RESULTS / key.path / RUN_FILE).exists()]


def cells_on_disk(config: dict, benchmark: str) -> list[Cell]:
    return [cell for cell in benchmark_cells(config, benchmark) if (RESULTS / cell.path).exists()]


with stage(snakemake.log[0]):
    main(snakemake.config)
