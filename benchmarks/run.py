"""How fast models are solved and trained: `python benchmarks/run.py`, about 15 minutes on one core.

Prints Markdown tables for docs/speed.md. Every ratio is of medians taken in turn in this one process, with one thread,
on processor time (on a GPU: time that passed). Weights are those of a training with dopri5, as in the paper: of v1 on
the file behind Table 1, of v5 on E65, both under the published protocol.

torchode (`pip install --no-deps torchode torchtyping typeguard`) and the paper's own code (`--paper FILE`, its
``neural_ode_vae.py``) are compared where they are at hand.
"""

import argparse
import copy
import importlib.util
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path

import torch
from plain import PlainODEVAE

from odevae.models.decoders import MoEDecoder
from odevae.models.odevae import ODEVAE, build
from odevae.models.presets import PRESETS
from odevae.models.solvers import CHECK_EVERY, DenseRK4, Dopri5, path_error
from odevae.protocols.fold import Fold, load_fold
from odevae.training import losses
from odevae.training.descent import descend
from odevae.training.loop import batches, fit
from odevae.training.reproducibility import seed_everything

PROJECT = Path(__file__).parents[1]
# Model, data set, observations, seed (which is also the split), latent dimension.
CASES = {"v1": ("foraging_published", "pca", 42, 3), "v5": ("e65", "pca-baseline", 1, 5)}
EPOCHS = (0, 5, 20, 100)
LAMBDA_SMOOTH = 5e-4
SEEDS = (1, 42, 1337, 2025, 777)
# No multiple and no divisor of `CHECK_EVERY`: in a cycle each batch is checked in its turn, as in a training.
BATCHES = 7
# The tolerance of rk4_dense at which the median error stays below a given one, in units of that error. The sharper
# batches decide for the steps.
TOLERANCE_PER_ERROR = 2.5

Weights = dict[str, torch.Tensor]
Turns = Iterator[tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]]
"""Batches in turn: states at the first time, times, and the exact path."""


def fold_of(case: str, seed: int | None = None) -> Fold:
    dataset, observations, default, _ = CASES[case]
    folder = f"results/{dataset}/published/split{seed or default}/{observations}"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", f"{folder}/trials.npz", "--quiet", "all"]
    subprocess.run(command, cwd=PROJECT, check=True)
    return load_fold(PROJECT / folder)


class Clock:
    """Medians, in seconds, of calls taken in turn."""

    def __init__(self, device: str):
        self.device = device

    def now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def medians(self, calls: dict[str, Callable[[], None]], repeats: int, unmeasured: int = 2) -> dict[str, float]:
        passed = {name: [] for name in calls}
        for repeat in range(unmeasured + repeats):
            for name, call in calls.items():
                started = self.now()
                call()
                if repeat >= unmeasured:
                    passed[name].append(self.now() - started)
        return {name: statistics.median(times) for name, times in passed.items()}


def trained_weights(case: str, fold: Fold) -> tuple[ODEVAE, dict[int, Weights]]:
    """A model on the CPU, and its weights after each of `EPOCHS`."""
    spec, seed, latent_dim = replace(PRESETS[case], solver="dopri5", epochs=max(EPOCHS)), *CASES[case][2:]
    seed_everything(seed)
    model = build(spec, fold.preprocessor.n_channels, latent_dim)
    weights = {0: copy.deepcopy(model.state_dict())}
    for epoch in fit(model, fold, spec, LAMBDA_SMOOTH):
        if epoch.state.epoch in EPOCHS:
            weights[epoch.state.epoch] = copy.deepcopy(model.state_dict())
    return model, weights


