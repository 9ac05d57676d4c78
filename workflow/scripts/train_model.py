"""Train one model on its fold."""

import time
from pathlib import Path

from odevae.jobs.garbage import collector_paused
from odevae.jobs.job_logging import stage
from odevae.jobs.provenance import provenance
from odevae.protocols.fold import load_fold
from odevae.storage.run_folder import RunKey
from odevae.tracking import mirrors_of_run

with collector_paused():
    import torch

    from odevae.models.presets import ModelSpec, spec_from
    from odevae.training.recorder import require_device, train
    from odevae.training.shooting_run import train_shooting

# At least, and at most this share of the time, so that a slow store does not slow the training down.
MIRROR_EVERY_S, MIRROR_SHARE = 15, 0.05


def main(
    fold_folder: Path, key: RunKey, spec: dict, folder: Path, threads: int, gpus: int, code: str, config: dict
) -> None:
    torch.set_num_threads(threads)
    device = "cuda" if gpus else "cpu"
    require_device(device)
    fold = load_fold(fold_folder)
    mirrors = mirrors_of_run(config, key)
    next_mirror = time.monotonic() + MIRROR_EVERY_S

    def mirror_now_and_then() -> None:
        nonlocal next_mirror
        started = time.monotonic()
        if started > next_mirror:
            mirrors.run(folder)
            ended = time.monotonic()
            next_mirror = ended + max(MIRROR_EVERY_S, (ended - started) / MIRROR_SHARE)

    about = {name: fold.about[name] for name in ("data_sha256", "fold_sha256")}
    about |= {"code_sha256": code, **provenance()}
    settings = spec_from(spec)
    if isinstance(settings, ModelSpec):
        train(fold, key, settings, folder, about, mirror_now_and_then, device)
    else:
        train_shooting(fold, key, settings, folder, about, mirror_now_and_then, device)
    mirrors.run(folder)


with stage(snakemake.log[0]):
    main(
        fold_folder=Path(snakemake.input.fold[0]).parent,
        key=RunKey.from_text(**snakemake.wildcards),
        spec=snakemake.params.spec,
        folder=Path(snakemake.output.run).parent,
        threads=snakemake.threads,
        gpus=snakemake.resources.get("gpu", 0),
        code=snakemake.params.code,
        config=snakemake.config,
    )
