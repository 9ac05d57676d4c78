"""Score a trained run on the held-out parts of its fold and keep its predictions."""

from pathlib import Path

from odevae.jobs.garbage import collector_paused
from odevae.jobs.job_logging import log, stage
from odevae.protocols.fold import load_fold
from odevae.storage.files import write_json
from odevae.storage.run_folder import METRICS_FILE, write_predictions
from odevae.storage.scores import Score, scores_of

with collector_paused():
    import torch

    from odevae.evaluation.run_scores import evaluate


def main(fold_folder: Path, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    metrics, predictions = evaluate(load_fold(fold_folder), folder)
    write_predictions(folder, metrics, predictions)
    write_json(folder / METRICS_FILE, metrics)
    none = Score(metrics["scored_part"], "raw", metrics["task"], "best", "mean", "r2_neuron", float("nan"))
    headline = next((score for score in scores_of(metrics) if score.name == none.name), none)
    log.info(f"{metrics['run']}: {metrics['status']}, {headline.name} = {headline.value:.4f}")


with stage(snakemake.log[0]):
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        folder=Path(snakemake.output.metrics).parent,
        threads=snakemake.threads,
    )
