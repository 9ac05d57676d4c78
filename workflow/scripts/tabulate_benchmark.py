"""Write a benchmark's table from the scores of its models."""

from pathlib import Path

from odevae.artifacts import read_json
from odevae.benchmark.tables import READABLE, benchmark_rows
from odevae.stage import stage
from odevae.tables import write_csv, write_latex, write_markdown


def main(cells: list[str], compare_with: dict[str, str], output) -> None:
    rows = benchmark_rows([read_json(cell) for cell in cells], compare_with)
    write_csv(rows, Path(output.csv))
    write_markdown(rows, READABLE, Path(output.md))
    write_latex(rows, READABLE, Path(output.tex))
    print(Path(output.md).read_text(encoding="utf-8"), end="")


with stage(snakemake.log[0]):
    main(list(snakemake.input.cells), snakemake.params.compare_with, snakemake.output)
