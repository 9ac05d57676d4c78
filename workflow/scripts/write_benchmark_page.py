"""Write the web page of a benchmark."""

import json
from pathlib import Path

from odevae.benchmark.families import FAMILIES
from odevae.jobs.job_logging import log, stage
from odevae.report.benchmark_page import benchmark_page
from odevae.report.page import warnings_of
from odevae.report.table_files import read_csv
from odevae.storage.files import write_bytes


def main(
    benchmark: str, settings: dict, options: str, table: Path, figures: Path, audits: list[str], output: Path
) -> None:
    files = {family: figures / f"{family}.png" for family in FAMILIES}
    drawn = {family: file for family, file in files.items() if file.exists()}
    page = benchmark_page(
        benchmark,
        read_csv(table),
        drawn,
        json.dumps(settings, indent=2),
        settings.get("asked"),
        options,
        warnings_of(audits),
    )
    write_bytes(output, page.encode())
    log.info(f"{output}: {len(page) / 1e6:.1f} MB")


with stage(snakemake.log[0]):
    main(
        benchmark=snakemake.wildcards.benchmark,
        settings=snakemake.params.settings,
        options=snakemake.params.options,
        table=Path(snakemake.input.table),
        figures=Path(snakemake.input.figures),
        audits=snakemake.input.audits,
        output=Path(snakemake.output[0]),
    )
