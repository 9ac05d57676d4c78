"""Draw one figure of a run into the file that was asked for."""

from pathlib import Path

from odevae.errors import OdevaeError
from odevae.jobs.job_logging import log, stage
from odevae.plots import save
from odevae.protocols.fold import load_fold
from odevae.report.run_figures import figures_of_run
from odevae.storage.files import read_json
from odevae.storage.run_folder import HISTORY_FILE, RUN_FILE, RunKey, read_history, read_predictions
from odevae.tracking import mirrors_of_run


def main(fold_folder: Path, folder: Path, colour_by: list[str], output: Path) -> None:
    fold, run = load_fold(fold_folder), read_json(folder / RUN_FILE)
    history = read_history(folder / HISTORY_FILE, run["files"][HISTORY_FILE])

    def field():
        # Takes seconds to import, because of PyTorch, and of all figures that of the field alone needs it.
        from odevae.report.latent_field import load_latent_field

        return load_latent_field(fold, folder)

    draw, _ = figures_of_run(fold, run, history, read_predictions(folder, run), colour_by, field)
    if output.stem not in draw:
        raise OdevaeError(f"{output}: there is no such figure; the names are {', '.join(sorted(draw))}.")
    save(draw[output.stem](), output)
    log.info(f"{output}: written")


with stage(snakemake.log[0]):
    folder = Path(snakemake.input.run).parent
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        folder=folder,
        colour_by=snakemake.params.colour_by,
        output=Path(snakemake.output[0]),
    )
    mirrors_of_run(snakemake.config, RunKey.from_text(**snakemake.wildcards)).run(folder)
