"""How often trainings collapse, with ``robust: true`` and without: `python benchmarks/collapses.py FILE.csv`.

A run collapses if it diverges, or if its validation paths span fewer dimensions than the model has. `FILE.csv` gets
one line for each run; a call goes on with the runs that it does not have and ends with a Markdown table for
docs/training.md. ``--cores`` runs so many at a time, of one thread each; ``--table`` prints the table of what is there.

Four experiments, each with other seeds on the same trials:

- ``short``: about 48 steps on foraging and on E65, 200 seeds each, of v5 as shipped and of the benchmark model
  ``shooting`` with the settings of few or many neurons.
- ``whole``: v5 with all cures on foraging, all 150 epochs, 20 seeds: whether a dimension that short runs have not
  begun to use is used in the end.
- ``stress``: the short runs of v5 at a learning rate 50 times the published one, 10 seeds each.
- ``published``: the paper's v1 on foraging, D = 3, 150 epochs. The split is the seed, as in the paper. Seed 777, which
  collapsed there, with ``dopri5`` as published; then many seeds with the fixed-step ``rk4`` that the authors' laptop
  used, on 30 bins instead of 120, because its cost grows with the bins.

E65 comes from the folder ODEVAE_DATA_DIR.
"""

import argparse
import csv
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from odevae.benchmark.models.shooting import Shooting
from odevae.data.readers import read
from odevae.data.simulate.foraging import foraging
from odevae.errors import OdevaeError
from odevae.evaluation.latent_rank import LatentRank, latent_rank
from odevae.evaluation.run_scores import predict
from odevae.models.odevae import build
from odevae.models.presets import ModelSpec, model_spec
from odevae.protocols.fold import Fold
from odevae.protocols.recipes import heldout, published
from odevae.training.descent import Diverged
from odevae.training.loop import fit
from odevae.training.reproducibility import seed_everything
from odevae.training.shooting import HEAVY, LIGHT

LAMBDA_SMOOTH = 5e-4
# The seed of the paper's Table 1 that collapsed.
PUBLISHED_SEED = 777
SEEDS, WHOLE_SEEDS, STRESS_SEEDS, RK4_SEEDS = 200, 20, 10, 5
STRESS_RATE = 0.1
# Of E65; with 16 training trials of foraging as many steps take more epochs.
TRAINING_TRIALS = 48
SHORT_EPOCHS = {"foraging": 24, "e65": 8}
SHOOTING = {"foraging": replace(LIGHT, steps=48), "e65": replace(HEAVY, block_frames=4, steps=48)}
LATENT_DIMS = {"foraging": 3, "e65": 5}
HELDOUT = {"drop_first_trials": 0, "test_fraction": 0.1, "validation_fraction": 0.1, "seed": 0}
PUBLISHED = {"duration_s": 12, "drop_first_trials": 0, "landmarks": 100, "holdout": 20}
COLUMNS = (
    *("experiment", "dataset", "model", "seed", "status", "epochs", "latent_rank", "latent_dim"),
    *("participation_ratio", "val_r2", "skipped_steps", "seconds"),
)


class Job(NamedTuple):
    """A run: a line of the file, before what it gave."""

    experiment: str
    dataset: str
    model: str
    seed: int


