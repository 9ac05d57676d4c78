"""What a script reads is an input or a parameter of its rule, so that nothing stays as it was when that changes."""

import ast
import json

import numpy as np
import pytest
from test_formats import N_ROIS, write_plane
from test_workflow_errors import RECORDING
from workflow_project import CHECKOUT, Project, small_config

from odevae.storage.files import sha256_of

SCRIPTS = sorted((CHECKOUT / "workflow/scripts").glob("*.py"))
# On demand and every time, about whatever is on disk; as inputs, those files would be made first.
ABOUT_THE_DISK = {"sync", "verify"}
# Python imports this module at the start of every process, so at that of every job.
RECORDER = """
import atexit, json, os, sys

ROOT, MADE, READ = os.getcwd() + os.sep, set(), set()


def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path, flags = os.path.abspath(arguments[0]), arguments[2]
        if flags & (os.O_WRONLY | os.O_TRUNC | os.O_EXCL):
            MADE.add(path)
        elif path not in MADE:
            READ.add(path)


def write():
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is not None:
        read = sorted(path.removeprefix(ROOT) for path in READ if path.startswith(ROOT))
        content = {"rule": job.rule, "made": [*job.output, *job.log], "input": list(job.input), "read": read}
        with open(f"{ROOT}jobs/{os.getpid()}.json", "w") as file:
            json.dump(content, file)


sys.addaudithook(note)
atexit.register(write)
"""


