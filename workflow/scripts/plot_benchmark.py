"""Draw the scores of a benchmark, a figure for each kind of task, and repeat them in MLflow."""

from pathlib import Path

from odevae.benchmark.families import DYNAMICS, FAMILIES, Task
from odevae.jobs.job_logging import stage
from odevae.plots.benchmark import benchmark_scores
from odevae.plots.dynamics import verdicts_on_dynamics
from odevae.plots.style import save
from odevae.report.table_files import read_csv
from odevae.tracking import mirrors
from odevae.tracking.studies import tracked_benchmark


def main(config: dict, table: Path, folder: Path) -> None:
    rows = read_csv(table)
    folder.mkdir(parents=True, exist_ok=True)
    asked = {Task.parse(row["task"]).family for row in rows}
    for family in (family for family in FAMILIES if family in asked):
        files = (folder / f"{family}.{kind}" for kind in ("png", "pdf"))
        title = f"{table.stem}: {family}"
        figure = verdicts_on_dynamics(rows, title) if family == DYNAMICS else benchmark_scores(rows, family, title)
        save(figure, *files)
    mirrors(config, tracked_benchmark(config, table.stem)).study(table.stem, sorted(folder.glob("*.png")))


with stage(snakemake.log[0]):
    main(snakemake.config, Path(snakemake.input.table), Path(snakemake.output.folder))
