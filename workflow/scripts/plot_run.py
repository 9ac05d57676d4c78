"""Draw what a reader needs to judge a run: learning curves, manifolds and activity."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.plots import save
from odevae.protocols.fold import load_fold
from odevae.report.figure_names import BY_COVARIATE, FIGURES, manifold_by
from odevae.report.run_figures import figures_of_run
from odevae.storage.files import read_json, write_json
from odevae.storage.run_folder import (
    FIGURES_FOLDER,
    HISTORY_FILE,
    MANIFOLD_FILE,
    RUN_FILE,
    RunKey,
    read_history,
    read_predictions,
    remove_older_figures,
)
from odevae.tracking import mirrors_of_run


def main(fold_folder: Path, folder: Path, colour_by: list[str]) -> None:
    fold, run = load_fold(fold_folder), read_json(folder / RUN_FILE)
    history = read_history(folder / HISTORY_FILE, run["files"][HISTORY_FILE])
    draw, stress = figures_of_run(fold, run, history, read_predictions(folder, run), colour_by)
    remove_older_figures(folder)
    figures = folder / FIGURES_FOLDER
    (figures / BY_COVARIATE).mkdir(parents=True)
    for name in FIGURES:
        save(draw[name](), figures / f"{name}.png")
    for name in map(manifold_by, colour_by):
        save(draw[name](), figures / BY_COVARIATE / f"{name}.png")
    write_json(folder / MANIFOLD_FILE, {"run": run["run"], "attempt": run["attempt"], "values": stress()})
    log.info(f"{run['run']}: {len(FIGURES) + len(colour_by)} figures; stress {stress()}")


with stage(snakemake.log[0]):
    folder = Path(snakemake.output.manifold).parent
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        folder=folder,
        colour_by=snakemake.params.colour_by,
    )
    mirrors_of_run(snakemake.config, RunKey.from_text(**snakemake.wildcards)).run(folder)
