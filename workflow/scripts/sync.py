"""Bring the record of every study and benchmark in MLflow up to date with what is on disk, finished or not."""

from pathlib import Path

from odevae.benchmark.families import compared_metric
from odevae.benchmark.grid import Cell, benchmark_cells, named_fits
from odevae.config.studies import study_folds, study_runs
from odevae.errors import OdevaeError
from odevae.jobs.job_logging import log, stage
from odevae.report.benchmark_findings import benchmark_findings, scores_by_task
from odevae.report.findings import described, findings
from odevae.report.ladder_findings import ladder_findings
from odevae.report.table_files import read_csv
from odevae.storage.run_folder import PREPROCESSING_FILE, RUN_FILE
from odevae.tracking import Mirrors, mirrors
from odevae.tracking.studies import tracked_benchmark, tracked_study

RESULTS = Path("results")


def main(config: dict) -> None:
    studies = {study: folds_and_runs_on_disk(config, study) for study in config["studies"]}
    studies = {study: found for study, found in studies.items() if any(found)}
    benchmarks = {benchmark: cells_on_disk(config, benchmark) for benchmark in config["benchmarks"]}
    benchmarks = {benchmark: cells for benchmark, cells in benchmarks.items() if cells}
    tracked = [tracked_study(config, study) for study in studies]
    tracked += [
        tracked_benchmark(config, benchmark, named_fits(benchmark_cells(config, benchmark)), tasks_on_disk(benchmark))
        for benchmark in benchmarks
    ]
    mirror = mirrors(config, *tracked)
    for study, (folds, runs) in studies.items():
        done = [mirror.fold(RESULTS / fold, fold, study) for fold in folds]
        done += [mirror.run(RESULTS / run, study) for run in runs]
        mirror.keep(study, [*folds, *runs])
        put_tables(mirror, study, ladder_findings if config["studies"][study]["ladder"] else findings)
        log.info(f"{study}: {sum(map(bool, done))} of {len(done)} folds and runs on disk are in the record")
    for benchmark, cells in benchmarks.items():
        done = [
            put for cell in cells for put in mirror.cell(RESULTS / cell.path, cell.fits, compared_metric, benchmark)
        ]
        mirror.keep(benchmark, named_fits(cells))
        put_tables(mirror, benchmark, benchmark_findings)
        log.info(f"{benchmark}: {sum(map(bool, done))} of {len(done)} fits on disk are in the record")
    for study in mirror.remove_other_studies([*config["studies"], *config["benchmarks"]]):
        log.info(f"{study}: no longer in the configuration, so its experiment is now among MLflow's deleted ones")
    if not mirror.working:
        raise OdevaeError("the record is not complete; run `snakemake sync` again when the store can be reached.")


def put_tables(mirror: Mirrors, study: str, findings_of) -> None:
    """With the table what it says, and the figure of a study or the figures of a benchmark."""
    patterns = (f"tables/{study}.*", f"figures/{study}.png", f"figures/{study}/*.png")
    files = sorted(file for pattern in patterns for file in RESULTS.glob(pattern))
    if files:
        table = RESULTS / f"tables/{study}.csv"
        mirror.study(study, files, described(findings_of(read_csv(table))) if table.exists() else None)


def folds_and_runs_on_disk(config: dict, study: str) -> tuple[list[str], list[str]]:
    folds = [fold for fold in study_folds(config, study) if (RESULTS / fold / PREPROCESSING_FILE).exists()]
    return folds, [key.path for key in study_runs(config, study) if (RESULTS / key.path / RUN_FILE).exists()]


def cells_on_disk(config: dict, benchmark: str) -> list[Cell]:
    return [cell for cell in benchmark_cells(config, benchmark) if (RESULTS / cell.path).exists()]


def tasks_on_disk(benchmark: str) -> list[str]:
    table = RESULTS / f"tables/{benchmark}.csv"
    return list(scores_by_task(read_csv(table))) if table.exists() else []


with stage(snakemake.log[0]):
    main(snakemake.config)
