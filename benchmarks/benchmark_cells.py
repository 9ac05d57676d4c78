"""Where the processor time of a benchmark goes: `python benchmarks/benchmark_cells.py FOLD LATENT_DIM [MODEL ...]`.

`FOLD` is a folder of the workflow with a fold of a recording, such as results/e65/heldout/split0/neurons; `MODEL` is a
name under ``benchmark_models`` of config/config.yaml, all of them if left out. It prints a Markdown table of processor
seconds, one row a model, and after each model its headline scores as a line of JSON to standard error. Each model has a
process of its own, as in the workflow, so that its imports count. One thread.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PARTS = (
    "start",
    "fit",
    "reconstruct",
    "onset",
    "forecast",
    "cosmooth: fit",
    "cosmooth: readout",
    "infer",
    "decode",
    "dimension",
)
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class Stopwatch:
    """Processor time by part; what an inner part takes does not count for the outer one."""

    def __init__(self):
        # The time of the process so far is that of Python's start and of the imports.
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.running, self.since = ["start"], 0.0

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self.running[-1]] += now - self.since
        self.since = now

    @contextmanager
    def part(self, name: str):
        self._charge()
        self.running.append(name)
        try:
            yield
        finally:
            self._charge()
            self.running.pop()


def measure(fold_folder: str, latent_dim: int, place: str, covariates: list[str]) -> dict:
    """Processor seconds by part, and the scores, of one model."""
    watch = Stopwatch()
    from odevae.benchmark import scoring
    from odevae.benchmark.grid import model_class
    from odevae.protocols.fold import load_fold

    model = model_class(place)
    fold = load_fold(fold_folder)
    parts = [fold.raw.take(fold.parts[name]) for name in ("train", "validation", "test")]

    def timed(function, name):
        def call(*args, **kwargs):
            with watch.part(name):
                return function(*args, **kwargs)

        return call

    def make(latent_dim: int):
        made = model(latent_dim=max(latent_dim, 1), seed=0)
        # Outside a task that fits again, a fit is that on all neurons.
        task = watch.running[-1]
        made.fit = timed(made.fit, {"cosmooth: readout": "cosmooth: fit", "dimension": "dimension"}.get(task, "fit"))
        if task == "start":
            made.infer = timed(made.infer, "infer")
            for name in ("reconstruct", "forecast"):
                setattr(made, name, timed(getattr(made, name), name))
        return made

    for name, part in {"cosmooth": "cosmooth: readout", "intrinsic_dimension": "dimension"}.items():
        setattr(scoring, name, timed(getattr(scoring, name), part))
    for name in ("reconstruct", "onset", "forecast", "decode"):
        setattr(scoring, name, timed(getattr(scoring, name), name))
    scores, _ = scoring.all_scores(make, [latent_dim], *parts, tuple(covariates), draw=fold.about["split"])[0]
    with watch.part("start"):
        pass
    return {"seconds": watch.seconds, "scores": scores}


def main(fold_folder: str, latent_dim: str, *chosen: str) -> None:
    import yaml

    config = yaml.safe_load((PROJECT / "config/config.yaml").read_text(encoding="utf-8"))
    dataset = Path(fold_folder).parts[-4]
    covariates = config["datasets"][dataset].get("decode", [])
    print("| model | " + " | ".join(PARTS) + " | all |")
    print("|---|" + "---:|" * (len(PARTS) + 1), flush=True)
    total = dict.fromkeys(PARTS, 0.0)
    for name in chosen or config["benchmark_models"]:
        place = config["benchmark_models"][name]["class"]
        result = subprocess.run(
            [sys.executable, __file__, "--measure", fold_folder, latent_dim, place, *covariates],
            env=os.environ | ONE_THREAD,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found = json.loads(result.stdout)
        print_row(name, found["seconds"])
        print(json.dumps({"model": name, **found}), file=sys.stderr, flush=True)
        total = {part: total[part] + found["seconds"][part] for part in PARTS}
    print_row("all", total)


def print_row(name: str, seconds: dict[str, float]) -> None:
    numbers = [*(seconds[part] for part in PARTS), sum(seconds.values())]
    print(
        f"| {name} | " + " | ".join(f"{number:.2f}" if number >= 0.005 else "" for number in numbers) + " |", flush=True
    )


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        _, _, fold_folder, latent_dim, place, *covariates = sys.argv
        print(json.dumps(measure(fold_folder, int(latent_dim), place, covariates)))
    else:
        main(*sys.argv[1:])
