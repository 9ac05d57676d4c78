# Helpers of the rules: the checked configuration, and functions from wildcards to inputs and parameters.

import shlex
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path, PurePosixPath

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from odevae.benchmark.grid import benchmark_cells, left_out, module_file
from odevae.config.files import require_unique_keys
from odevae.config.schema import check_config
from odevae.config.studies import (
    data_files,
    fetched_files,
    fold_path,
    folds_of_runs,
    format_of,
    grouping,
    protocol_settings,
    published_rows_of,
    study_folds,
    study_runs,
    trial_tables,
)
from odevae.data.frames import ReadingSettings
from odevae.data.source_files import source_files
from odevae.errors import OdevaeError
from odevae.jobs.code_digest import digest_of_code
from odevae.models.presets import PRESET_NAMES, model_spec
from odevae.new_recording.own_config import CONFIG as OWN_CONFIG
from odevae.new_recording.own_config import own_config
from odevae.report.figure_names import BY_COVARIATE, FIGURES, MORE_FIGURES
from odevae.storage.run_folder import RunKey
from odevae.tracking.address import outages_of

# Snakemake writes the path of its Python into shell commands without quotes, and a checkout's path may hold a space.
if Path(sys.executable).exists():
    sys.executable = shlex.quote(sys.executable)

if workflow.modifier.path_modifier.prefix or workflow.modifier.path_modifier.modifies_prefixes:
    raise WorkflowError(
        "odevae is used as a module with prefix or replace_prefix, but its scripts look below results/; remove it."
    )

# Of this file, not of the main Snakefile: the workflow may be a module of another one.
PROJECT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
READING_SETTINGS = [field.name for field in fields(ReadingSettings)]
ENVIRONMENT = "../../envs/odevae.yaml"
# Read by envs/odevae.post-deploy.sh.
os.environ.update(ODEVAE_PROJECT=str(PROJECT))
# Read by `odevae.report.study_table`; this path is seen from the working directory.
PUBLISHED_TABLES = os.path.relpath(PROJECT / "src/odevae/report/published_tables.csv")
# Read by `odevae.report.page`.
PAGE_TEMPLATES = [os.path.relpath(path) for path in sorted((PROJECT / "src/odevae/report/templates").glob("*.j2"))]

with open(PROJECT / "workflow/schemas/config.schema.yaml", encoding="utf-8") as file:
    schema = yaml.safe_load(file)
try:
    for path in workflow.configfiles:
        require_unique_keys(path)
    NEW_RECORDING = str(config.pop("new_recording", ""))
    if NEW_RECORDING:
        # Jobs parse this file too, and find the configuration that the first call wrote.
        if not (own_config(NEW_RECORDING) or {}).get("benchmarks"):
            # Slow to import.
            from odevae.new_recording.preparation import prepare

            for note in prepare(NEW_RECORDING, config, schema).notes:
                logger.warning(note)
        update_config(config, own_config(NEW_RECORDING))
        CONFIG_FILES = [OWN_CONFIG]
    else:
        shipped = (PROJECT / "config/config.yaml").resolve()
        own_files = [path for path in workflow.configfiles if Path(path).resolve() != shipped]
        CONFIG_FILES = [os.path.relpath(path) for path in own_files]
    check_config(config, schema)
    for entry in config["benchmark_models"].values():
        module_file(PROJECT / "src", entry["class"])
    for dataset, entry in config["datasets"].items():
        for name in data_files(config, dataset) if "file" in entry else []:
            if not Path(name).exists():
                raise OdevaeError(f"config: datasets.{dataset}.file: there is no file {name}; correct the path.")
            source_files(name, format_of(config, dataset))
        for name in trial_tables(config, dataset):
            if not Path(name).is_file():
                raise OdevaeError(
                    f"config: datasets.{dataset}.trials.table: there is no file {name}; correct the path."
                )
        unread = [key for key in READING_SETTINGS if key in entry]
        if unread and "simulate" in entry:
            raise OdevaeError(
                f"config: datasets.{dataset}.{unread[0]} is for files; a simulation needs none, remove it."
            )
except OdevaeError as error:
    raise WorkflowError(str(error)) from None

# Of a call that makes something again, for pages.
CONFIG_OPTIONS = f"--configfile {' '.join(map(str, CONFIG_FILES))}" if CONFIG_FILES else ""
LADDERS = [name for name, study in config["studies"].items() if study["ladder"]]
SIMULATED = [name for name, entry in config["datasets"].items() if "simulate" in entry]
RECORDED = [name for name in config["datasets"] if name not in SIMULATED]
FETCHED = [name for name in RECORDED if "fetch" in config["datasets"][name]]


def one_of(names):
    """A wildcard constraint that matches any of some names, and nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=one_of(config["datasets"]),
    protocol=one_of(schema["$defs"]["grid_protocols"]["items"]["enum"]),
    split=r"\d+",
    observations="(pca|neurons)(-baseline)?",
    model=one_of([*PRESET_NAMES, *config["models"]]),
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


# Rules with `localrule` run where Snakemake itself does, also on a cluster: they take seconds, or need the network that
# nodes may not have.

# Scripts get what they use as parameters. Only tracking takes the store's address, and the studies that share a run, from
# the configuration itself: as parameters, a change of them would rerun trainings.


@cache
def code(script):
    """Digest of a script and of all that it imports. Tracking only repeats what is on disk: it makes nothing rerun."""
    return digest_of_code(PROJECT, PROJECT / "workflow/scripts" / script, without={"odevae.tracking"})


def code_of_benchmark_model(wildcards):
    """Digest of the script that scores, and of the model's own file: editing one model leaves the others alone."""
    file = module_file(PROJECT / "src", config["benchmark_models"][wildcards.benchmark_model]["class"])
    return code("fit_benchmark_model.py") + digest_of_code(PROJECT, file)


