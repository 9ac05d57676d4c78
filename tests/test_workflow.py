"""The workflow as a whole, run on copies of it: what it makes, what it makes again, and what it survives."""

import csv
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import paper_data_dir
from test_study_table import COLUMNS
from workflow_project import CHECKOUT, Project, jobs, small_config

from odevae.config.recordings import public_recording
from odevae.report.figure_names import BY_COVARIATE, FIGURES, manifold_by
from odevae.report.study_table import MEAN_ROWS
from odevae.report.table_files import read_csv
from odevae.storage.files import read_json
from odevae.storage.run_folder import read_history
from odevae.storage.scores import scores_of, select
from odevae.tracking.mirror import PARENT_NAME

RUN = "results/disc/heldout/split0/quick/d2_ls5e-4_seed1"
RUNS = [
    "disc/published/split1/quick/d2_ls5e-4_seed1",
    "disc/published/split2/quick/d2_ls5e-4_seed2",
    "disc/heldout/split0/quick/d2_ls5e-4_seed1",
    "disc/heldout/split0/quick/d2_ls5e-4_seed2",
]
FOLDS = ["disc/published/split1/pca", "disc/published/split2/pca", "disc/heldout/split0/pca"]

# What runs again after an edit of a file, by how many jobs.
TABLES = {"tabulate_study": 1, "plot_study": 1}
DRAWING = {"plot_run": 4, "sync_study": 1} | TABLES
SCORING = {"evaluate_run": 4} | DRAWING
TRAINING = {"train_model": 4} | SCORING
EDITS = {
    "src/odevae/tracking/mirror.py": {},
    "src/odevae/data/readers/matlab.py": {},
    "src/odevae/report/study_table.py": TABLES,
    "src/odevae/report/published_tables.csv": TABLES,
    "src/odevae/plots/style.py": DRAWING,
    "workflow/scripts/evaluate_run.py": SCORING,
    "src/odevae/models/decoders.py": TRAINING,
    "src/odevae/data/simulate/foraging.py": {"simulate_recording": 1, "prepare_fold": 3} | TRAINING,
}


def add_dataset(config):
    config["datasets"]["other"] = {"simulate": {"kind": "foraging"}}


def add_model(config):
    config["models"]["longer"] = {"preset": "v1", "epochs": 200}


def add_study_of_shared_runs(config):
    config["studies"]["subset"] = config["studies"]["small"] | {"protocols": ["heldout"]}


def change_published_protocol(config):
    config["protocols"]["published"]["holdout"] = 2


def change_seed(config):
    config["studies"]["small"]["seeds"] = [1, 3]


def change_store(config):
    config["tracking"] = {"uri": "sqlite:///other.db"}


# What runs after a change of the configuration, by how many jobs.
CHANGES = {
    add_dataset: {},
    add_model: {},
    add_study_of_shared_runs: {"sync_study": 1} | TABLES,
    change_published_protocol: {"prepare_fold": 2, "train_model": 2, "evaluate_run": 2, "plot_run": 2, "sync_study": 1}
    | TABLES,
    # Under `published` the seed also draws the landmarks.
    change_seed: {"prepare_fold": 1, "train_model": 2, "evaluate_run": 2, "plot_run": 2, "sync_study": 1} | TABLES,
    change_store: {"create_store": 1, "sync_study": 1} | TABLES,
}


@pytest.fixture
def project(finished, tmp_path):
    """A finished project to change."""
    return finished.copy(tmp_path / "project")


def check_run_folder(folder: Path, covariates) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "history.csv",
        "checkpoint.pt",
        "metrics.json",
        "predictions.npz",
        "manifold.json",
        "figures",
    }
    check_figures(folder / "figures", FIGURES, ["png"])
    check_figures(folder / "figures" / BY_COVARIATE, map(manifold_by, covariates), ["png"])


