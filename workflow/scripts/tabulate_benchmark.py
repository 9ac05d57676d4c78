"""Write a benchmark's table from the scores of its models, and repeat both in MLflow."""

from pathlib import Path

from odevae.benchmark.grid import benchmark_cells
from odevae.benchmark.table import READABLE, benchmark_metrics, rows_of_benchmark
from odevae.jobs.job_logging import log, stage
from odevae.report.study_table import write_csv, write_latex, write_markdown
from odevae.tracking import mirrors_of_study

RESULTS = Path("results")


def main(config: dict, benchmark: str, output) -> None:
    rows = rows_of_benchmark(RESULTS, config, benchmark)
    write_csv(rows, Path(output.csv))
    write_markdown(rows, READABLE, Path(output.md))
    write_latex(rows, READABLE, Path(output.tex))
    mirrors = mirrors_of_study(config, benchmark)
    for cell in benchmark_cells(config, benchmark):
        mirrors.cell(RESULTS / cell.path, cell.folder, cell.latent_dims)
    mirrors.study(benchmark, [output.csv, output.md, output.tex], benchmark_metrics(rows))
    log.info(Path(output.md).read_text(encoding="utf-8").rstrip("\n"))


with stage(snakemake.log[0]):
    main(snakemake.config, snakemake.wildcards.benchmark, snakemake.output)