def truth_of(wildcards):
    """The recording of a simulation, whose true latents and rates are known."""
    return f"results/{wildcards.dataset}/recording.npz" if wildcards.dataset in SIMULATED else []


@cache
def say_what_is_left_out(benchmark):
    for sentence in left_out(config, benchmark):
        logger.warning(sentence)


def cells_of(wildcards):
    say_what_is_left_out(wildcards.benchmark)
    return [f"results/{cell.path}" for cell in benchmark_cells(config, wildcards.benchmark)]


def fold_of(wildcards):
    """Files of the fold that a run trains and is scored on."""
    folder = fold_path(config, RunKey.from_text(**wildcards))
    return [f"results/{folder}/{name}" for name in ("trials.npz", "preprocessing.json")]


def spec_of(wildcards):
    return model_spec(wildcards.model, config["models"]).as_dict()


def settings_of(wildcards):
    return protocol_settings(config, wildcards.dataset, wildcards.protocol)


def grouping_of(wildcards):
    return grouping(config, wildcards.dataset)


def files_of(wildcards):
    """What reading opens: the files of the data set, or those in its folder."""
    files = data_files(config, wildcards.dataset)
    if "file" not in config["datasets"][wildcards.dataset]:
        return files
    return [str(path) for name in files for path in source_files(name, format_of(config, wildcards.dataset))]


def paths_of(wildcards):
    """The files of the data set, or its folder."""
    return data_files(config, wildcards.dataset)


def layout_of(wildcards):
    """Which variable of the file is what, if the data set says so."""
    return config["datasets"][wildcards.dataset].get("read")


def inspected_files(wildcards):
    """The files of a recording that a call asks about; none if there are none, which the script says."""
    path = Path(config.get("recording", ""))
    if path.is_file():
        return str(path)
    return [str(file) for file in sorted(path.rglob("*")) if file.is_file()] if "recording" in config else []


def trial_tables_of(wildcards):
    return trial_tables(config, wildcards.dataset)


def download_of(wildcards):
    """The address and the checksum of a file to fetch."""
    # A file of that name is none of the data set's if the rule is asked for it by hand.
    return fetched_files(config, wildcards.dataset).get(wildcards.file, {})


def spikes_of(wildcards):
    """How the files become bins, if they are lists of spikes."""
    return config["datasets"][wildcards.dataset].get("spikes")


def reading_of(wildcards):
    """What the data set says of its file, such as the unit of time."""
    return {key: value for key, value in config["datasets"][wildcards.dataset].items() if key in READING_SETTINGS}


def colour_of(wildcards):
    # Not `lookup`, which goes through all data sets for each of its thousands of jobs.
    return config["datasets"][wildcards.dataset]["colour_by"]


def colours_of_study(wildcards):
    """The covariates that colour manifolds, of each data set of a study."""
    datasets = {key.dataset for key in study_runs(config, wildcards.study)}
    return {name: config["datasets"][name]["colour_by"] for name in sorted(datasets)}


def runs_of(wildcards):
    """Folders of the runs of a study and of their folds, below results/."""
    return folds_of_runs(config, wildcards.study)


def folds_of(wildcards):
    """Folders of the folds of a study, below results/."""
    return study_folds(config, wildcards.study)


def files_of_runs(wildcards):
    """The last file of each stage of every run of a study."""
    return [
        f"results/{run}/{name}" for run in runs_of(wildcards) for name in ("run.json", "metrics.json", "manifold.json")
    ]


def records_of_runs(wildcards):
    return [f"results/{run}/run.json" for run in runs_of(wildcards)]


def audits_of(wildcards):
    return [f"results/{fold}/audit.json" for fold in folds_of(wildcards)]


def audits_of_benchmark(wildcards):
    """Audits of the folds on which the models of a benchmark are fitted."""
    folds = {PurePosixPath(cell.path).parents[2] for cell in benchmark_cells(config, wildcards.benchmark)}
    return [f"results/{fold}/neurons/audit.json" for fold in sorted(folds)]


def predictions_of_runs(wildcards):
    return [f"results/{run}/predictions.npz" for run in runs_of(wildcards)]


def figures_of_runs(wildcards):
    return [f"results/{run}/figures/{name}.png" for run in runs_of(wildcards) for name in FIGURES]


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


def new_benchmark():
    """The first benchmark that the configuration of an own recording names."""
    if not NEW_RECORDING:
        raise WorkflowError("Name the recording: snakemake new --cores 2 --config new_recording=data/mouse7.mat")
    return next(iter(own_config(NEW_RECORDING)["benchmarks"]))


def table_of_new_recording(wildcards):
    return f"results/tables/{new_benchmark()}.csv"


def page_of_new_recording(wildcards):
    return f"results/report/{new_benchmark()}.html"


def settings_of_new_recording(wildcards):
    return config["benchmarks"][new_benchmark()]


def tables_of_studies(wildcards):
    """What the table of each study is made from."""
    return {
        study: {
            "runs": folds_of_runs(config, study),
            "ladder": settings["ladder"],
            "published_table": settings.get("published_table", 0),
            "published_rows": published_rows_of(config, study),
        }
        for study, settings in config["studies"].items()
    }


def tables_of_benchmarks(wildcards):
    """What the table of each benchmark is made from."""
    return {
        benchmark: {
            "files": [f"results/{cell.path}" for cell in benchmark_cells(config, benchmark)],
            "compare_with": settings["compare_with"],
        }
        for benchmark, settings in config["benchmarks"].items()
    }