def check_figures(folder: Path, names, kinds=("png", "pdf")) -> None:
    names = list(names)
    # Snakemake leaves a hidden time stamp in a folder that is an output.
    found = {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert found == {f"{name}.{kind}" for name in names for kind in kinds}
    starts = {"png": b"\x89PNG", "pdf": b"%PDF"}
    assert all((folder / file).read_bytes().startswith(starts[file.rpartition(".")[2]]) for file in found)


def check_store(project: Project) -> None:
    """The store holds of the study what is on disk: one parent, and below it each run and preprocessing once."""
    client, by_name = project.tracked("small")
    assert by_name.keys() == {PARENT_NAME, *RUNS, *FOLDS}
    parent = by_name.pop(PARENT_NAME)
    for run in by_name.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"
    for name in RUNS:
        run, folder = by_name[name], project.root / "results" / name
        assert len(run.data.metrics) <= 40 and len(run.info.run_name) <= 24
        assert run.data.metrics["score/best_r2"] == pytest.approx(read_json(folder / "run.json")["best_r2"], rel=1e-12)
        metrics = read_json(folder / "metrics.json")
        (score,) = select(scores_of(metrics), part=metrics["scored_part"], space="raw", checkpoint="best", metric="r")
        assert run.data.metrics["score/r"] == pytest.approx(score.value, rel=1e-12)
        assert run.data.tags["stage"] == "manifold"
        history = client.get_metric_history(run.info.run_id, "validation/loss")
        assert [point.value for point in history] == [row["val_loss"] for row in read_history(folder / "history.csv")]
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert artifacts == {"run.json", "history.csv", "metrics.json", "scores.json", "figures"}
        (model,) = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        assert {metric.key: metric.value for metric in model.metrics}["score/r"] == run.data.metrics["score/r"]
    for name in FOLDS:
        audit = read_json(project.root / "results" / name / "audit.json")
        assert by_name[name].data.metrics["audit/shared_trials"] == audit["shared_trials"]
    experiment = client.get_experiment_by_name("small")
    assert {"mlflow.sharedViewState.scores", "mlflow.sharedViewState.sweep"} <= experiment.tags.keys()
    assert "On held-out trials, given the first frame, " in experiment.tags["mlflow.note.content"]
    assert parent.data.tags["mlflow.note.content"] == experiment.tags["mlflow.note.content"]


def without_run_ids(text: str) -> list[list[str]]:
    rows = list(csv.reader(text.splitlines()))
    column = rows[0].index("mlflow_run_id")
    return [row[:column] + row[column + 1 :] for row in rows]


@pytest.mark.slow
def test_runs_from_nothing(finished):
    rows = read_csv(finished.root / "results/tables/small.csv")
    assert list(rows[0]) == COLUMNS
    assert [(row["protocol"], row["split"], row["seed"]) for row in rows] == [
        *(("published", 1, 1), ("published", 2, 2)),
        *(("published", "several", seed) for seed in MEAN_ROWS),
        *(("heldout", 0, seed) for seed in (1, 2, *MEAN_ROWS)),
    ]
    singles = [row for row in rows if row["seed"] not in MEAN_ROWS]
    for row, name in zip(singles, RUNS, strict=True):
        folder = finished.root / "results" / name
        check_run_folder(folder, ["x"])
        run, metrics = read_json(folder / "run.json"), read_json(folder / "metrics.json")
        part, task = metrics["scored_part"], metrics["task"]
        assert part == ("test" if row["protocol"] == "heldout" else "validation")
        assert row["status"] == "ok" and row["epochs"] == 2
        assert row["best_r2"] == pytest.approx(run["best_r2"], rel=1e-5)
        (score,) = select(
            scores_of(metrics), part=part, space="raw", checkpoint="best", estimate="mean", metric="r2_neuron"
        )
        assert score.task == task and row["r2_neuron"] == pytest.approx(score.value, rel=1e-5)
        assert len(read_history(folder / "history.csv")) == 2
    heldout = [row["r2_neuron"] for row in singles if row["protocol"] == "heldout"]
    assert rows[6]["r2_neuron"] == pytest.approx(sum(heldout) / 2, rel=1e-5)
    assert rows[6]["n_runs"] == 2
    check_figures(finished.root / "results/figures", ["small"])
    for kind in ("md", "tex"):
        assert "published" in (finished.root / f"results/tables/small.{kind}").read_text(encoding="utf-8")


@pytest.mark.slow
def test_store_repeats_the_disk(finished):
    check_store(finished)
    client, by_name = finished.tracked("small")
    parent = by_name[PARENT_NAME]
    rows = read_csv(finished.root / "results/tables/small.csv")
    ids = [row["mlflow_run_id"] for row in rows if row["seed"] not in MEAN_ROWS]
    assert ids == [by_name[name].info.run_id for name in RUNS]
    assert len([found for found in client.search_experiments() if found.name == "small"]) == 1
    assert parent.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "tables")} == {
        f"tables/small.{kind}" for kind in ("csv", "md", "tex")
    }
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "figures")} == {"figures/small.png"}
    (mean,) = [row["r2_neuron"] for row in rows if (row["seed"], row["protocol"]) == ("mean_all", "heldout")]
    assert f"r2_neuron {mean:.3f}" in parent.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_second_call_does_nothing(finished):
    assert "Nothing to be done" in finished.run()


