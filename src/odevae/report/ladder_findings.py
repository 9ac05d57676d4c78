"""What the numbers of an audit ladder say, in sentences: every figure in them is computed from the table."""

from collections.abc import Sequence

from odevae.evaluation.audit_ladder import RUNGS
from odevae.protocols.few_trials import FEW_TRIALS
from odevae.report.findings import is_mean
from odevae.report.table_files import cell_text

# The rung without a change, and the one with all of them; the others take one flaw away each.
PUBLISHED, ALL = min(RUNGS), max(RUNGS)


def means_of(rows: Sequence[dict]) -> list[dict]:
    """The mean rows of a ladder that have a score, each with ``change``, its R2 minus that of the rung as published.

    ``change`` is None on that rung, and where the same model has no score as published.
    """
    means = [row for row in rows if is_mean(row) and row["r2"] is not None]
    published = {_model(row): row["r2"] for row in means if row["rung"] == PUBLISHED}
    return [row | {"change": _change(row, published)} for row in means]


def ladder_findings(rows: Sequence[dict]) -> list[str]:
    """Sentences about a ladder: the score as published, how much each flaw moves it, what is left, and on how little.

    Args:
        rows: of the ladder's table, as `table_files.read_csv` gives them.
    """
    means = means_of(rows)
    names = _names(means)
    by_rung: dict[str, dict[str, dict]] = {}
    for row in means:
        by_rung.setdefault(row["rung"], {})[names[_model(row)]] = row
    sentences = []
    if PUBLISHED in by_rung:
        shared, padding = (
            _percents(row[name] for row in by_rung[PUBLISHED].values()) for name in ("shared_trials", "padded_fraction")
        )
        sentences += [
            f"As published, the R2 is {_scores(by_rung[PUBLISHED])}.",
            f"Of the scored sequences, {shared} come from trials that were also trained on; of the scored bins, "
            f"{padding} are padding.",
        ]
    moves = [_move(rung, found, by_rung[PUBLISHED]) for rung, found in by_rung.items() if _is_one_flaw(rung, found)]
    if moves:
        sentences.append(f"One flaw taken away alone moves R2 ({', '.join(by_rung[PUBLISHED])}): {'; '.join(moves)}.")
    if ALL in by_rung:
        sentences.append(f"With all of them taken away, on trials that were not trained on: {_scores(by_rung[ALL])}.")
    runs = [row for row in rows if not is_mean(row)]
    trials = sorted({int(row["test_trials"]) for row in runs})
    counted = f"{trials[0]}" if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    anecdote = "; fewer than five are an anecdote, not a result" if trials[0] < FEW_TRIALS else ""
    sentences.append(f"A run is scored on {counted} {'trial' if trials == [1] else 'trials'}{anecdote}.")
    failed = {(_model(row), row["protocol"], row["split"], row["seed"]) for row in runs if row["status"] != "ok"}
    if failed:
        noun, verb = ("run", "has") if len(failed) == 1 else ("runs", "have")
        sentences.append(f"{len(failed)} {noun} diverged and {verb} no score.")
    return sentences


def _is_one_flaw(rung: str, found: dict[str, dict]) -> bool:
    return rung != ALL and any(row["change"] is not None for row in found.values())


def _move(rung: str, found: dict[str, dict], published: dict[str, dict]) -> str:
    """The change of each model that has a score as published, in their order."""
    changes = [found[name]["change"] if name in found else None for name in published]
    texts = ("–" if change is None else f"{change:+.3f}" for change in changes)
    return f"{', '.join(texts)} by rung {rung} ({next(iter(found.values()))['flaw']})"


def _scores(found: dict[str, dict]) -> str:
    """The score of each model, and whether it is above the best trivial guess on the same values."""
    return "; ".join(
        f"{cell_text(row, 'r2', digits=3)} for {name}, {'above' if row['r2'] > row['reference_r2'] else 'not above'} "
        f"the best trivial guess of {row['reference_r2']:.3f}"
        for name, row in found.items()
    )


def _change(row: dict, published: dict[tuple, float]) -> float | None:
    if row["rung"] == PUBLISHED or _model(row) not in published:
        return None
    return row["r2"] - published[_model(row)]


def _percents(shares) -> str:
    ordered = sorted(shares)
    return " to ".join(dict.fromkeys((f"{ordered[0]:.0%}", f"{ordered[-1]:.0%}")))


def _model(row: dict) -> tuple:
    return row["model"], row["dataset"], row["latent_dim"], row["lambda_smooth"]


def _names(rows: Sequence[dict]) -> dict[tuple, str]:
    """How sentences call each model: by all of its settings that differ between models."""
    models = list(dict.fromkeys(map(_model, rows)))
    differ = [len(set(values)) > 1 for values in zip(*models, strict=True)][1:]
    texts = (" on {}", " D = {:.0f}", " lambda {}")
    return {
        model: model[0]
        + "".join(text.format(value) for text, value, several in zip(texts, model[1:], differ, strict=True) if several)
        for model in models
    }
