"""Write the table of an audit ladder from the predictions of its runs."""

from pathlib import Path

from odevae.evaluation.audit_ladder import READABLE, ladder_of_study
from odevae.jobs.job_logging import log, stage
from odevae.report.table_files import write_table
from odevae.tracking import mirrors_of_studies

LADDER_FOUND = "The table of the ladder is among the artifacts of this study's first run."


def main(config: dict, study: str, runs: dict[str, str], output) -> None:
    write_table(ladder_of_study("results", runs), READABLE, Path(output.csv))
    mirrors_of_studies(config, study).study(study, [output.csv, output.md, output.tex], LADDER_FOUND)
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        output=snakemake.output,
    )
