"""Write a benchmark's table from the scores of its models, and repeat both in MLflow."""

from pathlib import Path

from odevae.benchmark.grid import Cell
from odevae.benchmark.table import READABLE, benchmark_metrics, rows_of_cells
from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import write_csv, write_latex, write_markdown
from odevae.tracking import mirrors_of_study


def main(config: dict, benchmark: str, files: list[str], compare_with: dict[str, str], output) -> None:
    rows = rows_of_cells(files, compare_with)
    write_csv(rows, Path(output.csv))
    write_markdown(rows, READABLE, Path(output.md))
    write_latex(rows, READABLE, Path(output.tex))
    mirrors = mirrors_of_study(config, benchmark)
    for file in files:
        cell = Cell.at(file.removeprefix("results/"))
        mirrors.cell(file, cell.folder, cell.latent_dims)
    mirrors.study(benchmark, [output.csv, output.md, output.tex], benchmark_metrics(rows))
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        benchmark=snakemake.wildcards.benchmark,
        files=snakemake.input.cells,
        compare_with=snakemake.params.compare_with,
        output=snakemake.output,
    )
