"""The configuration: its schema, its defaults, and the runs that each study asks for."""

import math
import re
from collections.abc import Iterable
from copy import deepcopy
from itertools import product
from pathlib import Path

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from odevae.errors import OdevaeError
from odevae.models.presets import PRESETS, model_spec
from odevae.storage.run_folder import RunKey

# Protocols that draw landmarks, with the seed of the run.
SPLIT_BY_SEED = ("published", "published_unshared", "published_train_fit", "published_random")
PROTOCOLS = (*SPLIT_BY_SEED, "published_v2", "heldout")
# Folders of results/ that belong to all data sets together, and the file of results/mlflow/ that belongs to no study.
COMMON_FOLDERS = ("figures", "mlflow", "tables")
STORE_RECORD = "store"


def check_config(config: dict, schema: dict) -> dict:
    """The configuration with every default of the schema filled in.

    Raises:
        OdevaeError: for the first key that is unknown, missing or of the wrong type or value, by its full name; for a
            name whose files would be those of something else; and for a study that names a data set or a model that
            does not exist.
    """
    errors = sorted(
        _filling_validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    if errors:
        # Keys and values are a stranger's; what cannot be printed would break the line or colour the terminal.
        sentence = _sentence(errors[0])
        raise OdevaeError("".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence))
    _require_own_files("datasets", config["datasets"], COMMON_FOLDERS)
    _require_own_files("models", config["models"], PRESETS)
    _require_own_files("studies", config["studies"], (STORE_RECORD,))
    for dataset, entry in config["datasets"].items():
        _require_own_files(f"datasets.{dataset}.colour_by", entry["colour_by"])
        if sum(kind in entry for kind in ("file", "fetch", "simulate")) != 1:
            raise OdevaeError(f"config: datasets.{dataset} needs exactly one of file, fetch and simulate.")
    for model in config["models"]:
        model_spec(model, config["models"])
    for study in config["studies"]:
        for number, grid in enumerate(_grids(config, study)):
            _check_grid(config, grid, f"studies.{study}" + (f".more.{number - 1}" if number else ""))
    return config


def _require_own_files(where: str, names: Iterable[str], taken: Iterable[str] = ()) -> None:
    """Refuse names whose files would be those of another: some file systems do not tell upper from lower case."""
    known = {name.casefold(): name for name in taken}
    for name in names:
        other = known.get(name.casefold())
        if other is not None:
            raise OdevaeError(
                f"config: {where}: {name} would share its files with {other}, which "
                f"{'odevae uses itself' if other in taken else 'differs in case only'}; choose another name."
            )
        known[name.casefold()] = name


def _check_grid(config: dict, grid: dict, where: str) -> None:
    for dataset in grid["datasets"]:
        if dataset not in config["datasets"]:
            raise OdevaeError(
                f"config: {where}.datasets names {dataset!r}, which is not under 'datasets'; known: "
                f"{', '.join(config['datasets'])}."
            )
    for model in grid["models"]:
        spec = model_spec(model, config["models"])
        if "published_v2" in grid["protocols"] and spec.observations != "pca":
            raise OdevaeError(
                f"config: {where}: the protocol published_v2 serves models that see pca, but {model} sees "
                f"{spec.observations}; take it with v2."
            )
    weights = [float(text) for text in grid["lambdas_smooth"]]
    if not all(map(math.isfinite, weights)):
        raise OdevaeError(f"config: {where}.lambdas_smooth gives a weight too large for a number; lower it.")
    if len(set(weights)) < len(weights):
        raise OdevaeError(f"config: {where}.lambdas_smooth gives the same weight twice; leave one out.")


def study_runs(config: dict, study: str) -> list[RunKey]:
    """The runs of a study, in the order of its table: the grid over everything that it lists, then its further grids.

    Under the protocols of `SPLIT_BY_SEED` the landmark draw follows the run's seed, as in the paper's code, so the
    split is the seed and the study's ``splits`` count for the others only.
    """
    return list(dict.fromkeys(key for grid in _grids(config, study) for key in _runs_of_grid(grid)))


