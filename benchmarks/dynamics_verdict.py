"""How often the verdict on dynamics is wrong: `python benchmarks/dynamics_verdict.py verdicts.csv`.

One hundred recordings without dynamics (a smooth random path in each trial, tuned neurons) and one hundred with (the
three chaotic systems as spikes and under three amounts of calcium noise) are simulated, fitted and judged, each with
another seed. Every verdict is a line of the file; a run that was stopped goes on where it ended. The table counts them.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from odevae.benchmark.dynamics import verdict
from odevae.benchmark.models.dynamics import Dynamics
from odevae.data.simulate import simulate
from odevae.data.trials import cut

N = 100
# The smallest share of a verdict was chosen on recordings of lower seeds.
FIRST_SEED = 1000
SIZE = {"n_neurons": 20, "n_trials": 150, "frames_per_trial": 70}
# How the dynamics are seen, and how long a path without them is smooth.
OBSERVATIONS = ({}, *({"observation": "calcium", "calcium_noise": noise} for noise in (0.5, 1.0, 2.0)))
WITH = [(system, settings) for system in ("lorenz", "roessler", "arneodo") for settings in OBSERVATIONS]
WITHOUT = [
    ("random_path", {"latent_dim": dim, "timescale_frames": frames})
    for dim, frames in itertools.product((2, 3), (5.0, 10.0, 20.0))
]
LATENT_DIM = 3
VALIDATION, TEST = 25, 30


def recordings():
    """Kind, settings and seed of each recording, the two sorts in turn."""
    for seed in range(FIRST_SEED, FIRST_SEED + N):
        for sort in (WITHOUT, WITH):
            kind, settings = sort[seed % len(sort)]
            yield kind, settings, seed


def judged(kind: str, settings: dict, seed: int) -> dict:
    """A line of the file: the verdict on one recording."""
    recording = simulate(kind, seed=seed, **SIZE, **settings)
    ids = np.random.default_rng(seed).permutation(recording.trial_ids)
    parts = np.split(ids, [len(ids) - VALIDATION - TEST, len(ids) - TEST])
    train, validation, test = (cut(recording, recording.activity, part) for part in parts)
    started = time.process_time()
    model = Dynamics(LATENT_DIM, seed)
    model.fit(train, validation)
    found = verdict(*model.second_halves(test), np.arange(len(test)))
    seconds = time.process_time() - started
    return {"kind": kind, "settings": str(settings), "seed": seed, "seconds": seconds} | found._asdict()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = pd.read_csv(arguments.file).to_dict("records") if arguments.file.exists() else []
    known = {(row["kind"], row["seed"]) for row in done}
    for kind, settings, seed in recordings():
        if (kind, seed) not in known:
            done.append(judged(kind, settings, seed))
            pd.DataFrame(done).to_csv(arguments.file, index=False)
    table = pd.DataFrame(done)
    table["dynamics"] = np.where(table["kind"] == "random_path", "without", "with")
    print(
        pd.crosstab([table["dynamics"], table["kind"], table["settings"]], table["answer"], margins=True).to_markdown()
    )
    print(f"{table['seconds'].median():.0f} CPU s a recording (median)")
