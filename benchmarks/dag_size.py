"""How long Snakemake takes to plan a sweep, and how much memory: `python benchmarks/dag_size.py 1000 10000 100000`.

Each number is of jobs: three for each run (train, evaluate, draw) over 10 seeds x 10 latent dimensions of as many
simulated recordings as it takes. Nothing is computed. Processor time is printed beside the time that passed, because
only the former means something on a busy machine.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
RUNS_PER_RECORDING = 100
JOBS_PER_RUN = 3


def config_of(n_recordings: int) -> dict:
    names = [f"r{number}" for number in range(n_recordings)]
    return {
        "datasets": {name: {"simulate": {"kind": "foraging"}} for name in names},
        "studies": {
            "big": {
                "datasets": names,
                "protocols": ["heldout"],
                "models": ["v1"],
                "latent_dims": list(range(1, 11)),
                "lambdas_smooth": ["5e-4"],
                "seeds": list(range(1, 11)),
            }
        },
    }


def plan(n_jobs: int) -> None:
    n_recordings = max(1, round(n_jobs / JOBS_PER_RUN / RUNS_PER_RECORDING))
    with tempfile.TemporaryDirectory() as folder:
        for part in ("Snakefile", "workflow", "src", "envs", "profiles"):
            source = PROJECT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, Path(folder) / part)
        (Path(folder) / "config").mkdir()
        text = yaml.safe_dump(config_of(n_recordings))
        (Path(folder) / "config/config.yaml").write_text(text, encoding="utf-8")
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--quiet=all", "results/tables/big.csv"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        passed = time.monotonic() - started
    if result.returncode:
        sys.exit(result.stderr[-2000:])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    n_runs = n_recordings * RUNS_PER_RECORDING
    print(
        f"{n_runs * JOBS_PER_RUN + 2 * n_recordings + 3:>8} jobs, {n_runs:>6} runs: {usage.ru_utime - before:7.1f} s "
        f"of processor time, {passed:7.1f} s passed, {usage.ru_maxrss / 1e6:5.2f} GB at most so far",
        flush=True,
    )


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        plan(int(argument))