def jobs() -> Iterator[Job]:
    """All runs, the experiments in turn."""
    for seed in range(SEEDS):
        for experiment in ("short", "stress") if seed % (SEEDS // STRESS_SEEDS) == 0 else ("short",):
            for dataset in SHORT_EPOCHS:
                for model in ("v5", "v5 robust", "shooting") if experiment == "short" else ("v5", "v5 robust"):
                    yield Job(experiment, dataset, model, seed)
        if seed % (SEEDS // WHOLE_SEEDS) == 0:
            yield Job("whole", "foraging", "v5 robust", seed)
        if seed == 0:
            for model in ("v1_dopri5", "v1_dopri5 robust"):
                yield Job("published", "foraging", model, PUBLISHED_SEED)
        if seed % (SEEDS // RK4_SEEDS) == 0:
            for model in ("v1_rk4", "v1_rk4 robust"):
                yield Job("published", "foraging", model, seed)


def spec_of(job: Job) -> ModelSpec:
    """The settings of a run. Warm-ups of the cures that are longer than a short run become shares of it."""
    name, _, robust = job.model.partition(" ")
    preset, _, solver = name.partition("_")
    changes = {"preset": preset, "robust": bool(robust)} | ({"solver": solver} if solver else {})
    if job.experiment in ("short", "stress"):
        epochs = SHORT_EPOCHS[job.dataset]
        changes |= {"epochs": epochs}
        if robust:
            changes |= {"learning_rate_warmup_epochs": epochs // 4, "horizon_epochs": epochs // 2}
    if job.experiment == "stress":
        changes |= {"learning_rate": STRESS_RATE}
    # Under a name that is no preset's own.
    return model_spec("changed", {"changed": changes})


@cache
def recording(dataset: str):
    if dataset == "e65":
        return read(Path(os.environ["ODEVAE_DATA_DIR"]) / "E65_v73.mat", name="e65", units="dF/F")
    return foraging(n_neurons=300, n_frames=4000, n_trials=20, seed=0)


@cache
def fold_of(dataset: str, observations: str, protocol: str, split: int, bins: int = 120) -> Fold:
    if protocol == "published":
        return published(recording(dataset), observations, split, PUBLISHED | {"bins": bins})
    settings = HELDOUT | {"drop_first_trials": 10 if dataset == "e65" else 0}
    fold = heldout(recording(dataset), observations, split, settings)
    return replace(fold, parts=fold.parts | {"train": fold.parts["train"][:TRAINING_TRIALS]})


def run(job: Job) -> dict:
    """Train once; gives the line of the file."""
    torch.set_num_threads(1)
    line = dict.fromkeys(COLUMNS, "") | job._asdict() | {"status": "ok", "latent_dim": LATENT_DIMS[job.dataset]}
    started = time.monotonic()
    try:
        found, rank = train_shooting(job) if job.model == "shooting" else train(job)
    except (Diverged, OdevaeError) as error:
        found = {"status": "diverged", "epochs": getattr(error, "epoch", "")}
    else:
        found |= {"latent_rank": int(rank.latent_rank), "participation_ratio": f"{rank.participation_ratio:.2f}"}
    return line | found | {"seconds": f"{time.monotonic() - started:.1f}"}


def train(job: Job) -> tuple[dict, LatentRank]:
    """An ODE-VAE; the rank is that of its validation paths."""
    spec = spec_of(job)
    if job.experiment == "published":
        fold = fold_of(job.dataset, spec.observations, "published", job.seed, 30 if spec.solver == "rk4" else 120)
    else:
        fold = fold_of(job.dataset, spec.observations, "heldout", 0)
    seed_everything(job.seed)
    model = build(spec, fold.preprocessor.n_channels, LATENT_DIMS[job.dataset])
    found = {"epochs": 0, "skipped_steps": 0}
    try:
        for epoch in fit(model, fold, spec, LAMBDA_SMOOTH):
            found["epochs"] = epoch.state.epoch
            found["val_r2"] = f"{epoch.row['val_r2']:.4f}"
            found["skipped_steps"] += epoch.row["skipped_steps"]
    except Diverged as error:
        error.epoch = found["epochs"]
        raise
    model.load_state_dict(epoch.state.judged)
    return found, latent_rank(predict(model, fold, "validation")[1], fold.raw.mask[fold.parts["validation"]])


def train_shooting(job: Job) -> tuple[dict, LatentRank]:
    fold = fold_of(job.dataset, "pca", "heldout", 0)
    model = Shooting(LATENT_DIMS[job.dataset], job.seed, (SHOOTING[job.dataset],))
    validation = fold.raw.take(fold.parts["validation"])
    model.fit(fold.raw.take(fold.parts["train"]), validation)
    return {}, latent_rank(model.infer(validation), validation.mask)


def print_table(lines: list[dict]) -> None:
    """Runs that diverged and runs whose paths do not span all dimensions, by experiment, data set and model."""
    head = ["experiment", "data set", "model", "runs", "diverged", "below full rank", "with skipped steps"]
    for row in [[*head, "mean R2 of the rest"], ["---"] * (len(head) + 1)]:
        print(f"| {' | '.join(row)} |")
    for group in dict.fromkeys((line["experiment"], line["dataset"], line["model"]) for line in lines):
        members = [line for line in lines if (line["experiment"], line["dataset"], line["model"]) == group]
        finished = [line for line in members if line["status"] == "ok"]
        lost = sum(int(line["latent_rank"]) < int(line["latent_dim"]) for line in finished)
        skipped = sum(int(line["skipped_steps"] or 0) > 0 for line in members)
        scores = [float(line["val_r2"]) for line in finished if line["val_r2"]]
        mean = f"{sum(scores) / len(scores):.3f}" if scores else "–"
        print(
            f"| {' | '.join(group)} | {len(members)} | {len(members) - len(finished)} | {lost} | {skipped} | {mean} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--cores", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table of what is there")
    arguments = parser.parse_args()
    lines = []
    if arguments.file.exists():
        with arguments.file.open(newline="") as file:
            lines = list(csv.DictReader(file))
    done = {(line["experiment"], line["dataset"], line["model"], int(line["seed"])) for line in lines}
    if not arguments.table:
        with arguments.file.open("a", newline="") as file, multiprocessing.Pool(arguments.cores) as pool:
            writer = csv.DictWriter(file, COLUMNS)
            if not lines:
                writer.writeheader()
            for line in pool.imap_unordered(run, [job for job in jobs() if job not in done]):
                lines.append(line)
                writer.writerow(line)
                file.flush()
    print_table(lines)


if __name__ == "__main__":
    main()
