"""Bring the record of every study in MLflow up to date with what is on disk, finished or not."""

from pathlib import Path

from odevae.runs import PREPROCESSING_FILE, RUN_FILE
from odevae.stage import stage
from odevae.studies import study_folds, study_runs
from odevae.tracking import mirrors_of_study

RESULTS = Path("results")


def main(config: dict) -> None:
    for study in config["studies"]:
        folds = [fold for fold in study_folds(config, study) if (RESULTS / fold / PREPROCESSING_FILE).exists()]
        runs = [key.path for key in study_runs(config, study) if (RESULTS / key.path / RUN_FILE).exists()]
        if not folds and not runs:
            continue
        mirrors = mirrors_of_study(config, study)
        done = [mirrors.preprocessing(RESULTS / fold, fold) for fold in folds]
        done += [mirrors.run(RESULTS / run) for run in runs]
        tables = sorted((RESULTS / "tables").glob(f"{study}.*"))
        if tables:
            mirrors.study(study, tables, {})
        print(f"{study}: {sum(map(bool, done))} of {len(done)} folds and runs on disk are in the record")


with stage(snakemake.log[0]):
    main(snakemake.config)