def config_of_every_rule(fetched, spikes) -> dict:
    config = small_config()
    config["datasets"]["disc"]["decode"] = ["x"]
    config["datasets"]["fetched"] = {
        "fetch": {"url": f"https://data.example/{fetched.name}", "sha256": sha256_of(fetched)}
    }
    config["datasets"]["snail"] = {
        "fetch": [{"url": f"https://data.example/{path.name}", "sha256": sha256_of(path)} for path in spikes],
        "spikes": {"bin_s": 0.5, "window_s": 2, "gap_s": 1},
        "heldout": {"group_by": "session"},
    }
    config["datasets"]["session"] = {"file": "session.npz", "trials": {"table": "trials.csv"}}
    config["datasets"]["plane"] = {
        "file": "suite2p",
        "read": {"format": "suite2p", "rate_hz": 8, "activity": "deconvolved"},
        "trials": {"window_s": 1},
    }
    config["studies"]["small"] |= {"protocols": ["heldout"], "seeds": [1], "published_table": 1}
    config["studies"]["ladder"] = config["studies"]["small"] | {"ladder": True}
    # After the ladder, which has no place for it.
    config["models"]["blocks"] = {"preset": "shooting", "epochs": 1}
    config["studies"]["small"]["more"] = [{"models": ["blocks"], "lambdas_smooth": ["0"]}]
    config["benchmark_models"] = {"pca": {"class": "linear.PCA", "latent_dims": "any"}}
    config["benchmarks"] = {"tiny": {"datasets": {"disc": [2]}, "splits": [0]}}
    return config


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> list[dict]:
    """The rule, the inputs and what was read, of every job of a project in which every rule runs."""
    folder = tmp_path_factory.mktemp("inputs")
    np.savez(folder / "fetched.npz", **RECORDING)
    (folder / "spikes").mkdir()
    spikes = [folder / f"spikes/session{number}.npz" for number in range(3)]
    for path in spikes:
        np.savez(path, spikes=np.column_stack([np.tile([1, 2, 3, 4], 45), np.linspace(0.05, 9.1, 180)]))
    project = Project.create(folder / "project", config_of_every_rule(folder / "fetched.npz", spikes))
    np.savez(project.root / "session.npz", roi=RECORDING["roi"], Time=RECORDING["Time"])
    (project.root / "trials.csv").write_text("start,stop\n0,0.35\n0.4,0.7\n", encoding="utf-8")
    (project.root / "src/sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    (project.root / "jobs").mkdir()
    write_plane(project.root / "suite2p/plane0", np.random.default_rng(0).random((N_ROIS, 200)))
    # Tracking reads all that is on disk, and nothing may rerun for its sake. Without a store it reads nothing.
    (project.root / "mlflow.db").write_text("This is no database.\n", encoding="utf-8")
    project.run(
        "all",
        "results/fetched/recording.npz",
        "results/session/recording.npz",
        "results/plane/recording.npz",
        "results/snail/heldout/split2/neurons/audit.json",
        "results/figures/tiny",
        "results/report/small.html",
        "results/report/ladder.html",
        "results/report/tiny.html",
        "results/figures/small/disc/heldout/quick_dimensions.png",
        "results/disc/heldout/split0/quick/d2_ls5e-4_seed1/figures/manifold_trials.html",
        "results/disc/heldout/split0/quick/d2_ls5e-4_seed1/figures/vector_field.png",
        ODEVAE_DATA_DIR=folder,
    )
    np.savez(project.root / "mine.npz", **RECORDING)
    project.run("--config", "recording=mine.npz", "--cores", "1", "inspect")
    return [json.loads(path.read_text(encoding="utf-8")) for path in (project.root / "jobs").iterdir()]


@pytest.mark.slow
def test_every_file_that_a_script_reads_is_an_input(jobs):
    # `new` prints a table that is its input; tests/test_new_recording.py runs it.
    assert {job["rule"] for job in jobs} == {script.stem for script in SCRIPTS} - ABOUT_THE_DISK - {"new"}
    unknown = set()
    for job in jobs:
        for path in set(job["read"]) - {*job["input"], *job["made"]}:
            in_a_folder = any(path.startswith(f"{name}/") for name in job["input"])
            # A change of code reruns a job by its digest of the code.
            if not path.startswith(".snakemake/") and not path.endswith((".py", ".pyc")) and not in_a_folder:
                unknown.add((job["rule"], path))
    assert unknown == set()


@pytest.mark.slow
def test_a_run_of_shooting_goes_through_every_stage(jobs):
    folder = "results/disc/heldout/split0/blocks/d2_ls0_seed1"
    made = {name for job in jobs for name in job["made"]}
    assert {f"{folder}/{name}.json" for name in ("run", "metrics", "manifold")} <= made


@pytest.mark.slow
def test_the_record_of_what_is_read_is_complete(jobs):
    for rule, name in {
        "tabulate_study": "src/odevae/report/published_tables.csv",
        "evaluate_run": "results/disc/heldout/split0/quick/d2_ls5e-4_seed1/checkpoint.pt",
        "plot_benchmark": "results/tables/tiny.csv",
        "read_recording": "trials.csv",
    }.items():
        assert any(name in job["read"] for job in jobs if job["rule"] == rule), rule


@pytest.mark.slow
def test_spike_lists_that_were_fetched_become_a_fold_of_whole_sessions(jobs):
    """The files lie in a folder below that of ODEVAE_DATA_DIR."""
    (job,) = [job for job in jobs if job["rule"] == "read_recording" and "results/snail/recording.npz" in job["made"]]
    assert job["input"] == [f"data/snail/session{number}.npz" for number in range(3)]
    assert any("results/snail/heldout/split2/neurons/audit.json" in job["made"] for job in jobs)


def uses_of_the_configuration(source: str) -> list[str]:
    """What a script takes from the whole configuration, but for what it hands to functions of tracking."""
    tree = ast.parse(source)
    handed_on = {"main"} | {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("odevae.tracking")
        for name in node.names
    }
    arguments = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in handed_on
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if ast.unparse(node) in ("config", "snakemake.config") and isinstance(node, (ast.Name, ast.Attribute))
        if id(node) not in arguments
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_takes_parameters_and_not_the_configuration(script):
    uses = uses_of_the_configuration(script.read_text(encoding="utf-8"))
    # Colours are checked early, and another one must not make the recording again; sync goes through all studies.
    assert bool(uses) == (script.stem in {"read_recording", "simulate_recording", "sync"}), uses