def published_rows_of(config: dict, study: str) -> dict[str, int]:
    """Row of the paper's Table 2 that stands beside a run, by the run's folder, for the grids that name one."""
    return {
        key.path: grid["published_row"]
        for grid in _grids(config, study)
        if "published_row" in grid
        for key in _runs_of_grid(grid)
        if key.protocol == "published"
    }


def _grids(config: dict, study: str) -> list[dict]:
    settings = config["studies"][study]
    return [settings, *(settings | changes for changes in settings["more"])]


def _runs_of_grid(grid: dict) -> list[RunKey]:
    return [
        RunKey(
            dataset=dataset,
            protocol=protocol,
            split=seed if protocol in SPLIT_BY_SEED else split,
            model=model,
            latent_dim=latent_dim,
            lambda_smooth=lambda_smooth,
            seed=seed,
        )
        for dataset, protocol, model, latent_dim, lambda_smooth, split, seed in product(
            grid["datasets"],
            grid["protocols"],
            grid["models"],
            grid["latent_dims"],
            grid["lambdas_smooth"],
            grid["splits"],
            grid["seeds"],
        )
    ]


def fold_path(config: dict, key: RunKey) -> str:
    """Folder of the fold that a run uses, below ``results/``."""
    observations = model_spec(key.model, config["models"]).observations
    return f"{key.dataset}/{key.protocol}/split{key.split}/{observations}"


def study_folds(config: dict, study: str) -> list[str]:
    """Folders of the folds of a study, below ``results/``."""
    return list(dict.fromkeys(fold_path(config, key) for key in study_runs(config, study)))


def protocol_settings(config: dict, dataset: str, protocol: str) -> dict:
    """Settings of a protocol on one data set: the common ones, changed by what the data set says.

    The rungs of the audit ladder and v2's protocol take the settings of ``published``.
    """
    group = "heldout" if protocol == "heldout" else "published"
    return config["protocols"][group] | config["datasets"][dataset].get(group, {})


def data_file(config: dict, dataset: str) -> str:
    """Where the recording of a data set is read from: its own file, or where the fetch rule puts it; else empty."""
    entry = config["datasets"][dataset]
    if "fetch" in entry:
        return f"data/{dataset}/{Path(entry['fetch']['url']).name}"
    return entry.get("file", "")


def _filling_validator(schema: dict) -> Draft202012Validator:
    """A validator that fills in the schema's defaults, takes 3.0 for no whole number and matches whole texts."""
    # JSON Schema counts 3.0 as an integer, but it would name a folder d3.0 that no rule makes.
    strict = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator, properties, instance, owner):
        if validator.is_type(instance, "object"):
            for name, rule in properties.items():
                if "default" in rule:
                    instance.setdefault(name, deepcopy(rule["default"]))
        yield from check_properties(validator, properties, instance, owner)

    def match_whole(validator, pattern, instance, owner):
        # In Python a $ also matches before a line break at the end, which would come into file names.
        if validator.is_type(instance, "string") and not re.fullmatch(pattern, instance):
            yield ValidationError(f"{instance!r} does not match {pattern!r}")

    return extend(Draft202012Validator, {"properties": fill, "pattern": match_whole}, type_checker=strict)(schema)


def _sentence(error) -> str:
    """One sentence for a violation of the schema: where, what, and what is expected."""
    where = ".".join(map(str, error.absolute_path)) or "the top level"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = [str(name) for name in error.instance if name not in known]
        return f"config: unknown key {', '.join(unknown)} at {where}; known keys there: {', '.join(known) or 'none'}."
    if error.validator == "required":
        return f"config: {error.message.replace(' is a required property', '')} is missing at {where}; add it."
    hint = "" if error.validator == "enum" else error.schema.get("description", "")
    return f"config: {where}: {error.message}{'; expected ' + hint if hint else ''}."