@pytest.mark.slow
def test_figures_on_demand(project):
    sweep, page = "results/figures/small/disc/heldout/quick_dimensions", f"{RUN}/figures/manifold_trials.html"
    of_run = ["vector_field.png", "learning_curves.pdf", "manifold_trials_x.pdf"]
    planned = jobs(project.run(f"{sweep}.png", page, *(f"{RUN}/figures/{name}" for name in of_run)))
    assert planned == {"plot_dimensions": 1, "draw_interactive_manifold": 1, "draw_run_figure": 3}
    assert (project.root / RUN / "figures/vector_field.png").read_bytes().startswith(b"\x89PNG")
    assert (project.root / RUN / "figures/manifold_trials_x.pdf").read_bytes().startswith(b"%PDF")
    client, by_name = project.tracked("small")
    mirrored = client.list_artifacts(by_name[RUN.removeprefix("results/")].info.run_id, "figures")
    assert {f"figures/{name}" for name in of_run} <= {file.path for file in mirrored}
    assert project.planned() == {}
    check_figures((project.root / sweep).parent, [Path(sweep).name])
    text = (project.root / page).read_text(encoding="utf-8")
    assert "<html" in text[:100].lower() and "Plotly.newPlot" in text
    # It opens without a network.
    assert 'src="http' not in text


@pytest.mark.slow
@pytest.mark.parametrize("file", EDITS)
def test_edit_reruns_what_depends_on_it(project, file):
    project.append(file)
    assert project.planned() == EDITS[file]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_config_change_reruns_what_it_concerns(project, change):
    config = small_config()
    change(config)
    project.write_config(config)
    assert project.planned() == CHANGES[change]


@pytest.mark.slow
def test_tables_come_back_from_the_disk(project):
    tables = project.root / "results/tables"
    before = {path.name: path.read_text(encoding="utf-8") for path in tables.iterdir()}
    shutil.rmtree(tables)
    assert project.planned() == TABLES
    project.run()
    assert {path.name: path.read_text(encoding="utf-8") for path in tables.iterdir()} == before
    check_store(project)
    assert project.planned() == {}


@pytest.mark.slow
def test_sync_brings_a_lost_store_back(project):
    (project.root / "mlflow.db").unlink()
    assert project.planned("sync") == {"create_store": 1, "sync": 1}
    assert "small: 7 of 7 folds and runs on disk are in the record" in project.run("sync")
    check_store(project)
    assert project.planned("sync") == {"sync": 1}


@pytest.mark.slow
def test_a_lost_store_comes_back_with_the_same_target(project):
    """The table is there, but the store is not: it is made again, once, and the ids in the table with it."""
    target = "results/tables/small.csv"
    table = project.root / target
    before = table.read_text(encoding="utf-8")
    (project.root / "mlflow.db").unlink()
    (project.root / "mlflow.db.lock").unlink()
    assert set(jobs(project.run(target))) == {"create_store", "sync_study", "tabulate_study"}
    check_store(project)
    after = table.read_text(encoding="utf-8")
    assert after != before and without_run_ids(after) == without_run_ids(before)
    assert project.planned(target) == {}


