"""Write the web page of an audit ladder."""

import json
from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.report.ladder_page import ladder_page
from odevae.report.page import warnings_of
from odevae.report.table_files import read_csv
from odevae.storage.files import read_json, write_bytes


def main(
    study: str,
    settings: dict,
    options: str,
    runs: list[str],
    audits: list[str],
    table: Path,
    figure: Path,
    output: Path,
) -> None:
    records = [read_json(run) for run in runs]
    page = ladder_page(
        study, read_csv(table), figure, records, json.dumps(settings, indent=2), warnings_of(audits), options
    )
    write_bytes(output, page.encode())
    log.info(f"{output}: {len(page) / 1e6:.1f} MB, {len(records)} runs")


with stage(snakemake.log[0]):
    main(
        study=snakemake.wildcards.study,
        settings=snakemake.params.settings,
        options=snakemake.params.options,
        runs=snakemake.input.runs,
        audits=snakemake.input.audits,
        table=Path(snakemake.input.table),
        figure=Path(snakemake.input.figure),
        output=Path(snakemake.output[0]),
    )
