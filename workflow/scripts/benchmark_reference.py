"""Fit one model on the training trials of one split and score it on every task that it answers."""

from functools import partial
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from odevae.artifacts import write_json
from odevae.benchmark.cells import Cell, reference_class
from odevae.benchmark.tasks import all_scores
from odevae.folds import load_fold
from odevae.provenance import provenance
from odevae.recording import require_covariate
from odevae.stage import stage

SEED = 0


def main(fold_folder: Path, cell: Cell, place: str, covariates: list[str], threads: int, output: Path) -> None:
    torch.set_num_threads(threads)
    fold = load_fold(fold_folder)
    for name in covariates:
        require_covariate(name, fold.raw.covariates, f"{cell.dataset}.decode")
    parts = {name: fold.raw.take(fold.parts[name]) for name in ("train", "validation", "test")}
    make = partial(reference_class(place), latent_dim=max(cell.latent_dim, 1), seed=SEED)
    with threadpool_limits(threads):
        scores, fit_s = all_scores(make, *parts.values(), tuple(covariates))
    content = {
        "dataset": cell.dataset,
        "split": cell.split,
        "reference": cell.reference,
        "latent_dim": cell.latent_dim,
        "n_trials": {name: len(trials) for name, trials in parts.items()},
        "fit_s": fit_s,
        "scores": scores,
        "fold_sha256": fold.about["fold_sha256"],
        "data_sha256": fold.about["data_sha256"],
    }
    write_json(output, content | provenance(Path.cwd()))
    print(f"{cell.path}: " + ", ".join(f"{task} {_headline(values):.3f}" for task, values in scores.items()))


def _headline(values: dict) -> float:
    return next(values[name] for name in ("r2_neuron", "r2", "balanced_accuracy") if name in values)


with stage(snakemake.log[0]):
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        cell=Cell(
            snakemake.wildcards.dataset,
            int(snakemake.wildcards.split),
            snakemake.wildcards.reference,
            int(snakemake.wildcards.latent_dim),
        ),
        place=snakemake.params.place,
        covariates=snakemake.params.decode,
        threads=snakemake.threads,
        output=Path(snakemake.output.scores),
    )
