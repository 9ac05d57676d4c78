"""Fit one model on the training trials of one split, at each dimension, and score it on every task it answers."""

import sys
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from odevae.benchmark.event_scorer import EventScorer
from odevae.benchmark.grid import Cell, model_class
from odevae.benchmark.scoring import all_scores
from odevae.data.recording import load_recording, require_covariates
from odevae.data.trials import cut
from odevae.jobs.garbage import collector_paused
from odevae.jobs.job_logging import log, stage
from odevae.jobs.provenance import provenance
from odevae.protocols.fold import Fold, load_fold
from odevae.protocols.kernel import kernel_width
from odevae.storage.files import write_json

SEED = 0


def main(
    fold_folder: Path, recording: str | None, place: str, covariates: list[str], threads: int, output: Path
) -> None:
    cell = Cell.at(output.relative_to("results").as_posix())
    with collector_paused():
        model = model_class(place)
    if "torch" in sys.modules:
        # Most models need no PyTorch, which takes longer to import than they take to fit.
        sys.modules["torch"].set_num_threads(threads)
    fold = load_fold(fold_folder)
    require_covariates(covariates, fold.raw.covariates, f"datasets.{cell.dataset}.decode")
    parts = {name: fold.raw.take(fold.parts[name]) for name in ("train", "validation", "test")}
    kernel_frames = kernel_width(fold.raw)
    with threadpool_limits(threads):
        found = all_scores(
            lambda latent_dim: model(latent_dim=max(latent_dim, 1), seed=SEED),
            cell.latent_dims,
            *parts.values(),
            tuple(covariates),
            # Every split holds out other neurons.
            draw=cell.split,
            expected=expected_in_test(recording, fold) if recording else None,
            events=EventScorer.of(fold.events, kernel_frames, parts["train"], parts["validation"]),
            units=fold.independent_units("test"),
        )
    content = {
        "dataset": cell.dataset,
        "split": cell.split,
        "model": cell.model,
        "events": fold.events,
        "kernel_frames": kernel_frames,
        "n_trials": {name: len(trials) for name, trials in parts.items()},
        "fits": [
            {"latent_dim": latent_dim, "fit_s": fit.fit_s, "scores": fit.scores}
            | ({"second_halves": fit.second_halves._asdict()} if fit.second_halves else {})
            for latent_dim, fit in zip(cell.latent_dims, found, strict=True)
        ],
        "fold_sha256": fold.about["fold_sha256"],
        "data_sha256": fold.about["data_sha256"],
    }
    write_json(output, content | provenance())
    for latent_dim, fit in zip(cell.latent_dims, found, strict=True):
        headlines = ", ".join(f"{task} {next(iter(values.values())):.3f}" for task, values in fit.scores.items())
        log.info(f"{cell.folder}/d{latent_dim}: {headlines}")


def expected_in_test(recording_file: str, fold: Fold) -> np.ndarray:
    """Activity ``(B, L, N)`` of the test trials of a simulation without noise."""
    # What simulates takes a while to import, and a recording needs none of it.
    from odevae.data.simulate.expected import expected_activity

    recording = load_recording(recording_file)
    return cut(recording, expected_activity(recording), fold.raw.trial_ids).values[fold.parts["test"]]


with stage(snakemake.log[0]):
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        recording=snakemake.input.get("recording"),
        place=snakemake.params.place,
        covariates=snakemake.params.decode,
        threads=snakemake.threads,
        output=Path(snakemake.output.scores),
    )
