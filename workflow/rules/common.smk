# Helpers of the rules: the checked configuration, and functions from wildcards to inputs and parameters.

import shlex
import sys
from functools import cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from odevae.benchmark.grid import benchmark_cells, check_benchmarks, module_file
from odevae.errors import OdevaeError
from odevae.report.figure_names import BY_COVARIATE, FIGURES
from odevae.jobs.code_digest import digest_of_code
from odevae.models.presets import PRESETS, model_spec
from odevae.storage.run_folder import RunKey
from odevae.config.studies import (
    PROTOCOLS,
    check_config,
    data_file,
    fold_path,
    protocol_settings,
    published_rows_of,
    study_folds,
    study_runs,
)
from odevae.tracking.address import outages_of

# Snakemake writes the path of its Python into shell commands without quotes, and a checkout's path may hold a space.
if Path(sys.executable).exists():
    sys.executable = shlex.quote(sys.executable)

PROJECT = Path(workflow.basedir)
ENVIRONMENT = "../../envs/odevae.yaml"
# Read by envs/odevae.post-deploy.sh.
os.environ.update(ODEVAE_PROJECT=str(PROJECT))

with open(PROJECT / "workflow/schemas/config.schema.yaml", encoding="utf-8") as file:
    schema = yaml.safe_load(file)
try:
    check_config(config, schema)
    check_benchmarks(config)
    for entry in config["benchmark_models"].values():
        module_file(PROJECT / "src", entry["class"])
    for dataset in config["datasets"]:
        path = config["datasets"][dataset].get("file")
        if path and not Path(path).is_file():
            raise OdevaeError(f"config: datasets.{dataset}.file: there is no file {path}; correct the path.")
except OdevaeError as error:
    raise WorkflowError(str(error)) from None

LADDERS = [name for name, study in config["studies"].items() if study["ladder"]]
SIMULATED = [name for name, entry in config["datasets"].items() if "simulate" in entry]
RECORDED = [name for name in config["datasets"] if name not in SIMULATED]
FETCHED = [name for name in RECORDED if "fetch" in config["datasets"][name]]


def one_of(names):
    """A wildcard constraint that matches any of some names, and nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=one_of(config["datasets"]),
    protocol=one_of(PROTOCOLS),
    split=r"\d+",
    observations="(pca|neurons)(-baseline)?",
    model=one_of([*PRESETS, *config["models"]]),
    latent_dim=r"\d+",
    latent_dims=r"\d+(-\d+)*",
    lambda_smooth=r"\d+(\.\d+)?(e-?\d+)?",
    seed=r"\d+",
    study=one_of(config["studies"]),
    benchmark_model=one_of(config["benchmark_models"]),
    benchmark=one_of(config["benchmarks"]),


RUN = "{dataset}/{protocol}/split{split}/{model}/d{latent_dim}_ls{lambda_smooth}_seed{seed}"
FOLD = "{dataset}/{protocol}/split{split}/{observations}"
SWEEP = "{study}/{dataset}/{protocol}/{model}"


@cache
def code(script):
    """Digest of a script and of all that it imports. Tracking only repeats what is on disk: it makes nothing rerun."""
    return digest_of_code(PROJECT, PROJECT / "workflow/scripts" / script, without={"odevae.tracking"})


def place_of(wildcards):
    """File and class of a model of the benchmarks."""
    return config["benchmark_models"][wildcards.benchmark_model]["class"]


def code_of_benchmark_model(wildcards):
    """Digest of the script that scores, and of the model's own file: editing one model leaves the others alone."""
    return code("fit_benchmark_model.py") + digest_of_code(PROJECT, module_file(PROJECT / "src", place_of(wildcards)))


def truth_of(wildcards):
    """The recording of a simulation, whose true latents and rates are known."""
    return f"results/{wildcards.dataset}/recording.npz" if wildcards.dataset in SIMULATED else []


def decode_of(wildcards):
    return config["datasets"][wildcards.dataset]["decode"]


def cells_of(wildcards):
    return [f"results/{cell.path}" for cell in benchmark_cells(config, wildcards.benchmark)]


def compare_with_of(wildcards):
    return config["benchmarks"][wildcards.benchmark]["compare_with"]


def fold_of(wildcards):
    """Files of the fold that a run trains and is scored on."""
    folder = fold_path(config, RunKey.from_text(**wildcards))
    return [f"results/{folder}/{name}" for name in ("trials.npz", "preprocessing.json")]


def spec_of(wildcards):
    return model_spec(wildcards.model, config["models"]).as_dict()


def settings_of(wildcards):
    return protocol_settings(config, wildcards.dataset, wildcards.protocol)


def entry_of(wildcards):
    return config["datasets"][wildcards.dataset]


def file_of(wildcards):
    return data_file(config, wildcards.dataset)


def units_of(wildcards):
    return entry_of(wildcards)["units"]


def simulation_of(wildcards):
    return entry_of(wildcards)["simulate"]["kind"]


def simulation_settings_of(wildcards):
    return entry_of(wildcards)["simulate"]["settings"]


def url_of(wildcards):
    return entry_of(wildcards)["fetch"]["url"]


def sha256_of(wildcards):
    return entry_of(wildcards)["fetch"]["sha256"]


def colour_of(wildcards):
    return entry_of(wildcards)["colour_by"]


def runs_of(wildcards):
    """Folders of the runs of a study and of their folds, below results/."""
    return {key.path: fold_path(config, key) for key in study_runs(config, wildcards.study)}


def folds_of(wildcards):
    """Folders of the folds of a study, below results/."""
    return study_folds(config, wildcards.study)


def files_of_runs(wildcards):
    """The last file of each stage of every run of a study."""
    return [
        f"results/{run}/{name}" for run in runs_of(wildcards) for name in ("run.json", "metrics.json", "manifold.json")
    ]


def audits_of(wildcards):
    return [f"results/{fold}/audit.json" for fold in folds_of(wildcards)]


def predictions_of_runs(wildcards):
    return [f"results/{run}/predictions.npz" for run in runs_of(wildcards)]


def trials_of(wildcards):
    return [f"results/{fold}/{name}" for fold in folds_of(wildcards) for name in ("trials.npz", "preprocessing.json")]


def outages_so_far(wildcards):
    return outages_of(wildcards.study)


def plot_of(wildcards):
    """Which figure a study's table becomes."""
    return "ladder" if wildcards.study in LADDERS else "scores"


def runs_of_dimensions(wildcards):
    """The runs of a study on one data set, under one protocol, of one model, and their folds."""
    return {
        key.path: fold_path(config, key)
        for key in study_runs(config, wildcards.study)
        if (key.dataset, key.protocol, key.model) == (wildcards.dataset, wildcards.protocol, wildcards.model)
    }


def files_of_dimensions(wildcards):
    return [
        f"results/{path}"
        for run, fold in runs_of_dimensions(wildcards).items()
        for path in (f"{run}/run.json", f"{run}/predictions.npz", f"{fold}/trials.npz", f"{fold}/preprocessing.json")
    ]


def published_rows_for(wildcards):
    return published_rows_of(config, wildcards.study)


def published_table_of(wildcards):
    return config["studies"][wildcards.study].get("published_table", 0)


# On a cluster these run where Snakemake itself does: they take seconds, or need the network that nodes may not have.
localrules:
    create_store,
    fetch_data,
    simulate_recording,
    sync_study,
    sync,
    tabulate_study,
    verify,
    plot_study,
    tabulate_benchmark,
    plot_benchmark,
