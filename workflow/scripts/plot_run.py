"""Draw the manifold, the learning curves and example neurons of one run."""

from pathlib import Path

import numpy as np

from odevae.diagnostics import figures_of_run
from odevae.folds import load_fold
from odevae.plots import save
from odevae.runs import (
    FIGURES_FOLDER,
    HISTORY_FILE,
    MANIFOLD_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    RunKey,
    read_history,
    read_json,
    write_json,
)
from odevae.stage import stage
from odevae.tracking import mirrors_of_run


def main(fold_folder: Path, folder: Path, colour_by: str) -> None:
    run = read_json(folder / RUN_FILE)
    with np.load(folder / PREDICTIONS_FILE, allow_pickle=False) as file:
        predictions = {name: file[name] for name in file.files}
    figures, stress = figures_of_run(
        load_fold(fold_folder), run, read_history(folder / HISTORY_FILE), predictions, colour_by
    )
    for name, figure in figures.items():
        save(figure, folder / FIGURES_FOLDER / name)
    write_json(folder / MANIFOLD_FILE, {"run": run["run"], "attempt": run["attempt"], "values": stress})
    print(f"{run['run']}: {', '.join(figures)}; stress {stress}")


with stage(snakemake.log[0]):
    folder = Path(snakemake.output.manifold).parent
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        folder=folder,
        colour_by=snakemake.params.colour_by,
    )
    key = RunKey.from_text(**snakemake.wildcards)
    mirrors_of_run(snakemake.config, key).run(folder)
