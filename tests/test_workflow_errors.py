"""A mistake in the configuration or in a file ends in one sentence that names it, before any training."""

import hashlib

import numpy as np
import pytest
from conftest import paper_data_dir
from workflow_project import Project, small_config, with_value

from odevae.data.frames import NO_TRIAL_SENTENCE

RECORDING = {
    "roi": np.arange(24.0).reshape(8, 3),
    "Trial": np.repeat([1, 2], 4),
    "Time": np.arange(8.0) / 10,
}
WRONG_FILE, WRONG_SHA256 = b"Not what was promised.", "0" * 64

# A change of one value of the small configuration, and the sentence that follows; test_studies.py has many more.
CONFIG_MISTAKES = {
    "datasets.disc.color_by": (
        "x",
        "config: unknown key color_by at datasets.disc; known keys there: file, fetch, simulate, read, units, "
        "time_unit, no_trial, renumber_trials, irregular_trials, bridge_frames, missing, trials, spikes, "
        "colour_by, decode, events, published, heldout.",
    ),
    "datasets.lost": (
        {"file": "lost.npz"},
        "config: datasets.lost.file: there is no file lost.npz; correct the path.",
    ),
    "datasets.session": (
        {"file": "Snakefile", "trials": {"table": "lost.csv"}},
        "config: datasets.session.trials.table: there is no file lost.csv; correct the path.",
    ),
    "datasets.disc.time_unit": (
        "ms",
        "config: datasets.disc.time_unit is for files; a simulation needs none, remove it.",
    ),
}


def with_nan() -> np.ndarray:
    activity = RECORDING["roi"].copy()
    activity[3, 1] = np.nan
    return activity


# Changes of the arrays of a good recording (None leaves one out), and the sentence that follows.
FILE_MISTAKES = {
    "no_trial": (
        {"Trial": None},
        f"no_trial: {NO_TRIAL_SENTENCE.format(where='no_trial')}",
    ),
    "with_nan": (
        {"roi": with_nan()},
        "with_nan: the activity is NaN in 1 of the 24 values of its trials, in 1 of 2 trials (trial 1) and 1 of 3 "
        "neurons, first at frame 3, neuron 1; set datasets.with_nan.missing: drop to leave those trials out, or "
        "datasets.with_nan.missing: interpolate to fill the values on a line in time.",
    ),
    "wrong_length": (
        {"Trial": np.repeat([1, 2], 3)},
        "wrong_length.npz: Trial has shape (6,) but the activity has shape (8, 3), and no side of it counts the same "
        "frames; give one trial id for each frame of a frames x neurons array.",
    ),
    "one_frame": (
        {"Trial": np.array([1, 1, 1, 1, 2, 2, 2, 3])},
        "one_frame: trial 3 has one frame only; a trajectory needs two or more, so remove that frame, correct the "
        "trial ids, or set datasets.one_frame.irregular_trials: drop.",
    ),
}


@pytest.mark.parametrize("path", CONFIG_MISTAKES)
def test_mistake_in_the_configuration(tmp_path, path):
    value, sentence = CONFIG_MISTAKES[path]
    project = Project.create(tmp_path / "project", with_value(small_config(), path, value))
    outcome = project.snakemake("--dry-run")
    assert outcome.code == 1, outcome.output
    (line,) = [line for line in outcome.output.splitlines() if sentence in line]
    assert line.endswith(".")
    # Snakemake adds where in the rules the configuration is checked, but nothing is planned.
    assert "Traceback" not in outcome.output
    assert "Job stats" not in outcome.output


def test_a_key_that_is_given_twice(tmp_path):
    project = Project.create(tmp_path / "project", small_config())
    project.append("config/config.yaml", "models:\n  quick: {preset: v1, epochs: 3}\n")
    lines = (project.root / "config/config.yaml").read_text(encoding="utf-8").splitlines()
    first, second = (number for number, line in enumerate(lines, start=1) if line == "models:")
    outcome = project.snakemake("--dry-run")
    assert outcome.code == 1 and "Traceback" not in outcome.output
    assert f"config.yaml: models is given twice, in lines {first} and {second}; join the two" in outcome.output


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A study on damaged files only, run to its table with everything that can run; and how that ended."""
    project = Project.create(tmp_path_factory.mktemp("refused") / "project")
    config = small_config()
    datasets = {}
    for name, (changes, _) in FILE_MISTAKES.items():
        arrays = {key: array for key, array in (RECORDING | changes).items() if array is not None}
        np.savez(project.root / f"{name}.npz", **arrays)
        datasets[name] = {"file": f"{name}.npz"}
    (project.root / "files").mkdir()
    (project.root / "files/other.npz").write_bytes(WRONG_FILE)
    datasets["fetched"] = {"fetch": {"url": "https://data.example/other.npz", "sha256": WRONG_SHA256}}
    config["datasets"] = datasets
    config["studies"]["small"] |= {"datasets": list(datasets), "protocols": ["heldout"], "seeds": [1]}
    project.write_config(config)
    return project, project.snakemake("--keep-going", "results/tables/small.csv", ODEVAE_DATA_DIR="files")


def check_refusal(project: Project, outcome, log: str, sentence: str) -> None:
    """The sentence is all that the log holds, it is once on the console, and nothing was trained."""
    assert outcome.code == 1, outcome.output
    assert (project.root / "logs" / log).read_text(encoding="utf-8") == f"error: {sentence}\n"
    assert outcome.output.splitlines().count(f"error: {sentence}") == 1
    assert "Traceback" not in outcome.output
    assert "Rule: train_model" not in outcome.output
    assert project.checkpoints() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILE_MISTAKES)
def test_mistake_in_a_file(refused, name):
    project, outcome = refused
    check_refusal(project, outcome, f"read_recording/{name}.log", FILE_MISTAKES[name][1])
    assert not (project.root / f"results/{name}/recording.npz").exists()


@pytest.mark.slow
def test_wrong_checksum(refused):
    project, outcome = refused
    sentence = (
        f"data/fetched/other.npz: the file from files has the SHA-256 {hashlib.sha256(WRONG_FILE).hexdigest()} but "
        f"{WRONG_SHA256} is expected; check the address and the checksum in the configuration, or get the file again."
    )
    check_refusal(project, outcome, "fetch_data/fetched/other.npz.log", sentence)
    assert not (project.root / "data/fetched/other.npz").exists()


@pytest.mark.slow
def test_truncated_matlab_file(tmp_path):
    whole = (paper_data_dir() / "E65_v73.mat").read_bytes()
    project = Project.create(tmp_path / "project")
    (project.root / "cut.mat").write_bytes(whole[: len(whole) // 2])
    config = small_config()
    config["datasets"]["cut"] = {"file": "cut.mat"}
    config["studies"]["small"]["datasets"] = ["cut"]
    project.write_config(config)
    sentence = (
        "cut.mat: not a whole MATLAB file of version 5 or 7.3 (OSError while reading); copy it again or save it again "
        "in MATLAB."
    )
    check_refusal(project, project.snakemake("results/cut/recording.npz"), "read_recording/cut.log", sentence)
