"""The configuration checked against its schema, with the schema's defaults filled in."""

import math
import re
from collections.abc import Iterable
from copy import deepcopy
from itertools import product
from pathlib import Path

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from odevae.config.recordings import fill_in_recordings
from odevae.config.session_trials import check_trials
from odevae.config.studies import data_files, grids_of, lacking_covariates, trial_tables
from odevae.errors import OdevaeError
from odevae.models.presets import PRESET_NAMES, ShootingSpec, model_spec

# As people write them; the first digit or the point may be missing.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# Folders of results/ that belong to all data sets together, and the file of results/mlflow/ that belongs to no study.
COMMON_FOLDERS = ("figures", "mlflow", "tables")
STORE_RECORD = "store"
# Formats that are a folder.
FOLDERS = ("minian", "suite2p")
# How far the number of bins in a window may be from a whole number, because of rounding, as a share.
WHOLE_BINS = 1e-9


def check_config(config: dict, schema: dict) -> dict:
    """The configuration with every default of the schema, and all that is known of public recordings, filled in.

    Raises:
        OdevaeError: for the first key that is unknown, missing or of the wrong type or value, by its full name; for a
            name whose files would be those of something else; for a study or a benchmark of what does not exist; and
            for a benchmark without the model that it compares others with.
    """
    fill_in_recordings(config)
    _read_numbers(config, schema, schema)
    errors = list(_filling_validator(schema).iter_errors(config))
    if errors:
        sentence = _sentence(min(errors, key=lambda error: list(map(str, error.absolute_path))))
        # A key or value may hold characters that would break the line or colour the terminal.
        raise OdevaeError("".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence))
    _require_own_files("datasets", config["datasets"], COMMON_FOLDERS)
    _require_own_files("models", config["models"], PRESET_NAMES)
    _require_own_files("studies", config["studies"], (STORE_RECORD,))
    for dataset, entry in config["datasets"].items():
        _require_own_files(f"datasets.{dataset}.colour_by", entry["colour_by"])
        if sum(kind in entry for kind in ("file", "fetch", "simulate")) != 1:
            raise OdevaeError(f"config: datasets.{dataset} needs exactly one of file, fetch, recording and simulate.")
        for file in [*data_files(config, dataset), *trial_tables(config, dataset)]:
            if set(file) & set("{}"):
                raise OdevaeError(
                    f"config: datasets.{dataset}: the file {file} has braces in its name, which Snakemake would take "
                    "for wildcards; rename it or give a link to it."
                )
        check_spike_lists(config, dataset)
        check_read(config, dataset)
        check_trials(config, dataset)
    for model in config["models"]:
        model_spec(model, config["models"])
    for study in config["studies"]:
        for number, grid in enumerate(grids_of(config, study)):
            _check_grid(config, grid, f"studies.{study}" + (f".more.{number - 1}" if number else ""))
    check_benchmarks(config)
    return config


def _require_own_files(where: str, names: Iterable[str], taken: Iterable[str] = ()) -> None:
    """Refuse names whose files would be those of another: on some file systems, upper and lower case are the same."""
    known = {name.casefold(): name for name in taken}
    for name in names:
        other = known.get(name.casefold())
        if other is not None:
            raise OdevaeError(
                f"config: {where}: {name} would share its files with {other}, which "
                f"{'odevae uses itself' if other in taken else 'differs in case only'}; choose another name."
            )
        known[name.casefold()] = name


