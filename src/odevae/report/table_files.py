"""Tables as files: CSV for programs, Markdown and LaTeX for readers.

A cell without a value is None. NaN is a value: a score that is not defined.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from odevae.storage.files import write_bytes


def write_table(table: pd.DataFrame, headings: dict[str, str], path: Path, notes: Sequence[str] = ()) -> None:
    """Write every column to the ``.csv`` `path`; next to it those with a heading, as ``.md`` and ``.tex``.

    The notes are sentences that stand below the table for readers.
    """
    below = "".join(f"\n{note}\n" for note in notes)
    write_bytes(path, csv_text(table).encode())
    write_bytes(path.with_suffix(".md"), (markdown(table, headings) + below).encode())
    # Names of data sets and protocols hold underscores, which LaTeX takes for indices.
    write_bytes(path.with_suffix(".tex"), (latex(table, headings) + below.replace("_", r"\_")).encode())


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV; six significant digits, so that the same values give the same bytes."""
    return table.map(_plain).to_csv(index=False, lineterminator="\n")


def read_csv(path: Path) -> list[dict]:
    """Rows of a CSV file of `write_table`: numbers as floats, empty cells as None."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _parsed(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def markdown(table: pd.DataFrame, headings: dict[str, str]) -> str:
    """The columns that have a heading as a Markdown table, padded so that it also reads in a terminal."""
    return _readable(table, headings).to_markdown(index=False, disable_numparse=True) + "\n"


def latex(table: pd.DataFrame, headings: dict[str, str]) -> str:
    """The columns that have a heading as a LaTeX table for the package booktabs."""
    text = _readable(table, headings).to_latex(index=False, escape=True)
    for plain, formula in (("R2", "$R^2$"), (" ± ", " $\\pm$ "), ("–", "--")):
        text = text.replace(plain, formula)
    return text


def _readable(table: pd.DataFrame, headings: dict[str, str]) -> pd.DataFrame:
    """The cells of the columns that have a heading as text; ``mean ± SD`` where the table has the SD."""
    rows = table.to_dict("records")
    return pd.DataFrame({headings[name]: [cell_text(row, name) for row in rows] for name in headings if name in table})


def cell_text(row: dict, name: str, digits: int = 4) -> str:
    """A cell as a reader sees it: some digits, ``mean ± SD`` where the row has the SD, a dash where it has no value."""
    value = row[name]
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    spread = row.get(f"{name}_sd")
    return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def _plain(value) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _parsed(cell: str) -> float | str | None:
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return cell