def table(head: list[str], rows: list[list[str]]) -> None:
    for row in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def solves(case: str, fold: Fold, model: ODEVAE, weights: dict[int, Weights], device: str) -> None:
    """Forward and backward through the path alone."""
    clock, rows = Clock(device), []
    for epoch, state in weights.items():
        model.load_state_dict(state)
        field = copy.deepcopy(model.field).to(device)
        starts = initial_states(model, fold, device)
        exact = [Dopri5(1e-7, 1e-7)(field, z0, times).detach() for z0, times in starts]
        loose = errors(Dopri5(), field, zip(starts, exact, strict=True))[0]
        solvers = {
            "dopri5, rtol 1e-3": Dopri5(),
            f"rk4_dense, the error of dopri5 (tolerance {TOLERANCE_PER_ERROR * loose:.1e})": DenseRK4(
                TOLERANCE_PER_ERROR * loose
            ),
            "rk4_dense, as it is": DenseRK4(),
            "dopri5, rtol 1e-5": Dopri5(1e-5, 1e-5),
            f"rk4_dense, error 1e-4 (tolerance {TOLERANCE_PER_ERROR * 1e-4:.1e})": DenseRK4(TOLERANCE_PER_ERROR * 1e-4),
        } | torchode_solvers(field)
        turns = {name: cycle(zip(starts, exact, strict=True)) for name in solvers}
        calls = {name: partial(solve_all, solve, field, turns[name]) for name, solve in solvers.items()}
        # Each batch is checked once before, so that the average over checks has settled, and once in what is measured.
        seconds = clock.medians(calls, BATCHES, unmeasured=BATCHES)
        for name, solve in solvers.items():
            rms, largest, steps = errors(solve, field, turns[name])
            rows.append(
                [str(epoch), name, steps, f"{1e3 * seconds[name] / CHECK_EVERY:.1f}", f"{rms:.1e}", f"{largest:.1e}"]
                + [f"{seconds[other] / seconds[name]:.2f}" for other in ("dopri5, rtol 1e-3", "dopri5, rtol 1e-5")]
            )
    print(f"### {case}: one solve, forward and backward, {len(starts[0][0])} trials x {len(starts[0][1])} times\n")
    table(
        [
            "epoch",
            "solver",
            "steps",
            "ms",
            "error, RMS",
            "largest",
            "speed / dopri5 1e-3",
            "speed / dopri5 1e-5",
        ],
        rows,
    )


def initial_states(model: ODEVAE, fold: Fold, device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A draw of ``z0`` and the times, for some batches."""
    torch.manual_seed(0)
    starts = []
    with torch.no_grad():
        for observed, mask, times in list(batches(fold, "train", 8, True))[:BATCHES]:
            mean, log_variance = model.encoder(observed, mask)
            z0 = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            starts.append((z0.to(device), times.to(device)))
    return starts


def solve_all(solve, field, turns: Turns) -> None:
    """As many solves as from one check of the error to the next, of the next batches."""
    for (z0, times), _ in islice(turns, CHECK_EVERY):
        field.zero_grad()
        solve(field, z0.requires_grad_(), times).square().mean().backward()


@torch.no_grad()
def errors(solve, field, turns: Turns) -> tuple[float, float, str]:
    """Medians over solves of the root mean square and the largest relative error, and the mean number of steps.

    `DenseRK4` solves each batch between different checks, as it does in a training.
    """
    adapts = isinstance(solve, DenseRK4)
    if adapts:
        solve.end_epoch()
    rms, largest = [], []
    for (z0, times), path in islice(turns, CHECK_EVERY * BATCHES if adapts else BATCHES):
        found = solve(field, z0, times)
        rms.append(path_error(found, path))
        largest.append(((found - path).abs() / (1 + path.abs())).max().item())
    steps = f"{solve.end_epoch()['solver_steps']:.1f}" if adapts else ""
    return statistics.median(rms), statistics.median(largest), steps


def torchode_solvers(field) -> dict[str, Callable]:
    try:
        import torchode
    except ImportError:
        return {}

    def solver(tolerance: float, floor: float) -> Callable:
        term = torchode.ODETerm(lambda t, z: field(t[:, None], z))
        step, size = torchode.Dopri5(term=term), torchode.IntegralController(floor, tolerance, term=term)
        adjoint = torchode.AutoDiffAdjoint(step, size)

        def solve(_, z0, times):
            return adjoint.solve(torchode.InitialValueProblem(z0, t_eval=times.expand(len(z0), -1))).ys

        return solve

    return {"torchode, rtol 1e-3": solver(1e-3, 1e-4), "torchode, rtol 1e-5": solver(1e-5, 1e-5)}


def steps(case: str, fold: Fold, model: ODEVAE, weights: dict[int, Weights], device: str, paper: Path | None) -> None:
    """One step of training: batch, forward, loss, backward, clip, Adam."""
    clock, rows = Clock(device), []
    spec = PRESETS[case]
    for epoch, state in weights.items():
        model.load_state_dict(state)
        ours = copy.deepcopy(model)
        ours.solver = DenseRK4()
        models = {"plain": PlainODEVAE(model, fold.preprocessor.n_channels), "dopri5": model, "rk4_dense": ours}
        if paper is not None and case == "v1":
            models["the paper's code"] = papers_model(paper, model, fold.preprocessor.n_channels)
        calls = {}
        for name, one in models.items():
            one = copy.deepcopy(one).to(device).train()
            # A learning rate of zero: all the work, and the weights stay.
            plain = name in ("plain", "the paper's code")
            optimiser = torch.optim.Adam(one.parameters(), lr=0.0, fused=not plain)
            calls[name] = partial(steps_of, one, fold, spec, optimiser, epoch, device, count())
        seconds = clock.medians(calls, 5)
        rows.append([str(epoch), *(f"{seconds['plain'] / seconds[name]:.2f}" for name in models)])
    print(f"### {case}: speed of one training step against the plain version\n")
    table(["epoch", *models], rows)


def steps_of(model, fold: Fold, spec, optimiser, epoch: int, device: str, seeds: Iterator[int]) -> None:
    torch.manual_seed(next(seeds))
    weight = losses.weights(spec, LAMBDA_SMOOTH, max(epoch, 1))
    for observed, mask, times in list(batches(fold, "train", spec.batch_size, True, device))[:CHECK_EVERY]:
        output = model(observed, mask, times, sample=True)
        loss = losses.total(losses.terms(output, observed, mask, times, weight), weight)
        descend(loss, model, optimiser)


def papers_model(file: Path, model: ODEVAE, n_channels: int):
    """The paper's v1 with our weights, called as ours."""
    found = importlib.util.spec_from_file_location("papers_code", file)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)

    class Papers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = module.ODEVAE(n_channels, model.latent_dim)
            for theirs, ours in zip(self.model.parameters(), model.parameters(), strict=True):
                theirs.data.copy_(ours)

        def forward(self, observed, mask, times, sample):
            reconstruction, mean, log_variance, path, _ = self.model(observed, times)
            return losses.Output(reconstruction, path, mean, log_variance)

    return Papers()


