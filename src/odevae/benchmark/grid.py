"""Which models a benchmark compares, on which splits and dimensions, and the file that each comparison leaves."""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from odevae.config.studies import lacking_covariates
from odevae.errors import OdevaeError

# A model's file and class, below `odevae.benchmark.models`.
PLACE = r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?\.[A-Za-z_][A-Za-z0-9_]*"
PACKAGE = "odevae.benchmark.models"
# Dimension of a model that has no latents.
WITHOUT_LATENTS = 0
DIMS_JOINED_BY = "-"
# `latent_dims` of a model that is fitted at every dimension of a benchmark.
ANY = "any"


@dataclass(frozen=True)
class Cell:
    """One model on one split, at some latent dimensions (`WITHOUT_LATENTS` alone if it has none)."""

    dataset: str
    split: int
    model: str
    latent_dims: tuple[int, ...]

    @classmethod
    def at(cls, path: str) -> "Cell":
        """The cell of a path that `path` gave."""
        dataset, _, split, _, model, latent_dims = path.removesuffix(".json").split("/")
        dims = latent_dims.removeprefix("d").split(DIMS_JOINED_BY)
        return cls(dataset, int(split.removeprefix("split")), model, tuple(map(int, dims)))

    @property
    def path(self) -> str:
        """Its scores, below ``results/``."""
        return f"{self.folder}/d{DIMS_JOINED_BY.join(map(str, self.latent_dims))}.json"

    @property
    def fits(self) -> dict[str, int]:
        """The dimension of each fit, by its name in MLflow."""
        return {f"{self.folder}/d{dim}": dim for dim in self.latent_dims}

    @property
    def folder(self) -> str:
        return f"{self.dataset}/heldout/split{self.split}/benchmark_models/{self.model}"


def named_fits(cells: Iterable[Cell]) -> dict[str, tuple[str, int, str, int]]:
    """Data set, split, model and dimension of each fit of some cells, by its name in MLflow."""
    return {name: (cell.dataset, cell.split, cell.model, dim) for cell in cells for name, dim in cell.fits.items()}


def fits_of(content: dict) -> list[dict]:
    """What the file of a cell holds for each dimension: its entries, with ``latent_dim``, ``fit_s`` and ``scores``."""
    shared = {name: value for name, value in content.items() if name != "fits"}
    return [shared | fit for fit in content["fits"]]


def benchmark_cells(config: dict, benchmark: str) -> list[Cell]:
    """The cells of a benchmark, model by model, without the models that `left_out` names."""
    settings = config["benchmarks"][benchmark]
    return [
        Cell(dataset, split, model, latent_dims)
        for dataset, asked in settings["datasets"].items()
        for model in settings.get("models", config["benchmark_models"])
        if not lacking_covariates(config, dataset, model)
        and (latent_dims := _dims(config["benchmark_models"][model], asked))
        for split in settings["splits"]
    ]


def left_out(config: dict, benchmark: str) -> list[str]:
    """A sentence for each data set of a benchmark and each model that cannot be fitted on it."""
    settings = config["benchmarks"][benchmark]
    return [
        f"{benchmark}: without {model} on {dataset}, because datasets.{dataset} names no covariate "
        f"{' and '.join(lacking)} in decode or colour_by."
        for dataset in settings["datasets"]
        for model in settings.get("models", config["benchmark_models"])
        if (lacking := lacking_covariates(config, dataset, model))
    ]


def _dims(model: dict, asked: list[int]) -> tuple[int, ...]:
    own = model["latent_dims"]
    if not own:
        return (WITHOUT_LATENTS,)
    return tuple(dim for dim in asked if own == ANY or dim in own)


def module_file(source_root: Path, place: str) -> Path:
    """The file that holds a model, by its place such as ``linear.PCA``.

    Raises:
        OdevaeError: if there is no such file.
    """
    module = place.rpartition(".")[0]
    file = source_root.joinpath(*PACKAGE.split("."), *module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise OdevaeError(
            f"config: benchmark_models: {place}: there is no file {file}; correct the name or add the file."
        )
    return file


def model_class(place: str) -> type:
    """The class of a model, by its place such as ``linear.PCA``.

    Raises:
        OdevaeError: if there is no such file or class, or it is no `BenchmarkModel`.
    """
    from odevae.benchmark.models.benchmark_model import BenchmarkModel

    if not re.fullmatch(PLACE, place):
        raise OdevaeError(f"{place!r} names no model; give its file and class, such as linear.PCA.")
    module_file(Path(__file__).parents[2], place)
    module, _, name = place.rpartition(".")
    try:
        found = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name, None)
    except ModuleNotFoundError as error:
        if not f"{PACKAGE}.{module}".startswith(str(error.name)):
            raise
        found = None
    if not (isinstance(found, type) and issubclass(found, BenchmarkModel)):
        raise OdevaeError(
            f"config: benchmark_models: {place}: {module.replace('.', '/')}.py in src/odevae/benchmark/models has "
            f"no class {name} that derives from BenchmarkModel; docs/adding_a_model.md shows how to write one."
        )
    return found
