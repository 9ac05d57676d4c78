"""Which models a benchmark compares, on which splits and dimensions, and the file that each comparison leaves."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

from odevae.errors import OdevaeError

# A model's file and class, below `odevae.baselines`.
PLACE = r"[a-z_][a-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*"
PACKAGE = "odevae.baselines"
# Dimension of a model that has no latents.
WITHOUT_LATENTS = 0
# `latent_dims` of a model that is fitted at every dimension that a benchmark asks for.
ANY = "any"


@dataclass(frozen=True)
class Cell:
    """One model on one split, at one latent dimension (`WITHOUT_LATENTS` if it has none)."""

    dataset: str
    split: int
    reference: str
    latent_dim: int

    @property
    def path(self) -> str:
        """Its scores, below ``results/``."""
        return f"{self.dataset}/heldout/split{self.split}/references/{self.reference}/d{self.latent_dim}.json"


def benchmark_cells(config: dict, benchmark: str) -> list[Cell]:
    """What a benchmark asks for, model by model."""
    settings = config["benchmarks"][benchmark]
    return [
        Cell(dataset, split, reference, latent_dim)
        for dataset, asked in settings["datasets"].items()
        for reference in settings.get("references", config["references"])
        for latent_dim in _dims(config["references"][reference], asked)
        for split in settings["splits"]
    ]


def _dims(reference: dict, asked: list[int]) -> list[int]:
    own = reference["latent_dims"]
    if not own:
        return [WITHOUT_LATENTS]
    return asked if own == ANY else [dim for dim in asked if dim in own]


def check_benchmarks(config: dict) -> None:
    """Refuse a benchmark of what does not exist.

    Raises:
        OdevaeError: if a benchmark names no data set, no model or no covariates of the configuration, or leaves out
            the model that it compares others with.
    """
    for name, settings in config["benchmarks"].items():
        where = f"config: benchmarks.{name}"
        for dataset in settings["datasets"]:
            if dataset not in config["datasets"]:
                raise OdevaeError(
                    f"{where}.datasets names {dataset!r}, which is not under 'datasets'; known: "
                    f"{', '.join(config['datasets'])}."
                )
        if name in config["studies"]:
            raise OdevaeError(f"{where}: a study has this name too, and both would write one table; rename one.")
        chosen = settings.get("references", list(config["references"]))
        for reference in [*chosen, *settings["compare_with"].values()]:
            if reference not in config["references"]:
                raise OdevaeError(
                    f"{where} names {reference!r}, which is not under 'references'; known: "
                    f"{', '.join(config['references'])}."
                )
        for task, reference in settings["compare_with"].items():
            if reference not in chosen:
                raise OdevaeError(
                    f"{where}.compare_with.{task}: {reference} is not among its references; add it there."
                )


def module_file(source_root: Path, place: str) -> Path:
    """The file that holds a model, by its place such as ``linear.PCA``.

    Raises:
        OdevaeError: if there is no such file.
    """
    module = place.partition(".")[0]
    file = source_root / PACKAGE.replace(".", "/") / f"{module}.py"
    if not file.is_file():
        raise OdevaeError(f"config: references: {place}: there is no file {file}; correct the name or add the file.")
    return file


def reference_class(place: str) -> type:
    """The class of a model, by its place such as ``linear.PCA``.

    Raises:
        OdevaeError: if there is no such class, or it is no `Reference`.
    """
    from odevae.baselines.reference import Reference

    if not re.fullmatch(PLACE, place):
        raise OdevaeError(f"{place!r} names no model; give its file and class, such as linear.PCA.")
    module, name = place.split(".")
    found = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name, None)
    if not (isinstance(found, type) and issubclass(found, Reference)):
        raise OdevaeError(
            f"config: references: {place}: src/odevae/baselines/{module}.py has no class {name} that derives from "
            "Reference; docs/adding_a_model.md tells how to write one."
        )
    return found
