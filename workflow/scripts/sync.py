"""Bring the record of every study in MLflow up to date with what is on disk, finished or not."""

from pathlib import Path

from odevae.errors import OdevaeError
from odevae.runs import PREPROCESSING_FILE, RUN_FILE
from odevae.stage import stage
from odevae.studies import study_folds, study_runs
from odevae.tracking import mirrors_of_studies

RESULTS = Path("results")


def main(config: dict) -> None:
    on_disk = {study: (folds_on_disk(config, study), runs_on_disk(config, study)) for study in config["studies"]}
    on_disk = {study: found for study, found in on_disk.items() if any(found)}
    mirrors = mirrors_of_studies(config, on_disk)
    for study, (folds, runs) in on_disk.items():
        done = [mirrors.preprocessing(RESULTS / fold, fold, study) for fold in folds]
        done += [mirrors.run(RESULTS / run, study) for run in runs]
        tables = sorted((RESULTS / "tables").glob(f"{study}.*"))
        if tables:
            mirrors.study(study, tables, {})
        print(f"{study}: {sum(map(bool, done))} of {len(done)} folds and runs on disk are in the record")
    if not mirrors.working:
        raise OdevaeError("the record is not complete; run `snakemake sync` again when the store can be reached.")


def folds_on_disk(config: dict, study: str) -> list[str]:
    return [fold for fold in study_folds(config, study) if (RESULTS / fold / PREPROCESSING_FILE).exists()]


def runs_on_disk(config: dict, study: str) -> list[str]:
    return [key.path for key in study_runs(config, study) if (RESULTS / key.path / RUN_FILE).exists()]


with stage(snakemake.log[0]):
    main(snakemake.config)
