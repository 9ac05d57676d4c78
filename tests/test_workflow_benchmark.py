"""A tiny benchmark, really run: what is on disk, what MLflow holds of it, and what is noticed when it is changed."""

import pytest
from test_adding_a_model import FIGURES, TABLE, config
from workflow_project import Project, jobs

from odevae.storage.files import read_json
from odevae.tracking.mirror import PARENT_NAME

pytestmark = pytest.mark.slow

FOLDER = "disc/heldout/split0/benchmark_models"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Project:
    return Project.finished(tmp_path_factory.mktemp("benchmark") / "project", config(), TABLE, FIGURES)


@pytest.fixture
def project(whole, tmp_path) -> Project:
    return whole.copy(tmp_path / "project")


def check_store(project: Project) -> None:
    """Each fit once, with its scores, below one parent that holds the table."""
    client, runs = project.tracked("tiny")
    fits = {f"{FOLDER}/pca/d3": 0, f"{FOLDER}/pca/d5": 1, f"{FOLDER}/mean/d0": 0}
    assert runs.keys() == {PARENT_NAME, *fits}
    parent = runs.pop(PARENT_NAME)
    files = {file.path for file in client.list_artifacts(parent.info.run_id, "tables")}
    assert files == {f"tables/tiny.{ending}" for ending in ("csv", "md", "tex")}
    figures = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert figures == {f"figures/{path.name}" for path in (project.root / FIGURES).glob("*.png")} != set()
    for name, number in fits.items():
        cell = "d0" if "mean" in name else "d3-5"
        fit = read_json(project.root / "results" / name.rpartition("/")[0] / f"{cell}.json")["fits"][number]
        run = runs[name]
        assert run.data.params["latent_dim"] == str(fit["latent_dim"])
        assert run.data.metrics["score/reconstruct"] == pytest.approx(fit["scores"]["reconstruct"]["r2_neuron"])
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED" and len(run.data.metrics) <= 40
    experiment = client.get_experiment_by_name("tiny")
    assert {"mlflow.sharedViewState.models", "mlflow.sharedViewState.tasks"} <= experiment.tags.keys()
    assert "2 models on disc: 1 random split" in experiment.tags["mlflow.note.content"]


def test_every_fit_is_in_mlflow_and_a_lost_store_comes_back(project):
    check_store(project)
    (project.root / "mlflow.db").unlink()
    assert "tiny: 3 of 3 fits on disk are in the record" in project.run("sync")
    check_store(project)


def test_a_number_that_follows_from_nothing_is_noticed(project):
    output = project.run("verify")
    assert f"{TABLE}: " in output and "0 problems" in output
    table = project.root / TABLE
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([lines[0], lines[1].replace("0.", "0.9", 1), *lines[2:]]) + "\n", encoding="utf-8")
    outcome = project.snakemake("verify")
    assert outcome.code != 0
    assert f"problem: {TABLE}: line 2 is" in outcome.output
    assert "delete the table and run the workflow again" in outcome.output


def test_another_dimension_is_fitted_next_to_those_on_disk(project):
    """A cell is one model on one split with all of its dimensions; those of other dimensions stay."""
    changed = config()
    changed["benchmarks"]["tiny"]["datasets"]["disc"] = [3]
    project.write_config(changed)
    assert jobs(project.run(TABLE)) == {"fit_benchmark_model": 1, "tabulate_benchmark": 1}
    assert (project.root / "results" / FOLDER / "pca/d3-5.json").exists()
