"""Write a benchmark's table from the scores of its models, and repeat both in MLflow."""

from pathlib import Path

from odevae.benchmark.grid import Cell
from odevae.benchmark.table import READABLE, benchmark_metrics, notes_of_benchmark, table_of_cells
from odevae.jobs.job_logging import log, stage
from odevae.report.table_files import write_table
from odevae.tracking import mirrors_of_studies


def main(config: dict, benchmark: str, files: list[str], compare_with: dict[str, str], output) -> None:
    table = table_of_cells(files, compare_with)
    write_table(table, READABLE, Path(output.csv), notes_of_benchmark(table))
    cells = {file: Cell.at(file.removeprefix("results/")) for file in files}
    mirrors = mirrors_of_studies(config, benchmark)
    for file, cell in cells.items():
        mirrors.cell(file, cell.fits)
    mirrors.keep(benchmark, [name for cell in cells.values() for name in cell.fits])
    mirrors.study(benchmark, [output.csv, output.md, output.tex], benchmark_metrics(table))
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        benchmark=snakemake.wildcards.benchmark,
        files=snakemake.input.cells,
        compare_with=snakemake.params.compare_with,
        output=snakemake.output,
    )
