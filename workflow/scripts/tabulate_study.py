"""Write a study's table from what its runs left on disk."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import (
    READABLE,
    results_of_study,
    study_metrics,
    study_rows,
    write_csv,
    write_latex,
    write_markdown,
)
from odevae.storage.files import read_json
from odevae.tracking import mirrors_of_study

RESULTS = Path("results")


def main(
    config: dict,
    study: str,
    runs: dict[str, str],
    ids: dict[str, str],
    published_table: int,
    published_rows: dict[str, int],
    output,
) -> None:
    rows = study_rows(results_of_study(RESULTS, runs, ids, published_rows), published_table)
    write_csv(rows, Path(output.csv))
    write_markdown(rows, READABLE, Path(output.md))
    write_latex(rows, READABLE, Path(output.tex))
    mirrors = mirrors_of_study(config, study)
    mirrors.study(study, [output.csv, output.md, output.tex], study_metrics(rows))
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        ids=read_json(snakemake.input.tracked),
        published_table=snakemake.params.published_table,
        published_rows=snakemake.params.published_rows,
        output=snakemake.output,
    )
