"""The workflow as a module of another one, in another folder and with a configuration of its own."""

import os
import sys
import zipfile

import pytest
import yaml
from test_environment import ACTIVATE, CONDA, PYTHON, write_executable
from workflow_project import CHECKOUT, Project, jobs, small_config

from odevae.report.table_files import read_csv

SNAKEFILE = """
configfile: "lab.yaml"


module odevae:
    snakefile:
        "{snakefile}"
    {more}config:
        config["odevae"]


use rule * from odevae as odevae_*


rule all:
    default_target: True
    input:
        "summary.txt",


rule summarise:
    input:
        "results/tables/small.csv",
    output:
        "summary.txt",
    shell:
        "cp {{input}} {{output}}"
"""


class Lab(Project):
    """Another workflow, next to a copy of this one."""

    def __init__(self, root, config: dict, more: str = ""):
        super().__init__(root / "lab")
        self.odevae = Project.create(root / "odevae")
        # A configuration that the module must not see.
        (self.odevae.root / "config/config.yaml").write_text("unknown_key: 1\n", encoding="utf-8")
        self.root.mkdir()
        text = SNAKEFILE.format(snakefile=self.odevae.root / "Snakefile", more=more)
        (self.root / "Snakefile").write_text(text, encoding="utf-8")
        (self.root / "lab.yaml").write_text(yaml.safe_dump({"odevae": config, "ours": 1}), encoding="utf-8")

    def start(self, *arguments, **settings):
        return super().start(*arguments, **{"PYTHONPATH": self.odevae.root / "src"} | settings)


def one_run() -> dict:
    config = small_config()
    config["studies"]["small"] |= {"protocols": ["heldout"], "seeds": [1]}
    return config


@pytest.mark.slow
def test_a_study_runs_as_a_module(tmp_path):
    lab = Lab(tmp_path, one_run())
    lab.run()
    rows = read_csv(lab.root / "summary.txt")
    assert [row["status"] for row in rows if row["status"]] == ["ok"]
    _, tracked = lab.tracked("small")
    assert "disc/heldout/split0/quick/d2_ls5e-4_seed1" in tracked
    assert not (lab.odevae.root / "results").exists()
    assert "Nothing to be done" in lab.run("--dry-run")
    # Captions are found where the rules are.
    lab.run("--report", "report.zip")
    with zipfile.ZipFile(lab.root / "report.zip") as report:
        assert "report/report.html" in report.namelist()
    # Edited code runs again.
    lab.odevae.append("src/odevae/report/study_table.py")
    assert jobs(lab.run("--dry-run")) == {"odevae_tabulate_study": 1, "summarise": 1}


@pytest.mark.slow
def test_conda_makes_the_environment_of_a_module(tmp_path, monkeypatch):
    root = tmp_path / "conda"
    write_executable(root / "condabin/conda", CONDA.format(python=sys.executable, root=root))
    write_executable(root / "python", PYTHON.format(python=sys.executable))
    write_executable(root / "bin/activate", ACTIVATE)
    monkeypatch.setenv("PATH", f"{root / 'condabin'}{os.pathsep}{os.environ['PATH']}")
    lab = Lab(tmp_path, one_run())
    lab.run("results/disc/recording.npz", "--sdm", "conda")
    (installed,) = (lab.root / ".snakemake/conda").glob("*/installed")
    assert f"--constraint {lab.odevae.root}/envs/constraints.txt --editable {lab.odevae.root}[" in installed.read_text()


@pytest.mark.slow
def test_the_shipped_sweep_is_planned_as_a_module(tmp_path):
    shipped = yaml.safe_load((CHECKOUT / "config/config.yaml").read_text(encoding="utf-8"))
    lab = Lab(tmp_path, shipped)
    planned = jobs(lab.run("--dry-run", "--quiet", "host", "--", "results/tables/seed_sweep.csv"))
    assert planned["odevae_train_model"] == 10
    assert {name.removeprefix("odevae_") for name in planned} == set(
        jobs(Project.create(tmp_path / "alone").run("--dry-run", "results/tables/seed_sweep.csv"))
    )


@pytest.mark.slow
def test_a_module_with_a_prefix_is_refused(tmp_path):
    outcome = Lab(tmp_path, one_run(), more='prefix:\n        "sub"\n    ').snakemake("--dry-run")
    assert outcome.code != 0
    assert "its scripts look below results/; remove it" in outcome.output


@pytest.mark.slow
def test_a_mistake_in_the_configuration_of_a_module_is_one_sentence(tmp_path):
    config = one_run()
    config["studies"]["small"]["models"] = ["missing"]
    outcome = Lab(tmp_path, config).snakemake("--dry-run")
    assert outcome.code != 0
    assert "missing" in outcome.output and "Traceback" not in outcome.output


@pytest.mark.slow
def test_the_page_shows_a_workflow_that_snakemake_plans(tmp_path):
    page = (CHECKOUT / "docs/other_workflows.md").read_text(encoding="utf-8")
    config = one_run()
    config["studies"]["mine"] = config["studies"].pop("small")
    lab = Lab(tmp_path, config)
    lab.odevae.root = lab.odevae.root.rename(lab.root / "odevae")
    (lab.root / "Snakefile").write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    (lab.root / "scripts").mkdir()
    (lab.root / "scripts/summarise.py").touch()
    planned = jobs(lab.run("--dry-run"))
    assert planned["odevae_train_model"] == planned["summarise"] == 1
