"""Bring the record of every study and benchmark in MLflow up to date with what is on disk, finished or not."""

from pathlib import Path

from odevae.benchmark.grid import Cell, benchmark_cells
from odevae.config.studies import study_folds, study_runs
from odevae.errors import OdevaeError
from odevae.jobs.job_logging import log, stage
from odevae.storage.run_folder import PREPROCESSING_FILE, RUN_FILE
from odevae.tracking import Mirrors, mirrors_of_studies

RESULTS = Path("results")


def main(config: dict) -> None:
    studies = {study: (folds_on_disk(config, study), runs_on_disk(config, study)) for study in config["studies"]}
    studies = {study: found for study, found in studies.items() if any(found)}
    benchmarks = {benchmark: cells_on_disk(config, benchmark) for benchmark in config["benchmarks"]}
    benchmarks = {benchmark: cells for benchmark, cells in benchmarks.items() if cells}
    mirrors = mirrors_of_studies(config, [*studies, *benchmarks])
    for study, (folds, runs) in studies.items():
        done = [mirrors.preprocessing(RESULTS / fold, fold, study) for fold in folds]
        done += [mirrors.run(RESULTS / run, study) for run in runs]
        put_tables(mirrors, study)
        log.info(f"{study}: {sum(map(bool, done))} of {len(done)} folds and runs on disk are in the record")
    for benchmark, cells in benchmarks.items():
        done = [put for c in cells for put in mirrors.cell(RESULTS / c.path, c.folder, c.latent_dims, benchmark)]
        put_tables(mirrors, benchmark)
        log.info(f"{benchmark}: {sum(map(bool, done))} of {len(done)} fits on disk are in the record")
    if not mirrors.working:
        raise OdevaeError("the record is not complete; run `snakemake sync` again when the store can be reached.")


def put_tables(mirrors: Mirrors, study: str) -> None:
    """With the figure of a study, the figures of a benchmark."""
    patterns = (f"tables/{study}.*", f"figures/{study}.png", f"figures/{study}/*.png")
    files = sorted(file for pattern in patterns for file in RESULTS.glob(pattern))
    if files:
        mirrors.study(study, files, {})


def folds_on_disk(config: dict, study: str) -> list[str]:
    return [fold for fold in study_folds(config, study) if (RESULTS / fold / PREPROCESSING_FILE).exists()]


def runs_on_disk(config: dict, study: str) -> list[str]:
    return [key.path for key in study_runs(config, study) if (RESULTS / key.path / RUN_FILE).exists()]


def cells_on_disk(config: dict, benchmark: str) -> list[Cell]:
    return [cell for cell in benchmark_cells(config, benchmark) if (RESULTS / cell.path).exists()]


with stage(snakemake.log[0]):
    main(snakemake.config)
