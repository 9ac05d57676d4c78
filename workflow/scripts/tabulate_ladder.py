"""Write the table of an audit ladder from the predictions of its runs."""

from pathlib import Path

from odevae.evaluation.audit_ladder import READABLE, rungs_of_study
from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import write_csv, write_latex, write_markdown
from odevae.tracking import mirrors_of_study


def main(config: dict, study: str, runs: dict[str, str], output) -> None:
    table = rungs_of_study("results", runs)
    write_csv(table, Path(output.csv))
    write_markdown(table, READABLE, Path(output.md))
    write_latex(table, READABLE, Path(output.tex))
    mirrors_of_study(config, study).study(study, [output.csv, output.md, output.tex], {})
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        study=snakemake.wildcards.study,
        runs=snakemake.params.runs,
        output=snakemake.output,
    )
