"""Draw the manifolds, the learning curves and the diagnostics of one run."""

from pathlib import Path

from odevae.jobs.job_logging import log, stage
from odevae.plots import save
from odevae.protocols.fold import load_fold
from odevae.report.figure_names import BY_COVARIATE, FIGURES
from odevae.report.latent_field import load_latent_field
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
)
from odevae.tracking import mirrors_of_run


def main(fold_folder: Path, folder: Path, colour_by: list[str]) -> None:
    fold, run = load_fold(fold_folder), read_json(folder / RUN_FILE)
    history = read_history(folder / HISTORY_FILE, run["files"][HISTORY_FILE])
    predictions = read_predictions(folder, run)
    figures, stress = figures_of_run(fold, run, history, predictions, colour_by, load_latent_field(fold, folder))
    by_covariate = folder / FIGURES_FOLDER / BY_COVARIATE
    by_covariate.mkdir(parents=True)
    for name, figure in figures.items():
        save(figure, (folder / FIGURES_FOLDER if name in FIGURES else by_covariate) / name)
    write_json(folder / MANIFOLD_FILE, {"run": run["run"], "attempt": run["attempt"], "values": stress})
    log.info(f"{run['run']}: {len(figures)} figures; stress {stress}")


with stage(snakemake.log[0]):
    folder = Path(snakemake.output.manifold).parent
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        folder=folder,
        colour_by=snakemake.params.colour_by,
    )
    mirrors_of_run(snakemake.config, RunKey.from_text(**snakemake.wildcards)).run(folder)