@pytest.mark.slow
def test_deleting_all_output_leaves_the_store(project):
    database = project.root / "mlflow.db"
    before = database.read_bytes()
    project.run("--delete-all-output", "results/tables/small.csv")
    assert not (project.root / "results/tables/small.csv").exists() and not (project.root / RUN / "run.json").exists()
    assert database.read_bytes() == before


@pytest.mark.slow
def test_a_removed_seed_leaves_the_experiment(project):
    config = small_config()
    config["studies"]["small"]["seeds"] = [2]
    project.write_config(config)
    project.run("results/tables/small.csv")
    assert project.tracked("small")[1].keys() == {PARENT_NAME, RUNS[1], RUNS[3], FOLDS[1], FOLDS[2]}
    assert all((project.root / "results" / run / "run.json").exists() for run in RUNS)


@pytest.mark.slow
def test_the_workflow_is_a_module_of_another(tmp_path):
    """Its own schema and code are found, not those of the Snakefile that imports it, and a rule really runs."""
    library = Project.create(tmp_path / "library")
    importer = tmp_path / "importer"
    importer.mkdir()
    (importer / "small.yaml").write_text(yaml.safe_dump(small_config()), encoding="utf-8")
    (importer / "Snakefile").write_text(
        f"""configfile: "small.yaml"

module odevae:
    snakefile: {str(library.root / "Snakefile")!r}
    config: config

use rule * from odevae as odevae_*
""",
        encoding="utf-8",
    )
    for arguments in (["results/disc/recording.npz"], ["--dry-run", "results/tables/small.csv"]):
        library.run("--snakefile", "../importer/Snakefile", "--directory", "../importer", *arguments)
    assert (importer / "results/disc/recording.npz").exists()
    assert not (library.root / "results").exists()


@pytest.mark.slow
def test_sweep_goes_on_next_to_a_diverging_model(project):
    config = small_config()
    config["models"]["absurd"] = {"preset": "v1", "epochs": 2, "learning_rate": 1e9}
    config["studies"]["mixed"] = config["studies"]["small"] | {
        "protocols": ["heldout"],
        "models": ["absurd", "quick"],
        "seeds": [1],
    }
    project.write_config(config)
    project.run()
    rows = {
        (row["model"], row["seed"]): row
        for row in read_csv(project.root / "results/tables/mixed.csv")
        if row["seed"] not in MEAN_ROWS
    }
    diverged, fine = rows["absurd", 1], rows["quick", 1]
    assert diverged["status"] == "diverged"
    assert (diverged["best_r2"], diverged["final_r2"], diverged["best_val_loss"]) == (0, 0, math.inf)
    assert fine["status"] == "ok" and math.isfinite(fine["best_val_loss"])
    check_run_folder(project.root / RUN.replace("quick", "absurd"), ["x"])
    check_figures(project.root / "results/figures", ["small", "mixed"])
    client, _ = project.tracked("mixed")
    assert client.get_run(diverged["mlflow_run_id"]).info.status == "FAILED"
    assert project.planned() == {}


@pytest.mark.slow
def test_broken_store_stops_nothing(project):
    """The store is a text file: one run is trained again and the table is made, without run ids."""
    config = small_config()
    config["studies"]["small"] |= {"protocols": ["heldout"], "seeds": [1]}
    project.write_config(config)
    shutil.rmtree(project.root / RUN)
    shutil.rmtree(project.root / "results/mlflow")
    text = "This is no database.\n"
    (project.root / "mlflow.db").write_text(text, encoding="utf-8")
    output = project.run()
    assert "warning: tracking is off for the rest of this job: " in output
    assert "Traceback" not in output
    check_run_folder(project.root / RUN, ["x"])
    row = read_csv(project.root / "results/tables/small.csv")[0]
    assert (row["seed"], row["status"], row["mlflow_run_id"]) == (1, "ok", None)
    assert (project.root / "mlflow.db").read_text(encoding="utf-8") == text


