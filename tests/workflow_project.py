"""A copy of the workflow in a separate folder, with a small configuration; tests run and damage it."""

import copy
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from odevae.report.table_files import read_csv

CHECKOUT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "config", "profiles", "envs", "src")
RUN_TIMEOUT_S = 900
# Columns of a table that differ between two executions of the same run.
OF_THE_EXECUTION = ("mlflow_run_id", "git_commit", "host", "duration_s")

# Two runs under each protocol, with a training of two epochs.
SMALL = {
    "datasets": {
        "disc": {
            "simulate": {"kind": "foraging", "settings": {"n_neurons": 20, "n_frames": 240, "n_trials": 12}},
            "colour_by": ["x"],
        }
    },
    "protocols": {
        "published": {"bins": 12, "duration_s": 2, "drop_first_trials": 0, "landmarks": 12, "holdout": 3},
        "heldout": {"drop_first_trials": 0},
    },
    "models": {"quick": {"preset": "v1", "epochs": 2}},
    "studies": {
        "small": {
            "datasets": ["disc"],
            "protocols": ["published", "heldout"],
            "models": ["quick"],
            "latent_dims": [2],
            "lambdas_smooth": ["5e-4"],
            "seeds": [1, 2],
        }
    },
}


def small_config() -> dict:
    return copy.deepcopy(SMALL)


# Epochs of `longer_config`: enough to be hit on the way.
LONGER = 24


def longer_config() -> dict:
    """Two runs of `LONGER` epochs under the protocol `heldout`."""
    config = small_config()
    config["models"]["quick"]["epochs"] = LONGER
    config["studies"]["small"]["protocols"] = ["heldout"]
    return config


def with_value(config: dict, path: str, value) -> dict:
    """The configuration with one key set, or left out if the value is None."""
    *parents, last = path.split(".")
    place = config
    for name in parents:
        place = place.setdefault(name, {})
    place[last] = value
    if value is None:
        del place[last]
    return config


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a call of Snakemake."""

    code: int
    output: str


class Project:
    """A folder with the whole workflow in it.

    It imports its own copy of the package and not the installed one, so an edit of the copy changes what runs.
    """

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    def create(cls, root: Path, config: dict | None = None) -> "Project":
        """Copy the checkout's workflow into `root`; `config` replaces its configuration."""
        root.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source = CHECKOUT / part
            if source.is_dir():
                # Compiled modules too, which save each project a second; not those that a process is just writing.
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("*.pyc.*", "*.egg-info"))
            else:
                shutil.copy2(source, root / part)
        project = cls(root)
        if config is not None:
            project.write_config(config)
        return project

    @classmethod
    def finished(cls, root: Path, config: dict, *targets: str) -> "Project":
        """A project whose workflow has run completely, or as far as some targets."""
        project = cls.create(root, config)
        project.run(*targets)
        return project

    def copy(self, root: Path) -> "Project":
        """Copy the project to `root`, with its results and modification times."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def write_config(self, config: dict) -> None:
        (self.root / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def append(self, file: str, text: str = "\n# Edited by a test.\n") -> None:
        with (self.root / file).open("a", encoding="utf-8") as stream:
            stream.write(text)

    def snakemake(self, *arguments: str, cores: int = 2, **variables: str | Path) -> Outcome:
        """Run Snakemake with targets and options, and with variables of the environment; output includes errors."""
        process = self.start(*arguments, cores=cores, **variables)
        try:
            output, _ = process.communicate(timeout=RUN_TIMEOUT_S)
        finally:
            kill(process)
        return Outcome(process.returncode, output)

    def run(self, *arguments: str, **settings) -> str:
        """Like `snakemake`, for a call that must succeed; gives its output."""
        outcome = self.snakemake(*arguments, **settings)
        assert outcome.code == 0, outcome.output
        return outcome.output

    def start(self, *arguments: str, cores: int = 2, **variables: str | Path) -> subprocess.Popen:
        """Like `snakemake`, without waiting; the process leads a group that holds its jobs."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "SNAKEMAKE_")) and name != "ODEVAE_DATA_DIR"
        }
        environment |= {"PYTHONPATH": str(self.root / "src")} | {name: str(value) for name, value in variables.items()}
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def planned(self, *targets: str) -> dict[str, int]:
        """Number of jobs of each rule that a call would run, without the target rule `all`."""
        return jobs(self.run("--dry-run", *targets))

    def scores(self) -> list[dict]:
        """Rows of the table of `small_config`, without the columns `OF_THE_EXECUTION`."""
        rows = read_csv(self.root / "results/tables/small.csv")
        return [{name: value for name, value in row.items() if name not in OF_THE_EXECUTION} for row in rows]

    def tracked(self, study: str) -> tuple:
        """MLflow's client of the store, and the study's runs by what they mirror, each of which is there once."""
        from odevae.tracking.mirror import RUN_TAG
        from odevae.tracking.store import open_store

        client = open_store(f"sqlite:///{self.root / 'mlflow.db'}")
        runs = client.search_runs([client.get_experiment_by_name(study).experiment_id])
        by_name = {run.data.tags[RUN_TAG]: run for run in runs}
        assert len(by_name) == len(runs)
        return client, by_name

    def checkpoints(self) -> list[Path]:
        return sorted((self.root / "results").rglob("checkpoint.pt"))


def kill(process: subprocess.Popen) -> None:
    """Kill a started call and all of its jobs at once, as a power cut does."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def jobs(output: str) -> dict[str, int]:
    """Number of jobs of each rule in Snakemake's `Job stats`, without `all` and the total."""
    table = output.partition("Job stats:")[2].partition("\ntotal")[0]
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    counts.pop("all", None)
    return counts
