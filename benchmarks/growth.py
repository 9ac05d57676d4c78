"""How time and memory grow with a recording: `python benchmarks/growth.py 1000 100 100`.

The numbers are neurons, trials and frames of each trial. That size and the ones with ten times the trials, frames or
neurons go through every stage, each stage in a process of its own. The table gives the processor time of a stage
without imports, the largest memory of its process, and how many times the first size they are. With ``--alone`` only
the size itself is run.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

TIMES = 10
NOISE = 0.1  # SD, where a neuron reaches 5
FRAME_RATE_HZ = 10.0
SPEED = 0.5  # rad/s
SEED = 0
LATENT_DIM = 5
SETTINGS = {"drop_first_trials": 0, "test_fraction": 0.1, "validation_fraction": 0.1, "seed": SEED}
MODELS = ("v5", "v6")
FILE, RECORDING = "file.npz", "recording.npz"


def write_file(folder: Path, n_neurons: int, n_trials: int, n_frames: int) -> None:
    """Great circles seen by neurons, as in `odevae.data.simulate.sphere`, written trial by trial."""
    from odevae.data.simulate.sphere import bumps, great_circles, uniform_headings, uniform_on_sphere

    generator = np.random.default_rng(SEED)
    preferred, starts = uniform_on_sphere(generator, n_neurons), uniform_on_sphere(generator, n_trials)
    headings = uniform_headings(generator, starts)
    times = np.arange(n_frames) / FRAME_RATE_HZ

    def activity() -> Iterator[bytes]:
        for start, heading in zip(starts[:, None], headings[:, None], strict=True):
            clean = bumps(great_circles(start, heading, SPEED, times)[0, :, :3], preferred)
            noise = NOISE * generator.standard_normal(clean.shape, dtype=np.float32)
            yield (clean + noise).astype(np.float32).tobytes()

    trial = np.repeat(np.arange(n_trials), n_frames)
    vectors = {"Trial": trial, "Time": np.tile(times, n_trials)}
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        with archive.open("roi.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(trial), n_neurons)}
            np.lib.format.write_array_header_1_0(file, header)
            for content in activity():
                file.write(content)
        for name, values in vectors.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, values)


def read(folder: Path) -> None:
    from odevae.data.readers import read
    from odevae.data.recording import save_recording

    yield
    save_recording(read(folder / FILE, name="growth", units="a.u."), folder / RECORDING)


def fold(folder: Path, model: str) -> None:
    from odevae.data.recording import load_recording
    from odevae.models.presets import PRESETS
    from odevae.protocols.audit import audit
    from odevae.protocols.fold import save_fold
    from odevae.protocols.recipes import make_fold

    yield
    recording = load_recording(folder / RECORDING)
    made = make_fold("heldout", recording, PRESETS[model].observations, 0, SETTINGS)
    audit(made, recording)
    (folder / model).mkdir()
    save_fold(made, folder / model)
    print(f"{model}: {made.preprocessor.n_channels} channels", file=sys.stderr)


def epoch(folder: Path, model: str) -> None:
    import torch

    from odevae.models.presets import PRESETS
    from odevae.protocols.fold import load_fold
    from odevae.storage.run_folder import RunKey
    from odevae.training.recorder import train

    yield
    torch.set_num_threads(1)
    key = RunKey("growth", "heldout", 0, model, LATENT_DIM, "5e-4", SEED)
    loaded = load_fold(folder / model)
    train(loaded, key, replace(PRESETS[model], epochs=1), folder / model, {"fold_sha256": loaded.about["fold_sha256"]})


def evaluate(folder: Path, model: str) -> None:
    import torch

    from odevae.evaluation.run_scores import evaluate
    from odevae.protocols.fold import load_fold
    from odevae.storage.files import write_json
    from odevae.storage.run_folder import METRICS_FILE, write_predictions

    yield
    torch.set_num_threads(1)
    metrics, predictions = evaluate(load_fold(folder / model), folder / model)
    write_predictions(folder / model, metrics, predictions)
    write_json(folder / model / METRICS_FILE, metrics)


def plot(folder: Path, model: str) -> None:
    from odevae.plots import save
    from odevae.protocols.fold import load_fold
    from odevae.report.figure_names import FIGURES
    from odevae.report.latent_field import load_latent_field
    from odevae.report.run_figures import figures_of_run
    from odevae.storage.files import read_json
    from odevae.storage.run_folder import HISTORY_FILE, RUN_FILE, read_history, read_predictions

    yield
    place = folder / model
    loaded, run = load_fold(place), read_json(place / RUN_FILE)
    history = read_history(place / HISTORY_FILE)
    predictions = read_predictions(place, run)
    draw, stress = figures_of_run(loaded, run, history, predictions, [], partial(load_latent_field, loaded, place))
    for name in FIGURES:
        save(draw[name](), place / f"{name}.png")
    stress()


# Each gives control back once after its imports.
STAGES = {
    "read": (read,),
    **{f"{stage.__name__} {model}": (stage, model) for stage in (fold, epoch, evaluate, plot) for model in MODELS},
}


def run_stage(name: str, folder: Path) -> None:
    """Run one stage in this process and print its processor time (s) and the largest memory (MB)."""
    stage, *model = STAGES[name]
    running = stage(folder, *model)
    next(running)
    started = time.process_time()
    next(running, None)
    used = time.process_time() - started
    # In kB, but on macOS in bytes.
    unit = 1e-6 if sys.platform == "darwin" else 1.024e-3
    print(json.dumps([used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit]))


def measured(n_neurons: int, n_trials: int, n_frames: int) -> dict[str, tuple[float, float]]:
    """Processor time (s) and largest memory (MB) of every stage for one size."""
    # A file of as many neurons as frames is refused, because nothing shows which side is which.
    n_neurons += n_neurons == n_trials * n_frames
    found = {}
    with tempfile.TemporaryDirectory(prefix="odevae-growth-") as name:
        write_file(Path(name), n_neurons, n_trials, n_frames)
        for stage in STAGES:
            command = [sys.executable, __file__, "--stage", stage, "--folder", name]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if result.returncode:
                sys.exit(f"{n_neurons} x {n_trials} x {n_frames}: the stage {stage} failed")
            found[stage] = json.loads(result.stdout.splitlines()[-1])
            seconds, megabytes = found[stage]
            size = f"{n_neurons} x {n_trials} x {n_frames}"
            print(f"{size}, {stage}: {seconds:.1f} s, {megabytes:.0f} MB", file=sys.stderr, flush=True)
    return found


def table(of_sizes: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown: a row for each stage, two columns for each size, with how many times the first size."""
    first = next(iter(of_sizes.values()))
    heads = [f"{size}: CPU s | MB" for size in of_sizes]
    lines = [f"| stage | {' | '.join(heads)} |", "|---" * (1 + 2 * len(of_sizes)) + "|"]
    for stage in STAGES:
        cells = []
        for found in of_sizes.values():
            for value, base, digits in zip(found[stage], first[stage], (1, 0), strict=True):
                times = "" if found is first else f" ({value / base:.1f}x)"
                cells.append(f"{value:.{digits}f}{times}")
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", type=int, nargs="*", help="neurons, trials, frames of each trial")
    parser.add_argument("--alone", action="store_true", help="only this size, not its ten times larger ones")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        run_stage(arguments.stage, arguments.folder)
        return
    n_neurons, n_trials, n_frames = arguments.size
    sizes = {f"{n_neurons} x {n_trials} x {n_frames}": (n_neurons, n_trials, n_frames)}
    if not arguments.alone:
        sizes |= {
            f"{TIMES}x trials": (n_neurons, TIMES * n_trials, n_frames),
            f"{TIMES}x frames": (n_neurons, n_trials, TIMES * n_frames),
            f"{TIMES}x neurons": (TIMES * n_neurons, n_trials, n_frames),
        }
    print(table({name: measured(*size) for name, size in sizes.items()}))


if __name__ == "__main__":
    main()
