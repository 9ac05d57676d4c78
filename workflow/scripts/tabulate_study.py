"""Write a study's table from what its runs left on disk."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.report.few_trials import notes_of
from odevae.report.findings import described, findings
from odevae.report.study_table import READABLE, results_of_study, study_table
from odevae.report.table_files import read_csv, write_table
from odevae.storage.files import read_json
from odevae.tracking import mirrors_of_studies

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
    table = study_table(results_of_study(RESULTS, runs, ids, published_rows), published_table)
    write_table(table, READABLE, Path(output.csv), notes_of(table))
    mirrors = mirrors_of_studies(config, study)
    mirrors.study(study, [output.csv, output.md, output.tex], described(findings(read_csv(Path(output.csv)))))
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
