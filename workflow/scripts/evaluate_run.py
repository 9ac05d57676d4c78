"""Score a trained run on the held-out parts of its fold and keep its predictions."""

from pathlib import Path

import torch

from odevae.artifacts import write_json
from odevae.evaluation import evaluate
from odevae.folds import load_fold
from odevae.runs import METRICS_FILE, RunKey, write_predictions
from odevae.stage import stage
from odevae.tracking import mirrors_of_run


def main(fold_folder: Path, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    metrics, predictions = evaluate(load_fold(fold_folder), folder)
    write_predictions(folder, metrics, predictions)
    write_json(folder / METRICS_FILE, metrics)
    key = f"{metrics['scored_part']}/raw/{metrics['task']}/best/mean/r2_neuron"
    print(f"{metrics['run']}: {metrics['status']}, {key} = {metrics['values'].get(key, float('nan')):.4f}")


with stage(snakemake.log[0]):
    folder = Path(snakemake.output.metrics).parent
    main(fold_folder=Path(snakemake.input.fold[0]).parent, folder=folder, threads=snakemake.threads)
    key = RunKey.from_text(**snakemake.wildcards)
    mirrors_of_run(snakemake.config, key).run(folder)
