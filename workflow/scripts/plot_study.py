"""Draw the scores of a study's runs."""

from pathlib import Path

from odevae.plots import save, seed_sweep
from odevae.stage import stage
from odevae.tables import MEAN_ROWS, read_csv

with stage(snakemake.log[0]):
    rows = [row for row in read_csv(Path(snakemake.input.table)) if row["seed"] not in MEAN_ROWS]
    save(seed_sweep(rows, snakemake.wildcards.study), Path(snakemake.output.png).with_suffix(""))
