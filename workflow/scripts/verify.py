"""Compute the scores of every run on disk, and every table, again and compare: `snakemake verify`."""

from pathlib import Path

import pandas as pd

from odevae.benchmark.table import table_of_cells
from odevae.errors import OdevaeError
from odevae.evaluation.audit_ladder import ladder_of_study
from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import results_of_study, study_table
from odevae.report.verification import verify_run, verify_table
from odevae.storage.files import read_json
from odevae.storage.run_folder import METRICS_FILE

RESULTS = Path("results")


def main(studies: dict[str, dict], benchmarks: dict[str, dict]) -> None:
    problems, checked = [], set()
    for study, made_from in studies.items():
        evaluated = {run: fold for run, fold in made_from["runs"].items() if (RESULTS / run / METRICS_FILE).exists()}
        for run, fold in evaluated.items():
            if run not in checked:
                checked.add(run)
                _try(problems, lambda run=run, fold=fold: f"{run}: {verify_run(RESULTS / run, RESULTS / fold)} scores")
        table = RESULTS / "tables" / f"{study}.csv"
        if table.exists():
            _try(problems, lambda t=table, s=study, m=made_from: _table(t, s, **m))
    for benchmark, made_from in benchmarks.items():
        table = RESULTS / "tables" / f"{benchmark}.csv"
        if table.exists():
            _try(problems, lambda t=table, m=made_from: _checked(t, table_of_cells(**m)))
    log.info(f"{len(checked)} runs verified, {len(problems)} problems")
    if problems:
        raise OdevaeError(f"{len(problems)} of what is on disk cannot be trusted; the lines above say what to do.")


def _table(table: Path, study: str, runs: dict[str, str], ladder: bool, published_table: int, published_rows) -> str:
    if ladder:
        expected = ladder_of_study(RESULTS, runs)
    else:
        ids = read_json(RESULTS / "mlflow" / f"{study}.json")
        expected = study_table(results_of_study(RESULTS, runs, ids, published_rows), published_table)
    return _checked(table, expected)


def _checked(table: Path, expected: pd.DataFrame) -> str:
    return f"{table}: {verify_table(table, expected)} rows"


def _try(problems: list[str], check) -> None:
    try:
        log.info(f"{check()}, as computed again")
    except OdevaeError as error:
        problems.append(str(error))
        log.warning(f"problem: {error}")


with stage(snakemake.log[0]):
    main(snakemake.params.studies, snakemake.params.benchmarks)
