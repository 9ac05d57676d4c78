"""Write a benchmark's table from the scores of its models, and repeat both in MLflow."""

from pathlib import Path

from odevae.benchmark.families import compared_metric
from odevae.benchmark.grid import Cell, named_fits
from odevae.benchmark.table import READABLE, notes_of_benchmark, table_of_cells
from odevae.jobs.job_logging import log, stage
from odevae.report.benchmark_findings import benchmark_findings, scores_by_task
from odevae.report.findings import described
from odevae.report.table_files import read_csv, write_table
from odevae.tracking import mirrors
from odevae.tracking.studies import tracked_benchmark


def main(config: dict, benchmark: str, files: list[str], compare_with: dict[str, str], output) -> None:
    table = table_of_cells(files, compare_with)
    write_table(table, READABLE, Path(output.csv), notes_of_benchmark(table))
    cells = {file: Cell.at(file.removeprefix("results/")) for file in files}
    fits = named_fits(cells.values())
    rows = read_csv(Path(output.csv))
    mirror = mirrors(config, tracked_benchmark(config, benchmark, fits, scores_by_task(rows)))
    for file, cell in cells.items():
        mirror.cell(file, cell.fits, compared_metric)
    mirror.keep(benchmark, fits)
    mirror.study(benchmark, [output.csv, output.md, output.tex], described(benchmark_findings(rows)))
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        benchmark=snakemake.wildcards.benchmark,
        files=snakemake.input.cells,
        compare_with=snakemake.params.compare_with,
        output=snakemake.output,
    )
