"""The power fails at a random moment, again and again; what comes out in the end is what would have come out anyway."""

import shutil
import time

import numpy as np
import pytest
from workflow_project import Project, kill, longer_config

from odevae.storage.files import read_json
from odevae.storage.run_folder import MANIFOLD_FILE, RUN_FILE, read_history, read_predictions
from odevae.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow

KILLS = 3


def assert_same(project, other, only_seed: int | None = None) -> None:
    """Scores and files are the same to the bit: of both runs and their means, or of the run with one seed."""
    wanted, found = ([row for row in each.scores() if only_seed in (None, row["seed"])] for each in (other, project))
    assert found == wanted
    folders = [path.parent for path in project.checkpoints()]
    assert len(folders) == (1 if only_seed else 2)
    for folder in folders:
        twin = other.root / folder.relative_to(project.root)
        run, twin_run = read_json(folder / RUN_FILE), read_json(twin / RUN_FILE)
        histories = [[row | {"seconds": 0} for row in read_history(f / "history.csv")] for f in (folder, twin)]
        assert histories[0] == histories[1]
        states, twin_states = load_checkpoint(folder, run), load_checkpoint(twin, twin_run)
        for name in ("best", "last"):
            assert all(bool((states[name][key] == twin_states[name][key]).all()) for key in states[name])
        arrays, twin_arrays = read_predictions(folder, run), read_predictions(twin, twin_run)
        assert all(np.array_equal(arrays[name], twin_arrays[name], equal_nan=True) for name in arrays)


def unlock(project) -> None:
    """What ``snakemake --unlock`` does, without starting it once more for each kill."""
    shutil.rmtree(project.root / ".snakemake/locks", ignore_errors=True)


def progress(project) -> int:
    """Files of results and logs, and epochs: grows with every stage, and all the time while a model trains."""
    files = [path for folder in ("results", "logs") for path in (project.root / folder).rglob("*") if path.is_file()]
    return len(files) + sum(len(read_history(path)) for path in files if path.name == "history.csv")


def test_killed_at_random_and_called_again(undisturbed, tmp_path):
    """The moments are spread over all that a whole call makes, however fast the machine is."""
    project = Project.create(tmp_path / "project", longer_config())
    moments = np.sort(np.random.default_rng(1).integers(1, progress(undisturbed), KILLS))
    reached = []
    for moment in moments:
        unlock(project)
        process = project.start()
        while process.poll() is None and progress(project) < moment:
            time.sleep(0.2)
        if process.poll() is not None:
            break
        kill(process)
        reached.append(progress(project))
    assert project.snakemake("--unlock").code == 0
    project.run()
    print(f"{len(reached)} kills, at {reached} of {progress(undisturbed)} files and epochs")
    assert len(reached) >= KILLS // 2
    assert_same(project, undisturbed)
    assert project.snakemake("verify").code == 0
    assert project.planned() == {}


def begun(project, process, rule: str) -> bool:
    """Wait until a job of the rule has begun its log; False if the call ends without one."""
    while process.poll() is None and not list((project.root / "logs" / rule).rglob("*.log")):
        time.sleep(0.02)
    return process.poll() is None


@pytest.mark.parametrize(
    ("rule", "module", "longest_s"),
    [
        ("train_model", "training/loop", 3),
        ("evaluate_run", "evaluation/run_scores", 2),
        ("tabulate_study", "report/study_table", 1),
    ],
)
def test_killed_in_one_stage(undisturbed, tmp_path, rule, module, longest_s):
    """Snakemake remembers what it has forced for one call only, so an edit makes the stage run again."""
    project = undisturbed.copy(tmp_path / "project")
    # One of the two runs: the test above has both at a time.
    config = longer_config()
    config["studies"]["small"]["seeds"] = [1]
    project.write_config(config)
    shutil.rmtree(project.checkpoints()[1].parent)
    project.append(f"src/odevae/{module}.py")
    shutil.rmtree(project.root / "logs" / rule)
    process = project.start()
    assert begun(project, process, rule), process.stdout.read()
    time.sleep(np.random.default_rng(2).uniform(0, longest_s))
    kill(process)
    unlock(project)
    project.run()
    assert_same(project, undisturbed, only_seed=1)


def test_a_second_call_is_turned_away_and_the_first_goes_on(undisturbed, tmp_path):
    project = undisturbed.copy(tmp_path / "project")
    # The figures of a run and the tables are left to make.
    (project.checkpoints()[0].parent / MANIFOLD_FILE).unlink()
    for folder in (project.root / "results/tables", project.root / "logs"):
        shutil.rmtree(folder)
    first = project.start()
    assert begun(project, first, "plot_run"), first.stdout.read()
    second = project.snakemake()
    assert second.code != 0
    assert "cannot be locked" in second.output
    assert "Traceback" not in second.output
    output, _ = first.communicate(timeout=600)
    assert first.returncode == 0, output
    assert_same(project, undisturbed)