def _require_known(where: str, names: Iterable[str], section: str, known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise OdevaeError(
                f"config: {where} names {name!r}, which is not under {section!r}; known: {', '.join(known)}."
            )


def _check_grid(config: dict, grid: dict, where: str) -> None:
    _require_known(f"{where}.datasets", grid["datasets"], "datasets", config["datasets"])
    for model in grid["models"]:
        spec = model_spec(model, config["models"])
        if isinstance(spec, ShootingSpec):
            _check_shooting(model, grid, where)
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


def _check_shooting(model: str, grid: dict, where: str) -> None:
    """Refuse what a model of the preset ``shooting`` has no use for."""
    others = [protocol for protocol in grid["protocols"] if protocol != "heldout"]
    if others:
        raise OdevaeError(
            f"config: {where}: {model} is fitted on native frames, which the protocol {others[0]} has not; give it "
            "protocols: [heldout], in a grid of its own under more."
        )
    if grid["ladder"]:
        raise OdevaeError(
            f"config: {where}: a ladder takes the flaws of the paper's protocol away from the paper's models; {model} "
            "is none of them, so give it a study of its own."
        )
    if len(grid["lambdas_smooth"]) > 1:
        raise OdevaeError(
            f"config: {where}: {model} has no smoothness term, so all lambdas_smooth give the same run; give it "
            'one, ["0"], in a grid of its own under more.'
        )


def check_spike_lists(config: dict, dataset: str) -> None:
    """Refuse several files that are no spike lists, and settings of such lists that do not fit, as `check_config` does.

    Only spike lists may come in several files; each of the other formats holds a whole recording.
    """
    where, entry = f"datasets.{dataset}", config["datasets"][dataset]
    kind = "fetch" if "fetch" in entry else "file"
    names = [Path(file).name for file in data_files(config, dataset)]
    if kind == "fetch" and isinstance(entry["fetch"], list) and len(names) < len(entry["fetch"]):
        raise OdevaeError(f"config: {where}.fetch: two addresses end in the same file name; leave one out.")
    if "spikes" not in entry:
        if len(names) > 1:
            raise OdevaeError(
                f"config: {where}.{kind} gives {len(names)} files, but only spike lists may come in several; give one, "
                f"or say in {where}.spikes how spikes become bins."
            )
        return
    spikes = entry["spikes"]
    if "simulate" in entry:
        raise OdevaeError(f"config: {where}.spikes is for files; a simulation needs none, remove it.")
    for key in ("no_trial", "renumber_trials", "irregular_trials", "bridge_frames", "missing", "trials"):
        if key in entry:
            raise OdevaeError(f"config: {where}.{key} is for files with trials; windows of spike lists need none.")
    if entry.get("time_unit") == "frames":
        raise OdevaeError(f"config: {where}.time_unit: spike times are no frame numbers; give s, ms, us or seconds.")
    bins = spikes["window_s"] / spikes["bin_s"]
    if round(bins) < 2 or not math.isclose(bins, round(bins), rel_tol=WHOLE_BINS):
        raise OdevaeError(
            f"config: {where}.spikes: a window of {spikes['window_s']:g} s is not two or more whole bins of "
            f"{spikes['bin_s']:g} s; change window_s or bin_s."
        )
    if "stop_s" in spikes and spikes["stop_s"] < spikes["start_s"] + spikes["window_s"]:
        raise OdevaeError(
            f"config: {where}.spikes: no window of {spikes['window_s']:g} s lies between start_s {spikes['start_s']:g} "
            f"and stop_s {spikes['stop_s']:g}; change one of them."
        )
    events = [name for files in spikes["events"].values() for name in files]
    sessions = len(names) - len(events)
    for covariate, files in spikes["events"].items():
        _require_known(f"{where}.spikes.events.{covariate}", files, f"{where}.{kind}", names)
        if len(files) != sessions:
            raise OdevaeError(
                f"config: {where}.spikes.events.{covariate} names {len(files)} files, but {where}.{kind} has "
                f"{sessions} spike lists of neurons; name one for each, in their order."
            )
    if len(set(names)) < len(names) or len(set(events)) < len(events):
        raise OdevaeError(f"config: {where}: a file name is given twice; give each file once, under its own name.")


def check_read(config: dict, dataset: str) -> None:
    """Refuse ``read`` where nothing reads it, as `check_config` does."""
    where, entry = f"datasets.{dataset}", config["datasets"][dataset]
    if "read" not in entry:
        return
    for key, why in {"simulate": "a simulation needs none", "spikes": "spike lists need none"}.items():
        if key in entry:
            raise OdevaeError(f"config: {where}.read is for recordings in files; {why}, remove it.")
    if "fetch" in entry and entry["read"]["format"] in FOLDERS:
        raise OdevaeError(
            f"config: {where}.fetch downloads single files, but {entry['read']['format']} is a folder; download it "
            f"yourself and give {where}.file."
        )


def check_benchmarks(config: dict) -> None:
    """Refuse a benchmark of what does not exist, as `check_config` does."""
    for name, settings in config["benchmarks"].items():
        where = f"benchmarks.{name}"
        _require_known(f"{where}.datasets", settings["datasets"], "datasets", config["datasets"])
        if name in config["studies"]:
            raise OdevaeError(
                f"config: {where}: a study has this name too, and both would write one table; rename one."
            )
        chosen = settings.get("models", list(config["benchmark_models"]))
        compared = settings["compare_with"].values()
        _require_known(where, [*chosen, *compared], "benchmark_models", config["benchmark_models"])
        for model, dataset in product(settings.get("models", []), settings["datasets"]):
            if lacking := lacking_covariates(config, dataset, model):
                raise OdevaeError(
                    f"config: {where}.models names {model}, which needs {' and '.join(lacking)}, but "
                    f"datasets.{dataset} names no such covariate in decode or colour_by; add it there if the "
                    "recording has it, or leave the model out."
                )
        named = {f"compare_with.{task}": model for task, model in settings["compare_with"].items()}
        for key, model in (named | ({"asked": settings["asked"]} if "asked" in settings else {})).items():
            if model not in chosen:
                raise OdevaeError(f"config: {where}.{key}: {model} is not among its models; add it there.")


def _read_numbers(instance, rule: dict, schema: dict) -> None:
    """Put numbers in place of texts where the schema wants numbers: for YAML, 1e-3 without a point is a text."""
    rule = _followed(rule, schema)
    if isinstance(instance, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties")
        items = [(name, known.get(name, others)) for name in instance]
    elif isinstance(instance, list):
        items = [(index, rule.get("items")) for index in range(len(instance))]
    else:
        return
    for place, own in items:
        if not isinstance(own, dict):
            continue
        value, kind = instance[place], _followed(own, schema).get("type")
        if isinstance(value, str) and kind in ("number", "integer") and NUMBER.fullmatch(value.strip()):
            number = float(value)
            instance[place] = int(number) if kind == "integer" and number.is_integer() else number
        _read_numbers(value, own, schema)


def _followed(rule: dict, schema: dict) -> dict:
    """The rule that a rule refers to."""
    while "$ref" in rule:
        rule = schema["$defs"][rule["$ref"].rpartition("/")[2]]
    return rule


def _filling_validator(schema: dict) -> Draft202012Validator:
    """A validator that fills in copies of the schema's defaults, refuses 3.0 as a whole number and matches whole texts.

    `snakemake.utils.validate` does none of these, and repeats the schema in its errors.
    """
    # JSON Schema counts 3.0 as an integer, but it would name a folder d3.0 that no rule makes.
    strict = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator, properties, instance, owner):
        if validator.is_type(instance, "object"):
            for name, rule in properties.items():
                if isinstance(rule, dict) and "default" in rule:
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
