"""A manifold that can be rotated in a browser."""

import html

import numpy as np

from odevae.plots.colours import GREY

# Plotly would choose a random id; a fixed one gives the same bytes on every call.
ELEMENT_ID = "manifold"
COLOUR_SCALE = "Viridis"
HEIGHT = 720  # pixels; the width is that of the window
DIGITS = 5  # significant, of the coordinates


def interactive_manifold(
    coordinates: np.ndarray, trial: np.ndarray, colour: np.ndarray, colour_label: str, title: str
) -> str:
    """A web page with `rotating_manifold`. It includes plotly.js (about 5 MB) and loads no other file."""
    figure = rotating_manifold(coordinates, trial, colour, colour_label, title)
    if figure is None:
        return _sentence("No latent state of these trials is finite.", title)
    look = {"config": {"displaylogo": False}, "default_height": f"{HEIGHT}px"}
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id=ELEMENT_ID, **look)


def rotating_manifold(coordinates: np.ndarray, trial: np.ndarray, colour: np.ndarray, colour_label: str, title: str):
    """A Plotly figure: a scatter of many trials that can be rotated, and a thin line for each trial.

    All axes have one scale.

    Args:
        coordinates: ``(n, 3)``, each trial's points in order of time; points that are not finite are left out.
        trial: ``(n,)``, id of the trial of each point.
        colour: ``(n,)``, the covariate; points where it is NaN are grey.
        colour_label: name and unit of the covariate.

    Returns:
        None if no point is finite.
    """
    seen = np.isfinite(coordinates).all(axis=1)
    if not seen.any():
        return None
    coordinates, trial, colour = coordinates[seen], trial[seen], np.asarray(colour, dtype=float)[seen]
    names = np.array([f"trial {number}" for number in trial])
    known = np.isfinite(colour)
    # It takes half a second to import, and only this figure needs it.
    import plotly.graph_objects as go

    figure = go.Figure()
    lines, dots = {"mode": "lines", "hoverinfo": "skip"}, {"mode": "markers", "hoverinfo": "text"}
    paths = _xyz(_with_gaps(coordinates, trial))
    figure.add_scatter3d(**paths, name="paths", line={"color": GREY, "width": 1.5}, **lines)
    if not known.all():
        look = {"marker": {"color": GREY, "size": 3}, "text": names[~known].tolist()}
        figure.add_scatter3d(**_xyz(coordinates[~known]), name="not recorded", **look, **dots)
    if known.any():
        label = html.escape(colour_label)
        bar = {"title": {"text": label}, "thickness": 14, "len": 0.7}
        marker = {"color": _rounded(colour[known]), "colorscale": COLOUR_SCALE, "size": 3, "colorbar": bar}
        text = [f"{name}<br>{label}: {value:.4g}" for name, value in zip(names[known], colour[known], strict=True)]
        figure.add_scatter3d(**_xyz(coordinates[known]), name="bins", marker=marker, text=text, **dots)
    axes = {f"{letter}axis": {"title": {"text": f"MDS {number}"}} for number, letter in enumerate("xyz", start=1)}
    figure.update_layout(
        title={"text": html.escape(title).replace("\n", "<br>"), "font": {"size": 14}},
        scene={"aspectmode": "data", "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 0.9}}, **axes},
        height=HEIGHT,
        legend={"x": 0, "y": 1},
        margin={"l": 10, "r": 10, "t": 70, "b": 10},
    )
    return figure


def _with_gaps(coordinates: np.ndarray, trial: np.ndarray) -> np.ndarray:
    """The points with a row of NaN after each trial, which ends its line."""
    gap = np.full((1, 3), np.nan)
    return np.concatenate([part for number in np.unique(trial) for part in (coordinates[trial == number], gap)])


def _xyz(coordinates: np.ndarray) -> dict[str, list]:
    return {letter: _rounded(values) for letter, values in zip("xyz", coordinates.T, strict=True)}


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _sentence(text: str, title: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title></head>'
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></body></html>\n"
    )
