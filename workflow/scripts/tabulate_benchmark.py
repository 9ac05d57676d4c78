"""Write a benchmark's table from the scores of its models, and repeat both in MLflow."""

from pathlib import Path

from odevae.benchmark.grid import benchmark_cells
from odevae.benchmark.table import READABLE, benchmark_metrics, table_of_benchmark
from odevae.jobs.job_logging import stage
from odevae.report.table_files import write_table
from odevae.tracking import mirrors_of_study

RESULTS = Path("results")


def main(config: dict, benchmark: str, output) -> None:
    table = table_of_benchmark(RESULTS, config, benchmark)
    write_table(table, READABLE, Path(output.csv))
    mirrors = mirrors_of_study(config, benchmark)
    for cell in benchmark_cells(config, benchmark):
        mirrors.cell(RESULTS / cell.path, cell.folder, cell.latent_dims)
    mirrors.study(benchmark, [output.csv, output.md, output.tex], benchmark_metrics(table))
    print(Path(output.md).read_text(encoding="utf-8"), end="")


with stage(snakemake.log[0]):
    main(snakemake.config, snakemake.wildcards.benchmark, snakemake.output)
