"""Draw the table of a study: the scores of its runs, or the rungs of an audit ladder. MLflow gets the figure too."""

from pathlib import Path

from odevae.jobs.job_logging import stage
from odevae.plots import audit_ladder, save, seed_sweep
from odevae.report.table_files import read_csv
from odevae.tracking import mirrors_of_studies

PLOTS = {"scores": seed_sweep, "ladder": audit_ladder}


def main(config: dict, table: Path, study: str, plot: str, png: Path, pdf: Path) -> None:
    # A mean row says on how many runs it rests.
    rows = [row for row in read_csv(table) if row["n_runs"] is None]
    save(PLOTS[plot](rows, study), png, pdf)
    mirrors_of_studies(config, study).study(study, [png])


with stage(snakemake.log[0]):
    main(
        config=snakemake.config,
        table=Path(snakemake.input.table),
        study=snakemake.wildcards.study,
        plot=snakemake.params.plot,
        png=Path(snakemake.output.png),
        pdf=Path(snakemake.output.pdf),
    )
