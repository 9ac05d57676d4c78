"""Compute the scores of every run on disk, and every table, anew and compare: `snakemake verify`."""

from pathlib import Path

from odevae.benchmark.table import rows_of_benchmark
from odevae.config.studies import fold_path, published_rows_of, study_runs
from odevae.errors import OdevaeError
from odevae.evaluation.audit_ladder import rungs_of_study
from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import results_of_study, study_rows
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
            _try(problems, lambda t=table, b=benchmark: _checked(t, rows_of_benchmark(RESULTS, config, b)))
    log.info(f"{len(checked)} runs verified, {len(problems)} problems")
    if problems:
        raise OdevaeError(f"{len(problems)} of what is on disk cannot be trusted; the lines above say what to do.")


def _table(config: dict, table: Path, study: str, runs: dict[str, str], settings: dict) -> str:
    if settings["ladder"]:
        rows = rungs_of_study(RESULTS, runs)
    else:
        ids = read_json(RESULTS / "mlflow" / f"{study}.json")
        results = results_of_study(RESULTS, runs, ids, published_rows_of(config, study))
        rows = study_rows(results, settings.get("published_table", 0))
    return _checked(table, rows)


def _checked(table: Path, rows: list[dict]) -> str:
    return f"{table}: {verify_table(table, rows)} rows"


def _try(problems: list[str], check) -> None:
    try:
        log.info(f"{check()}, as computed anew")
    except OdevaeError as error:
        problems.append(str(error))
        log.warning(f"problem: {error}")


with stage(snakemake.log[0]):
    main(snakemake.config)
