"""Show the table of an own recording, and where everything is."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.report.benchmark_answers import answers, printed
from odevae.report.benchmark_findings import benchmark_findings
from odevae.report.table_files import read_csv


def main(table: Path, page: str, own: str, settings: dict) -> None:
    rows, asked = read_csv(table), settings.get("asked")
    # The page has the other findings.
    found = [*(answers(rows, asked) if asked else []), *benchmark_findings(rows)[:1]]
    log.info(printed(rows, asked))
    log.info("\n".join(["", *(f"- {sentence}" for sentence in dict.fromkeys(found)), ""]))
    log.info(f"Page:     open {page} in a browser")
    log.info(f"Table:    {table} (.md, .tex): every score at every dimension, with intervals")
    log.info(f"Settings: {own}; edit it and call the same command again")
    log.info("Tracking: make ui")


with stage(snakemake.log[0]):
    main(
        table=Path(snakemake.input.table),
        page=snakemake.input.page,
        own=snakemake.params.own,
        settings=snakemake.params.settings,
    )
