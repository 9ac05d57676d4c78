"""The runs and folds of a study, and what the configuration says of each."""

from itertools import product
from pathlib import Path

from odevae.models.presets import model_spec
from odevae.storage.run_folder import RunKey

# Protocols that draw landmarks with the seed of the run.
SPLIT_BY_SEED = ("published", "published_unshared", "published_train_fit", "published_random")


def study_runs(config: dict, study: str) -> list[RunKey]:
    """The runs of a study, in the order of its table: the grid over everything that it lists, then its further grids.

    Under the protocols of `SPLIT_BY_SEED` the split is the run's seed, as in the paper's code, not one of ``splits``.
    """
    return list(dict.fromkeys(key for grid in grids_of(config, study) for key in _runs_of_grid(grid)))


def published_rows_of(config: dict, study: str) -> dict[str, int]:
    """Row of the paper's Table 2 to compare a run with, by the run's folder, for the grids that name one."""
    return {
        key.path: grid["published_row"]
        for grid in grids_of(config, study)
        if "published_row" in grid
        for key in _runs_of_grid(grid)
        if key.protocol == "published"
    }


def grids_of(config: dict, study: str) -> list[dict]:
    """The grids of a study: its own, then each of ``more`` with the keys that it leaves as they are."""
    settings = config["studies"][study]
    return [settings, *(settings | changes for changes in settings["more"])]


def _runs_of_grid(grid: dict) -> list[RunKey]:
    lists = ("datasets", "protocols", "models", "latent_dims", "lambdas_smooth", "splits", "seeds")
    return [
        RunKey(dataset, protocol, seed if protocol in SPLIT_BY_SEED else split, model, latent_dim, lambda_smooth, seed)
        for dataset, protocol, model, latent_dim, lambda_smooth, split, seed in product(*(grid[name] for name in lists))
    ]


def fold_path(config: dict, key: RunKey) -> str:
    """Folder of the fold that a run uses, below ``results/``."""
    observations = model_spec(key.model, config["models"]).observations
    return f"{key.dataset}/{key.protocol}/split{key.split}/{observations}"


def folds_of_runs(config: dict, study: str) -> dict[str, str]:
    """Folder of the fold of each run of a study, by the run's folder, both below ``results/``."""
    return {key.path: fold_path(config, key) for key in study_runs(config, study)}


def study_folds(config: dict, study: str) -> list[str]:
    """Folders of the folds of a study, below ``results/``."""
    return list(dict.fromkeys(folds_of_runs(config, study).values()))


def protocol_settings(config: dict, dataset: str, protocol: str) -> dict:
    """Settings of a protocol on one data set: the common ones, changed by what the data set says.

    The rungs of the audit ladder and v2's protocol take the settings of ``published``.
    """
    group = "heldout" if protocol == "heldout" else "published"
    return config["protocols"][group] | config["datasets"][dataset].get(group, {})


def grouping(config: dict, dataset: str) -> dict:
    """How the trials of a data set belong together: arguments of `odevae.protocols.groups.trial_groups`, or nothing."""
    settings = protocol_settings(config, dataset, "heldout")
    return {name: settings[name] for name in ("group_by", "test_fraction")} if "group_by" in settings else {}


def data_files(config: dict, dataset: str) -> list[str]:
    """Where a recording is read from: its own files, or where the fetch rule puts them; none for a simulation."""
    entry = config["datasets"][dataset]
    if "fetch" in entry:
        return [f"data/{dataset}/{name}" for name in fetched_files(config, dataset)]
    return _as_list(entry.get("file", []))


def format_of(config: dict, dataset: str) -> str | None:
    """The format of a recording, if the data set states it."""
    return config["datasets"][dataset].get("read", {}).get("format")


def trial_tables(config: dict, dataset: str) -> list[str]:
    """The file that says where the trials of a data set begin and end, if there is one."""
    trials = config["datasets"][dataset].get("trials", {})
    return [trials["table"]] if "table" in trials else []


def fetched_files(config: dict, dataset: str) -> dict[str, dict[str, str]]:
    """The ``url`` and ``sha256`` of each file that is fetched for a data set, by the file's name, in their order."""
    return {Path(item["url"]).name: item for item in _as_list(config["datasets"][dataset]["fetch"])}


def _as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def lacking_covariates(config: dict, dataset: str, model: str) -> list[str]:
    """The covariates that a benchmark model needs and that a data set does not name in ``decode`` or ``colour_by``."""
    needed, entry = config["benchmark_models"][model].get("needs", []), config["datasets"][dataset]
    return [name for name in needed if name not in (*entry["decode"], *entry["colour_by"])]
