"""Write the table of an audit ladder from the predictions of its runs."""

from pathlib import Path

from odevae.evaluation.audit_ladder import READABLE, ladder_of_study
from odevae.jobs.job_logging import log, stage
from odevae.report.few_trials import notes_of
from odevae.report.findings import described
from odevae.report.ladder_findings import ladder_findings
from odevae.report.table_files import read_csv, write_table
from odevae.tracking import mirrors_of_studies


def main(config: dict, study: str, runs: dict[str, str], output) -> None:
    table = ladder_of_study("results", runs)
    write_table(table, READABLE, Path(output.csv), notes_of(table))
    found = described(ladder_findings(read_csv(Path(output.csv))))
    mirrors_of_studies(config, study).study(study, [output.csv, output.md, output.tex], found)
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        output=snakemake.output,
    )
