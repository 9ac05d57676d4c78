"""Write a benchmark's table from the scores of its models, and repeat both in MLflow."""

from pathlib import Path

from odevae.artifacts import read_json
from odevae.benchmark.cells import benchmark_cells, fits_of
from odevae.benchmark.tables import READABLE, benchmark_metrics, benchmark_rows
from odevae.stage import stage
from odevae.tables import write_csv, write_latex, write_markdown
from odevae.tracking import mirrors_of_study

RESULTS = Path("results")


def main(config: dict, benchmark: str, compare_with: dict[str, str], output) -> None:
    cells = benchmark_cells(config, benchmark)
    rows = benchmark_rows([fit for cell in cells for fit in fits_of(read_json(RESULTS / cell.path))], compare_with)
    write_csv(rows, Path(output.csv))
    write_markdown(rows, READABLE, Path(output.md))
    write_latex(rows, READABLE, Path(output.tex))
    mirrors = mirrors_of_study(config, benchmark)
    for cell in cells:
        for latent_dim in cell.latent_dims:
            mirrors.cell(RESULTS / cell.path, f"{cell.folder}/d{latent_dim}", latent_dim)
    mirrors.study(benchmark, [output.csv, output.md, output.tex], benchmark_metrics(rows))
    print(Path(output.md).read_text(encoding="utf-8"), end="")


with stage(snakemake.log[0]):
    main(snakemake.config, snakemake.wildcards.benchmark, snakemake.params.compare_with, snakemake.output)