def score(device: str) -> None:
    """Processor time until the validation R2 of v1 on the file behind Table 1 is .95."""
    rows, ratios = [], []
    clock = Clock(device)
    for seed in SEEDS:
        fold, row, seconds = fold_of("v1", seed), [str(seed)], []
        for solver in ("dopri5", "rk4_dense"):
            spec = replace(PRESETS["v1"], solver=solver)
            seed_everything(seed)
            model = build(spec, fold.preprocessor.n_channels, CASES["v1"][3]).to(device)
            started = clock.now()
            for epoch in fit(model, fold, spec, LAMBDA_SMOOTH, device):
                if epoch.row["val_r2"] >= 0.95:
                    break
            seconds.append(clock.now() - started)
            row += [f"{seconds[-1]:.1f}", str(epoch.state.epoch)]
        ratios.append(seconds[1] / seconds[0])
        rows.append([*row, f"{ratios[-1]:.2f}"])
    rows.append(["median", "", "", "", "", f"{statistics.median(ratios):.2f}"])
    print("### v1 on the file behind Table 1: time to a validation R2 of 0.95\n")
    table(["seed", "dopri5, s", "epochs", "rk4_dense, s", "epochs", "ratio"], rows)


def decoders(device: str) -> None:
    """The mixture decoder with its experts one after another, and as one batch."""
    clock, rows = Clock(device), []
    shapes = [(8, 120, 129, 5), (8, 120, 15, 3), (8, 40, 375, 5), (64, 120, 129, 5)]
    for n_trials, n_bins, n_channels, latent_dim in shapes:
        torch.manual_seed(0)
        decoder = MoEDecoder(latent_dim, n_channels).to(device)
        z = torch.randn(n_trials, n_bins, latent_dim, device=device, requires_grad=True)
        calls = {way.__name__: partial(decode, way, z) for way in (decoder.one_by_one, decoder.batched)}
        seconds = clock.medians(calls, 9)
        shape = f"{n_trials} x {n_bins} x {n_channels}"
        rows.append([shape, *(f"{1e3 * s:.1f}" for s in seconds.values())])
    print("### Mixture decoder, forward and backward, ms\n")
    table(["trials x bins x channels", "one by one", "batched"], rows)


def decode(way, z: torch.Tensor) -> None:
    way(z.flatten(0, 1)).square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--paper", type=Path, help="neural_ode_vae.py of the paper's repository")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    machine = torch.cuda.get_device_name() if chosen.device == "cuda" else processor()
    print(f"{machine}, Python {platform.python_version()}, PyTorch {torch.__version__}, one thread\n", flush=True)
    decoders(chosen.device)
    for case in CASES:
        fold = fold_of(case)
        model, weights = trained_weights(case, fold)
        solves(case, fold, model, weights, chosen.device)
        steps(case, fold, model, weights, chosen.device, chosen.paper)
    score(chosen.device)


def processor() -> str:
    """The processor's name and features, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
