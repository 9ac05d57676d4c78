"""Names of runs that every list of the MLflow UI shows whole, and that distinguish the runs of one experiment."""

from collections.abc import Mapping, Sequence

from odevae.config.studies import SPLIT_BY_SEED, study_folds
from odevae.storage.run_folder import RunKey

# Characters of a run's name that the UI shows in its lists.
LONGEST = 24

# What a name is put together from, the most important first: the text of a part, and a shorter one.
Parts = Sequence[tuple[str, str]]


def names_of_runs(keys: Sequence[RunKey]) -> dict[str, str]:
    """A short name for each run of a study by its folder, such as ``v1 seed 777 published``."""
    return short_names({key.path: _parts_of_run(key) for key in keys})


def names_of_folds(config: dict, study: str) -> dict[str, str]:
    """The same for each fold of a study."""
    folds = [(folder, folder.split("/")) for folder in study_folds(config, study)]
    return short_names(
        {
            folder: [
                ("fold", "fold"),
                _protocol(protocol),
                _split(split.removeprefix("split")),
                _same(inputs),
                _same(dataset),
            ]
            for folder, (dataset, protocol, split, inputs) in folds
        }
    )


def names_of_fits(fits: Mapping[str, tuple[str, int, str, int]]) -> dict[str, str]:
    """The same for each fit of a benchmark, given its data set, split, model and latent dimension."""
    return short_names(
        {
            name: [_same(model), _same(f"D{dim}" if dim else ""), _split(split), _same(dataset)]
            for name, (dataset, split, model, dim) in fits.items()
        }
    )


def short_names(runs: Mapping[str, Parts]) -> dict[str, str]:
    """Names of at most `LONGEST` characters, all different.

    A name has the parts that distinguish the runs, in their shorter form where the longer one does not fit, and as many
    of the other parts as fit. Where that is not enough, it is cut, and it begins with the number of the run in the
    order given.
    """
    needed = _needed(runs)
    for form in (0, 1):
        chosen = needed
        if _fit(_names(runs, chosen, form)):
            for i in range(_n_parts(runs)):
                more = sorted({*chosen, i})
                chosen = more if _fit(_names(runs, more, form)) else chosen
            return _names(runs, chosen, form)
    width = len(str(len(runs)))
    numbered = enumerate(_names(runs, needed, 1).items(), start=1)
    return {run: f"{number:0{width}} {name}"[:LONGEST] for number, (run, name) in numbered}


def _names(runs: Mapping[str, Parts], chosen: Sequence[int], form: int) -> dict[str, str]:
    return {run: " ".join(parts[i][form] for i in chosen if parts[i][form]) for run, parts in runs.items()}


def _fit(names: dict[str, str]) -> bool:
    return all(len(name) <= LONGEST for name in names.values()) and len(set(names.values())) == len(names)


def _n_parts(runs: Mapping[str, Parts]) -> int:
    return len(next(iter(runs.values()), ()))


def _needed(runs: Mapping[str, Parts]) -> list[int]:
    """The first part, and each later one that distinguishes more runs."""
    chosen, n_different = [0], 0
    for i in range(_n_parts(runs)):
        columns = sorted({*chosen, i})
        n_now = len({tuple(parts[column][0] for column in columns) for parts in runs.values()})
        if n_now > n_different:
            chosen, n_different = columns, n_now
    return chosen


def _parts_of_run(key: RunKey) -> Parts:
    return [
        _same(key.model),
        _same(f"D{key.latent_dim}"),
        (f"seed {key.seed}", f"s{key.seed}"),
        _protocol(key.protocol),
        # Elsewhere the split is the seed.
        ("", "") if key.protocol in SPLIT_BY_SEED else _split(key.split),
        _same(key.lambda_smooth),
        _same(key.dataset),
    ]


def _same(text: str) -> tuple[str, str]:
    return text, text


def _protocol(protocol: str) -> tuple[str, str]:
    return protocol, protocol.replace("published_", "pub_")


def _split(split: int | str) -> tuple[str, str]:
    return f"split {split}", f"k{split}"
