"""Train one model on its fold."""

import time
from pathlib import Path

import torch

from odevae.folds import load_fold
from odevae.models.presets import ModelSpec
from odevae.provenance import provenance
from odevae.runs import RunKey
from odevae.stage import stage
from odevae.tracking import mirrors_of_run
from odevae.training import train

MIRROR_EVERY_S = 15


def main(fold_folder: Path, key: RunKey, spec: dict, folder: Path, threads: int, config: dict) -> None:
    torch.set_num_threads(threads)
    fold = load_fold(fold_folder)
    mirrors = mirrors_of_run(config, key)
    mirrored_at = time.monotonic()

    def mirror_now_and_then() -> None:
        nonlocal mirrored_at
        if time.monotonic() - mirrored_at > MIRROR_EVERY_S:
            mirrors.run(folder)
            mirrored_at = time.monotonic()

    about = {"data_sha256": fold.about["data_sha256"], **provenance(Path.cwd())}
    train(fold, key, ModelSpec(**spec), folder, about, on_epoch=mirror_now_and_then)
    mirrors.run(folder)


with stage(snakemake.log[0]):
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        key=RunKey.from_text(**snakemake.wildcards),
        spec=snakemake.params.spec,
        folder=Path(snakemake.output.run).parent,
        threads=snakemake.threads,
        config=snakemake.config,
    )
