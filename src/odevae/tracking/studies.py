"""What the store says of a study or a benchmark as a whole, from the configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from odevae.config.studies import study_runs
from odevae.tracking.names import names_of_fits, names_of_folds, names_of_runs

# Settings against which scores are drawn.
SWEPT = ("seed", "latent_dim", "lambda_smooth")


@dataclass(frozen=True)
class TrackedStudy:
    """One study or benchmark, as an experiment of the store.

    Attributes:
        name: of the study and the experiment.
        asks: one sentence, what the study asks.
        settings: of the study in the configuration.
        labels: short name of each run by the name that it is found by, in the order of the study's table.
        varied: of a study, names of the settings that differ between its runs.
        tasks: of a benchmark, the names of the tasks that its table has; empty if they are not known yet.
        benchmark: whether it is one.
    """

    name: str
    asks: str = ""
    settings: dict = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    benchmark: bool = False

    def description(self, found: str = "", parent_id: str = "") -> str:
        """What the UI shows on the page of the experiment, in Markdown.

        Args:
            found: what came out; empty until there is a table.
            parent_id: the run that has the figure of a study among its artifacts.
        """
        figure = f"![The figure of the study](get-artifact?path=figures/{self.name}.png&run_uuid={parent_id})"
        folder = "/" if self.benchmark else ".png"
        parts = [
            self.asks,
            found or "There is no table yet; runs appear below while they are trained.",
            figure if found and parent_id and not self.benchmark else "",
            f"Table: `results/tables/{self.name}.csv`. Figures: `results/figures/{self.name}{folder}`. "
            f"Page: `make report STUDY={self.name}`. Again: `snakemake --cores all results/tables/{self.name}.csv`.",
        ]
        return "\n\n".join(part for part in parts if part)


def tracked_study(config: dict, study: str) -> TrackedStudy:
    """A study of the configuration."""
    keys = study_runs(config, study)
    seeds = len({key.seed for key in keys})
    asks = (
        f"How well do latent neural-ODE models ({_listed(key.model for key in keys)}; D = "
        f"{_listed(key.latent_dim for key in keys)}) predict trials of {_listed(key.dataset for key in keys)}, scored "
        f"under {_listed(key.protocol for key in keys)}, with {seeds} {'seed' if seeds == 1 else 'seeds'}?"
    )
    labels = names_of_runs(keys) | names_of_folds(config, study)
    varied = tuple(name for name in SWEPT if len({getattr(key, name) for key in keys}) > 1)
    return TrackedStudy(study, asks, config["studies"][study], labels, varied)


def tracked_benchmark(
    config: dict,
    benchmark: str,
    fits: Mapping[str, tuple[str, int, str, int]] | None = None,
    tasks: Iterable[str] = (),
) -> TrackedStudy:
    """A benchmark of the configuration.

    Args:
        config: the whole configuration.
        benchmark: its name.
        fits: data set, split, model and latent dimension (0 for none) of each fit by its name, in the order of the
            table.
        tasks: see `TrackedStudy`.
    """
    settings = config["benchmarks"][benchmark]
    n_splits = len(settings["splits"])
    asks = (
        f"Which models predict held-out trials of {_listed(settings['datasets'])} best, on the same "
        f"{'split' if n_splits == 1 else f'{n_splits} splits'} and tasks?"
    )
    return TrackedStudy(benchmark, asks, settings, names_of_fits(fits or {}), tasks=tuple(tasks), benchmark=True)


def _listed(values: Iterable) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
