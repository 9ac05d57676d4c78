"""`make new`: the configuration that is written from a recording, what is refused before anything runs, and a run."""

import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from workflow_project import CHECKOUT, Project, jobs

from odevae.config.schema import check_config
from odevae.data.recording import Recording
from odevae.errors import OdevaeError
from odevae.new_recording.own_config import CONFIG, merged, name_of
from odevae.new_recording.preparation import prepare
from odevae.new_recording.study import choose_study, is_continuous
from odevae.protocols.splits import random_trials

SHIPPED = yaml.safe_load((CHECKOUT / "config/config.yaml").read_text(encoding="utf-8"))
SCHEMA = yaml.safe_load((CHECKOUT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
RATE_HZ, FRAMES = 10.0, 30


def arrays(n_trials=30, n_neurons=12, frames=FRAMES, pause_s=3.0, **covariates) -> dict:
    """A population whose neurons follow the phase of a circle."""
    generator = np.random.default_rng(3)
    trial = np.repeat(np.arange(1, n_trials + 1), frames)
    time = np.arange(len(trial)) / RATE_HZ + pause_s * (trial - 1)
    phase = generator.uniform(0, 2 * np.pi, n_trials)[trial - 1] + time
    preferred = generator.uniform(0, 2 * np.pi, n_neurons)
    activity = np.exp(2 * np.cos(phase[:, None] - preferred)) + 0.2 * generator.random((len(trial), n_neurons))
    speed = np.cos(phase) + 0.1 * generator.random(len(trial))
    return {"roi": activity, "Trial": trial, "Time": time, "speed": speed} | covariates


def recording(**changes) -> Recording:
    found = arrays(**changes)
    names = ("roi", "Trial", "Time")
    covariates = {name: values for name, values in found.items() if name not in names}
    return Recording(*(found[name] for name in names), covariates, source={"name": "mouse7"})


def checked(entry: dict | None = None) -> dict:
    config = merged(SHIPPED, {"datasets": {"mouse7": {"file": "mouse7.npz"} | (entry or {})}})
    return check_config(config, SCHEMA)


def study_of(found: Recording, **entry):
    config = checked(entry)
    return choose_study(found, entry, config["protocols"]["heldout"], config["benchmark_models"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    return tmp_path


def prepared(file="mouse7.npz", **changes):
    np.savez(file, **arrays(**changes))
    return prepare(file, SHIPPED, SCHEMA)


def written() -> dict:
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


def test_the_file_is_valid_and_says_what_is_compared(folder):
    notes = " ".join(prepared().notes)
    own = written()
    config = check_config(merged(SHIPPED, own), SCHEMA)
    assert config["datasets"]["mouse7"]["decode"] == ["speed"]
    benchmark = own["benchmarks"]["mouse7"]
    assert benchmark["datasets"] == {"mouse7": [3, 5, 7]} and benchmark["splits"] == [0, 1, 2]
    assert {"training_mean", "persistence", "pca", benchmark["asked"]} <= set(benchmark["models"])
    assert not [name for name in benchmark["models"] if "position" in name]
    assert "position_mean (Position), position_choice_mean (Position and Choice), position_time (Position)" in notes
    assert benchmark["compare_with"]["new_events"] == "trial_time_mean"
    assert own["studies"]["mouse7_runs"]["latent_dims"] == [7]


def test_a_covariate_brings_its_references_back(folder):
    place = np.tile(np.linspace(0, 1, FRAMES), 30)
    assert "Left out" not in " ".join(prepared(Position=place, Choice=np.repeat(np.arange(30) % 2, FRAMES)).notes)
    benchmark = written()["benchmarks"]["mouse7"]
    assert {"position_mean", "position_choice_mean", "position_time"} <= set(benchmark["models"])
    assert benchmark["compare_with"]["new_events"] == "position_time"
    assert written()["datasets"]["mouse7"]["decode"] == ["Position", "Choice", "speed"]


def test_every_key_is_there_with_a_comment_and_a_valid_example(folder):
    prepared()
    text = CONFIG.read_text(encoding="utf-8")
    lines = text.splitlines()
    keys = set(SCHEMA["$defs"]["dataset"]["properties"]) - {"fetch", "recording", "simulate", "published"}
    for key in keys:
        (number,) = [n for n, line in enumerate(lines) if re.match(rf" +(# )?{key}:", line)]
        assert lines[number - 1].lstrip().startswith("# "), key
    assert max(map(len, lines)) <= 120
    # Each key that is not set, switched on alone: its example is a value that the schema takes.
    unset = [
        n for n, line in enumerate(lines) if re.match(r" +# (\w+): \S", line) and line.split()[1][:-1] in all_keys()
    ]
    assert len(unset) >= 8
    for number in unset:
        changed = [*lines[:number], lines[number].replace("# ", "", 1), *lines[number + 1 :]]
        own = yaml.safe_load("\n".join(changed))
        if "spikes" in own["datasets"]["mouse7"]:
            own["datasets"]["mouse7"].pop("irregular_trials", None)
        check_config(merged(SHIPPED, own), SCHEMA)


def all_keys() -> set[str]:
    dataset = SCHEMA["$defs"]["dataset"]["properties"]
    return {*dataset, *dataset["heldout"]["properties"]}


def test_edits_are_used_and_checked_and_never_overwritten(folder):
    prepared()
    text = CONFIG.read_text(encoding="utf-8").replace("[3, 5, 7]", "[2, 4]")
    CONFIG.write_text(text, encoding="utf-8")
    assert "is used as it is" in prepare("mouse7.npz", SHIPPED, SCHEMA).notes[0]
    assert CONFIG.read_text(encoding="utf-8") == text
    for wrong, sentence in (
        (("[2, 4]", "[20]"), "config: benchmarks: 20 latent dimensions on mouse7"),
        (("decode: [speed]", "decode: [sped]"), "no covariate 'sped'"),
        (("splits:", "splitz:"), "unknown key splitz"),
        (("datasets:\n", "datasets:\n\t"), "is no YAML"),
    ):
        CONFIG.write_text(text.replace(*wrong), encoding="utf-8")
        with pytest.raises(OdevaeError, match=re.escape(sentence)):
            prepare("mouse7.npz", SHIPPED, SCHEMA)


def test_the_configuration_of_another_recording_stays(folder):
    prepared()
    text = CONFIG.read_text(encoding="utf-8")
    with pytest.raises(OdevaeError, match=r"is about mouse7\.npz, not mouse8\.npz; rename it"):
        prepared("mouse8.npz")
    assert CONFIG.read_text(encoding="utf-8") == text


def test_what_a_key_cures_leaves_a_draft_that_the_next_call_completes(folder):
    milliseconds = arrays()["Time"] * 1000
    with pytest.raises(OdevaeError, match=r"set datasets\.mouse7\.time_unit .* is in config/mine\.yaml"):
        prepared(Time=milliseconds)
    draft = CONFIG.read_text(encoding="utf-8")
    assert "benchmarks" not in written() and "    # time_unit: ms\n" in draft
    CONFIG.write_text(draft.replace("# time_unit: ms", "time_unit: ms"), encoding="utf-8")
    prepare("mouse7.npz", SHIPPED, SCHEMA)
    assert written()["datasets"]["mouse7"]["time_unit"] == "ms" and "mouse7" in written()["benchmarks"]


def test_a_draft_asks_for_all_that_a_suite2p_folder_does_not_show(folder):
    plane = folder / "suite2p/plane0"
    plane.mkdir(parents=True)
    traces = np.random.default_rng(0).gamma(4.0, 25.0, (12, 1200)).astype(np.float32)
    np.save(plane / "F.npy", traces)
    np.save(plane / "Fneu.npy", np.zeros_like(traces))
    np.save(plane / "iscell.npy", np.ones((12, 2)))
    with pytest.raises(OdevaeError, match=r"give the frames in a second.*; and where trials begin and end.*mine\.yaml"):
        prepare("suite2p", SHIPPED, SCHEMA)
    starts = np.arange(0, 120, 4.0)
    table = "".join(f"{start},{start + 3}\n" for start in starts)
    (folder / "trials.csv").write_text(f"start,stop\n{table}", encoding="utf-8")
    draft = CONFIG.read_text(encoding="utf-8").replace("cells: iscell}", "cells: iscell, rate_hz: 10}")
    CONFIG.write_text(draft, encoding="utf-8")
    with pytest.raises(OdevaeError, match=r"give where trials begin and end"):
        prepare("suite2p", SHIPPED, SCHEMA)
    draft = draft.replace("# trials: {window_s: 10}", "trials: {table: trials.csv}")
    CONFIG.write_text(draft, encoding="utf-8")
    prepare("suite2p", SHIPPED, SCHEMA)
    (benchmark,) = written()["benchmarks"].values()
    assert "pca" in benchmark["models"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_trials": 4}, "mouse7: 4 trials; a study that holds trials out needs 5 or more"),
        ({"n_neurons": 2}, "mouse7: 2 neurons, too few of them active"),
        ({"frames": 8}, "mouse7: the longest trial for train in split 0 has 8 frames"),
        ({"Trial": np.zeros(5)}, "no side of it counts the same frames"),
    ],
)
def test_what_would_fail_later_is_said_first(folder, changes, sentence):
    with pytest.raises(OdevaeError, match=re.escape(sentence)):
        prepared(**changes)
    assert not CONFIG.exists()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("lost.npz", "lost.npz: there is no such file"),
        ("notes.txt", "notes.txt: no reader for the suffix '.txt'"),
        ("broken.mat", "broken.mat: not a whole MATLAB file"),
        ("", "no recording is given"),
    ],
)
def test_a_file_that_is_none(folder, file, sentence):
    for name in ("notes.txt", "broken.mat"):
        (folder / name).write_text("no recording", encoding="utf-8")
    command = [sys.executable, "-m", "odevae.new_recording", file]
    (folder / "workflow").symlink_to(CHECKOUT / "workflow")
    (folder / "config/config.yaml").symlink_to(CHECKOUT / "config/config.yaml")
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 1 and outcome.stderr.startswith(f"error: {sentence}"), outcome.stderr
    assert outcome.stderr.count("\n") == 1 and not outcome.stdout and not CONFIG.exists()


def test_few_trials_get_larger_parts_and_a_warning():
    study = study_of(recording(n_trials=11))
    parts = random_trials(11, study.heldout["test_fraction"], study.heldout["validation_fraction"], 0, 0)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [6, 2, 3]
    assert any("11 trials: each split tests 3 of them" in note for note in study.notes)
    assert not study_of(recording(n_trials=60)).notes[0].startswith("60 trials")


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 500))
def test_shares_leave_most_trials_for_training(n_trials):
    from odevae.new_recording.study import _heldout_settings

    found, _ = _heldout_settings(recording(n_trials=n_trials, n_neurons=1, frames=2))
    parts = random_trials(n_trials, found["test_fraction"], found["validation_fraction"], 0, 0)
    assert len(parts["train"]) >= n_trials / 2
    assert len(parts["test"]) >= min(5, n_trials // 4) and len(parts["validation"]) >= 1


def test_windows_of_one_session_are_held_out_in_blocks():
    windows = recording(n_trials=40, pause_s=0.0)
    assert is_continuous(windows) and not is_continuous(recording())
    study = study_of(windows)
    assert study.heldout["group_by"] == "block" and len(study.splits) == 3
    assert any("without a pause" in note for note in study.notes)


def test_dimensions_are_fewer_than_the_neurons_that_cosmooth_leaves():
    assert study_of(recording(n_neurons=8)).latent_dims == (3, 5)
    assert study_of(recording(n_neurons=4)).latent_dims == (2,)


def test_a_covariate_that_cannot_be_decoded_is_left_out():
    unknown = np.full(30 * FRAMES, np.nan)
    study = study_of(recording(unknown=unknown, constant=np.ones(30 * FRAMES)))
    assert study.decode == ("speed",)
    with pytest.raises(OdevaeError, match="decode: constant is unknown or has one value only"):
        study_of(recording(constant=np.ones(30 * FRAMES)), decode=["constant"])


def test_names(folder):
    (folder / "suite2p/plane0").mkdir(parents=True)
    for file in ("mouse 7.npz", "7.npz", "e65.mat", "α.npz", "mouse-7_day-2.nwb"):
        (folder / file).touch()
    found = [name_of(file, ["e65"]) for file in ("mouse 7.npz", "7.npz", "e65.mat", "α.npz", "mouse-7_day-2.nwb")]
    assert found == ["mouse_7", "recording_7", "my_e65", "recording", "mouse_7_day_2"]
    assert name_of("suite2p/plane0", []) == name_of(str(folder), [])


@pytest.mark.slow
def test_from_the_file_to_the_page(tmp_path):
    """A file with a space in its path, the configuration edited to a small one, and a second call that does nothing."""
    project = Project.create(tmp_path / "project")
    (project.root / "my data").mkdir()
    np.savez(project.root / "my data/mouse 7.npz", **arrays())
    arguments = ("new", "--config", "new_recording=my data/mouse 7.npz")
    output = project.run("--dry-run", *arguments)
    assert "Left out, with the covariates that they need: position_mean (Position)" in output
    assert jobs(output)["fit_benchmark_model"] == 33
    own = yaml.safe_load((project.root / CONFIG).read_text(encoding="utf-8"))
    models = ["pca", "training_mean", "trial_time_mean", "ar2"]
    own["benchmarks"]["mouse_7"] |= {
        "datasets": {"mouse_7": [3]},
        "splits": [0, 1, 2],
        "models": models,
        "asked": "pca",
        "compare_with": {"reconstruct": "trial_time_mean", "forecast": "ar2"},
    }
    (project.root / CONFIG).write_text(yaml.safe_dump(own), encoding="utf-8")
    output = project.run(*arguments)
    shown = (project.root / "logs/new.log").read_text(encoding="utf-8")
    assert shown in output
    assert "Better than a simple guess? pca is better in reconstruct" in shown
    assert "Behaviour read from its latents is above its null for speed." in shown
    assert "results/report/mouse_7.html" in shown and "make ui" in shown
    page = (project.root / "results/report/mouse_7.html").read_text(encoding="utf-8")
    assert "does pca predict trials that it has not seen" in page.replace("\n", " ")
    assert "--configfile config/mine.yaml results/report/mouse_7.html" in page
    assert jobs(project.run(*arguments)) == {"new": 1}
    assert not project.planned("results/report/mouse_7.html", "--configfile", "config/mine.yaml")
    outcome = project.snakemake("new", "--config", "new_recording=lost.npz")
    assert outcome.code == 1 and "Traceback" not in outcome.output
    assert "config/mine.yaml is there already and is about my data/mouse 7.npz, not lost.npz" in outcome.output
