"""Compute the scores of every run on disk, and every table, again and compare: `snakemake verify`."""

import sys
from pathlib import Path

import pandas as pd

from odevae.benchmark.table import table_of_benchmark
from odevae.config.studies import fold_path, published_rows_of, study_runs
from odevae.errors import OdevaeError
from odevae.evaluation.audit_ladder import ladder_of_study
from odevae.jobs.job_logging import stage
from odevae.report.study_table import results_of_study, study_table
from odevae.report.verification import verify_run, verify_table
from odevae.storage.files import read_json
from odevae.storage.run_folder import METRICS_FILE

RESULTS = Path("results")


def main(config: dict) -> None:
    problems, checked = [], set()
    for study, settings in config["studies"].items():
        runs = {key.path: fold_path(config, key) for key in study_runs(config, study)}
        evaluated = {run: fold for run, fold in runs.items() if (RESULTS / run / METRICS_FILE).exists()}
        for run, fold in evaluated.items():
            if run not in checked:
                checked.add(run)
                _try(problems, lambda run=run, fold=fold: f"{run}: {verify_run(RESULTS / run, RESULTS / fold)} scores")
        table = RESULTS / "tables" / f"{study}.csv"
        if table.exists():
            _try(problems, lambda t=table, s=study, r=runs, c=settings: _table(config, t, s, r, c))
    for benchmark in config["benchmarks"]:
        table = RESULTS / "tables" / f"{benchmark}.csv"
        if table.exists():
            _try(problems, lambda t=table, b=benchmark: _checked(t, table_of_benchmark(RESULTS, config, b)))
    print(f"{len(checked)} runs verified, {len(problems)} problems")
    if problems:
        raise OdevaeError(f"{len(problems)} of what is on disk cannot be trusted; the lines above say what to do.")


def _table(config: dict, table: Path, study: str, runs: dict[str, str], settings: dict) -> str:
    if settings["ladder"]:
        expected = ladder_of_study(RESULTS, runs)
    else:
        ids = read_json(RESULTS / "mlflow" / f"{study}.json")
        results = results_of_study(RESULTS, runs, ids, published_rows_of(config, study))
        expected = study_table(results, settings.get("published_table", 0))
    return _checked(table, expected)


def _checked(table: Path, expected: pd.DataFrame) -> str:
    return f"{table}: {verify_table(table, expected)} rows"


def _try(problems: list[str], check) -> None:
    try:
        print(f"{check()}, as computed anew")
    except OdevaeError as error:
        problems.append(str(error))
        print(f"problem: {error}", file=sys.stderr)


with stage(snakemake.log[0]):
    main(snakemake.config)