def small_e65_config() -> dict:
    """The shipped studies of E65, with one epoch, one seed and one split."""
    shipped = yaml.safe_load((CHECKOUT / "config/config.yaml").read_text(encoding="utf-8"))
    runs, ladder = shipped["studies"]["e65_runs"], shipped["studies"]["audit_ladder"]
    early = shipped["models"]["v5_early"]
    return {
        "datasets": {"e65": shipped["datasets"]["e65"]},
        "models": {
            "v5q": {"preset": "v5", "epochs": 1},
            "v6q": {"preset": "v6", "epochs": 1},
            "v5_earlyq": early | {"epochs": 2, "patience": 1},
            # Its paths last 12 units of time, so that a batch takes many steps.
            "v2q": {"preset": "v2", "epochs": 1, "batch_size": 64},
        },
        "studies": {
            "e65_runs": runs
            | {"models": ["v5q"], "seeds": [1]}
            | {
                "more": [
                    {"models": ["v5_earlyq"], "latent_dims": [8], "published_row": 4},
                    {"models": ["v5q"], "protocols": ["heldout"], "splits": [0]},
                    {"models": ["v2q"], "protocols": ["published_v2"]},
                ]
            },
            "audit_ladder": ladder
            | {"models": ["v5q"], "seeds": [1]}
            | {"more": [{"protocols": ["heldout"], "splits": [0]}, {"models": ["v6q"], "protocols": ["published"]}]},
        },
    }


@pytest.mark.slow
def test_table_2_and_the_ladder_on_e65(tmp_path):
    config = small_e65_config()
    project = Project.create(tmp_path / "project", config)
    project.run(ODEVAE_DATA_DIR=paper_data_dir())
    preprocessing = read_json(project.root / "results/e65/published/split1/pca-baseline/preprocessing.json")
    assert (preprocessing["n_trials"], preprocessing["n_channels"]) == (180, 129)

    rows = [row for row in read_csv(project.root / "results/tables/e65_runs.csv") if row["seed"] not in MEAN_ROWS]
    assert [(row["protocol"], row["model"], row["latent_dim"], row["split"], row["status"]) for row in rows] == [
        ("published", "v5q", 5, 1, "ok"),
        ("published", "v5_earlyq", 8, 1, "ok"),
        ("heldout", "v5q", 5, 0, "ok"),
        ("published_v2", "v2q", 5, 0, "ok"),
    ]
    assert [row["published_final_r2"] for row in rows] == [0.4368, -0.2, None, None]
    assert [row["published_best_r2"] for row in rows] == [None, 0.0569, None, None]
    assert rows[0]["hold_last_r2"] == pytest.approx(0.839, abs=0.001)
    assert {row["data_sha256"] for row in rows} == {public_recording("e65")["fetch"]["sha256"]}

    ladder = [row for row in read_csv(project.root / "results/tables/audit_ladder.csv") if row["seed"] != "mean"]
    assert [(row["rung"], row["model"]) for row in ladder] == [
        *[(rung, model) for rung in "a" for model in ("v5q", "v6q")],
        ("b", "v5q"),
        *[(rung, model) for rung in "c" for model in ("v5q", "v6q")],
        ("d", "v5q"),
        *[(rung, model) for rung in "e" for model in ("v5q", "v6q")],
        ("f", "v5q"),
        ("g", "v5q"),
    ]
    by_rung = {row["rung"]: row for row in ladder if row["model"] == "v5q"}
    for column, without in (("shared_trials", "bg"), ("padded_fraction", "cg")):
        assert {rung: row[column] > 0 for rung, row in by_rung.items()} == {r: r not in without for r in "abcdefg"}
    for fold, model in (("published/split1", "v5q"), ("heldout/split0", "v5q")):
        check_run_folder(
            project.root / f"results/e65/{fold}/{model}/d5_ls5e-4_seed1", ["Position", "Evidence", "Choice"]
        )
    check_figures(project.root / "results/figures", ["e65_runs", "audit_ladder"])


@pytest.mark.parametrize(
    "module", ["ruff check --no-cache .", "ruff format --no-cache --check .", "snakefmt --check Snakefile workflow"]
)
def test_code_is_in_the_project_s_form(module):
    command = [sys.executable, "-m", *module.split()]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_lint_finds_nothing(tmp_path):
    output = Project.create(tmp_path / "project").run("--lint")
    assert "Congratulations, your workflow is in a good condition!" in output
