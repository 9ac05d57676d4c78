"""The workflow on a real SLURM of one node: through profiles/slurm, with jobs that the cluster takes the node from."""

import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest
from services import require
from workflow_project import CHECKOUT, LONGER, Outcome, Project, longer_config

from odevae.storage.files import read_json
from odevae.storage.run_folder import read_history

pytestmark = pytest.mark.slow

CLUSTER = CHECKOUT / "tests/slurm/cluster.sh"
PARTITION = "batch"
RUNS = {seed: f"results/disc/heldout/split0/quick/d2_ls5e-4_seed{seed}" for seed in (1, 2)}
WAIT_S = 600


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A SLURM whose commands come first in PATH."""
    require("munged", "slurmctld", "slurmd", "sinfo")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        started = subprocess.run(
            [CLUSTER, "start", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert started.returncode == 0, started.stdout
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", str(folder / "bin"), prepend=":")
            yield folder
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True)


def edit_profile(project: Project) -> None:
    """What docs/cluster.md asks of a user whose cluster has no accounting."""
    file = project.root / "profiles/slurm/config.yaml"
    text = file.read_text(encoding="utf-8")
    for line, edited in (
        ('slurm_partition: ""', f"slurm_partition: {PARTITION}"),
        ("# slurm-status-command: squeue", "slurm-status-command: squeue"),
    ):
        assert text.count(line) == 1
        text = text.replace(line, edited)
    file.write_text(text, encoding="utf-8")


def submit(project: Project, *targets: str) -> Outcome:
    # Asks for the state of jobs sooner than is polite on a cluster with other users.
    eager = ("--slurm-init-seconds-before-status-checks", "3")
    return project.snakemake("--workflow-profile", "profiles/slurm", *eager, *targets)


class Job(NamedTuple):
    """A job as squeue knows it; the comment names rule and wildcards."""

    number: int
    state: str
    partition: str
    comment: str


def slurm_jobs() -> list[Job]:
    """All jobs that SLURM knows of, the oldest first; finished ones too."""
    command = ["squeue", "--noheader", "--states=all", "--sort=i", "--format=%i|%T|%P|%k"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [Job(int(number), *rest) for number, *rest in (line.split("|") for line in listed.splitlines())]


def comment_of(seed: int) -> str:
    return f"rule_train_model_wildcards_disc_heldout_0_quick_2_5e-4_{seed}"


def trainings(seed: int) -> list[Job]:
    return [job for job in slurm_jobs() if job.comment == comment_of(seed)]


def interrupt(project: Project, seed: int, command: list[str], snakemake: Future) -> int:
    """Give a command of SLURM the job that trains a seed, once it has trained some epochs; returns the job's number."""
    folder = project.root / RUNS[seed]
    deadline = time.monotonic() + WAIT_S
    while len(read_history(folder / "history.csv")) < 3:
        assert not snakemake.done(), snakemake.result().output
        assert time.monotonic() < deadline, f"no third epoch of seed {seed} in {WAIT_S} s"
        time.sleep(0.2)
    number = trainings(seed)[-1].number
    subprocess.run([*command, str(number)], check=True)
    return number


def test_sweep_gives_the_table_of_a_local_run(cluster, undisturbed, tmp_path):
    earlier = slurm_jobs()
    config = longer_config()
    # The test below has two runs at a time.
    config["studies"]["small"]["seeds"] = [1]
    project = Project.create(tmp_path / "project", config)
    edit_profile(project)
    outcome = submit(project, "results/tables/small.csv")
    assert outcome.code == 0, outcome.output

    here, at_home = ([row for row in each.scores() if row["seed"] == 1] for each in (project, undisturbed))
    assert len(here) == 1 and here == at_home

    jobs = slurm_jobs()[len(earlier) :]
    assert {(job.state, job.partition) for job in jobs} == {("COMPLETED", PARTITION)}
    assert sorted(job.comment for job in jobs) == sorted(
        [
            "rule_prepare_fold_wildcards_disc_heldout_0_pca",
            comment_of(1),
            "rule_score_evaluate_run_plot_run",
        ]
    )


def test_training_survives_losing_its_node(cluster, undisturbed, tmp_path):
    """Seed 1 is ended by SIGTERM and submitted again by Snakemake; SLURM takes the node from seed 2 and gives it back.

    Both end with the bits of a training that nothing disturbed.
    """
    project = undisturbed.copy(tmp_path / "project")
    edit_profile(project)
    for run in RUNS.values():
        for file in ("run.json", "history.csv", "checkpoint.pt"):
            (project.root / run / file).unlink()
    with ThreadPoolExecutor() as executor:
        snakemake = executor.submit(submit, project, *(f"{run}/run.json" for run in RUNS.values()))
        ended = executor.submit(interrupt, project, 1, ["scancel", "--signal=TERM"], snakemake)
        requeued = executor.submit(interrupt, project, 2, ["scontrol", "requeue"], snakemake)
        outcome, ended, requeued = snakemake.result(), ended.result(), requeued.result()
    assert outcome.code == 0, outcome.output
    assert trainings(1)[-1].number > ended
    assert (trainings(2)[-1].number, trainings(2)[-1].state) == (requeued, "COMPLETED")
    for run in RUNS.values():
        here, at_home = (read_json(each.root / run / "run.json") for each in (project, undisturbed))
        (epoch,) = here["resumed_after"]
        assert 3 <= epoch < LONGER and at_home["resumed_after"] == []
        for name in ("status", "epochs", "best_epoch", "best_r2", "final_r2", "best_val_loss"):
            assert here[name] == at_home[name]
        assert not (project.root / run / "resume.pt").exists()
