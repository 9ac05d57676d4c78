"""The document for somebody who brings a model, followed to the letter."""

import re
from pathlib import Path

import pytest
import yaml
from workflow_project import CHECKOUT, Project, jobs

from odevae.report.table_files import read_csv

pytestmark = pytest.mark.slow

DOCUMENT = (CHECKOUT / "docs/adding_a_model.md").read_text(encoding="utf-8")
NAME, MODEL = "random_projection", "src/odevae/benchmark/models/random_projection.py"
TABLE = "results/tables/tiny.csv"
FIGURES = "results/figures/tiny"
# What is asked of a simulation.
TRUTH = ("rates/variance_weighted", "rates/plain_mean", "latent/true_from_inferred", "latent/inferred_from_true")


def block(language: str) -> str:
    """The one block of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return found


def config() -> dict:
    return {
        "datasets": {
            "disc": {
                "simulate": {"kind": "foraging", "settings": {"n_neurons": 20, "n_frames": 240, "n_trials": 12}},
                "decode": ["x"],
            }
        },
        "protocols": {"heldout": {"drop_first_trials": 0}},
        "benchmark_models": {
            "pca": {"class": "linear.PCA", "latent_dims": "any"},
            "mean": {"class": "means.TrainingMean"},
        },
        "benchmarks": {"tiny": {"datasets": {"disc": [3, 5]}, "splits": [0], "compare_with": {"reconstruct": "pca"}}},
        "studies": {
            "unused": {
                "datasets": ["disc"],
                "protocols": ["heldout"],
                "models": ["v1"],
                "latent_dims": [2],
                "lambdas_smooth": ["5e-4"],
                "seeds": [1],
            }
        },
    }


def test_one_file_and_one_line_add_a_model(tmp_path):
    project = Project.create(tmp_path / "project", config())
    outcome = project.snakemake(TABLE, FIGURES)
    assert outcome.code == 0, outcome.output
    figures = sorted(path.name for path in (project.root / FIGURES).glob("*.png"))
    assert figures == [
        "decode.png",
        "forecast.png",
        "latent.png",
        "lost.png",
        "onset.png",
        "rates.png",
        "reconstruct.png",
    ]
    before = {row["model"] for row in read_csv(project.root / TABLE)}
    assert before == {"pca", "mean"}

    text = block("python")
    assert text.startswith(f"# {MODEL}\n")
    (project.root / MODEL).write_text(text, encoding="utf-8")
    added = config()
    added["benchmark_models"] |= yaml.safe_load(block("yaml"))["benchmark_models"]
    project.write_config(added)
    outcome = project.snakemake(TABLE)
    assert outcome.code == 0, outcome.output
    assert jobs(outcome.output) == {"fit_benchmark_model": 1, "tabulate_benchmark": 1}, "only the new model is fitted"
    rows = [row for row in read_csv(project.root / TABLE) if row["model"] == NAME]
    assert {(row["task"], row["latent_dim"]) for row in rows} == {
        (task, dim) for task in ("reconstruct", "decode/x", *TRUTH) for dim in (3, 5)
    }
    assert Path(project.root / "results/disc/heldout/split0/benchmark_models" / NAME / "d3-5.json").exists()
