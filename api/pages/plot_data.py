"""Curves and panels as Bokeh data sources, thinned and with their colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from numpy.typing import NDArray

from api.pages.shapes import (
    COLOURS,
    MOST_LARGE_MARKS,
    FloatArray,
    MappedPoints,
    Panel,
    find_lonely,
    prepare_line,
    shorten,
)

_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")
_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle")
_NONE = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """A thinned line with its look, and dots for the points that stand alone."""

    name: str
    colour: str
    dash: str
    x: FloatArray
    y: FloatArray
    line: ColumnDataSource
    dots: ColumnDataSource | None


@dataclass(frozen=True, slots=True)
class DrawnPanel:
    """A panel with the data sources that it shares with the overview."""

    panel: Panel
    function: DrawnCurve
    marker: str
    training: ColumnDataSource
    band: ColumnDataSource
    points: ColumnDataSource | None
    xs: FloatArray
    ys: FloatArray
    size: int


def make_curve(name: str, index: int, x: FloatArray, y: FloatArray) -> DrawnCurve:
    """Make the line of a curve; `index` chooses its colour and dash."""
    colour, dash, _ = _choose_look(index)
    x, y = prepare_line(x, y)
    lonely = find_lonely(y)
    dots = make_source(x[lonely], y[lonely]) if lonely.any() else None
    return DrawnCurve(name, colour, dash, x, y, make_source(x, y), dots)


def prepare_panel(
    panel: Panel,
    index: int,
    points: MappedPoints | None = None,
    admitted: NDArray[np.intp] = _NONE,
) -> DrawnPanel:
    """Make the sources of a panel; `admitted` are the points that its function admits."""
    function = make_curve(f"{panel.training} → {panel.ideal}", index, panel.grid, panel.g)
    x, y = prepare_line(panel.x, panel.y)
    band_x, band_y = _outline_band(function.x, function.y, panel.limit)
    mapped, mapped_y = None, np.empty(0)
    if points is not None and admitted.size:
        mapped = make_points(points, admitted, deviation=points.deviation[admitted])
        mapped_y = points.y[admitted]
    return DrawnPanel(
        panel=panel,
        function=function,
        marker=_choose_look(index)[2],
        training=make_source(x, y),
        band=make_source(band_x, band_y),
        points=mapped,
        xs=np.concatenate([x, function.x]),
        ys=np.concatenate([y, function.y, band_y, mapped_y]),
        size=8 if mapped_y.size <= MOST_LARGE_MARKS else 5,
    )


def make_points(points: MappedPoints, chosen: NDArray[np.intp], **more: object) -> ColumnDataSource:
    """Make the source of mapped points with the columns that their tooltips show."""
    return make_source(
        points.x[chosen],
        points.y[chosen],
        row=points.row[chosen],
        column=[shorten(str(points.column[index])) for index in chosen],
        **more,
    )


def make_source(x: FloatArray, y: FloatArray, **more: Any) -> ColumnDataSource:
    """Make a data source of x, y and further columns."""
    # The columns have fixed names: Bokeh would read a curve's name in a tooltip as markup.
    return ColumnDataSource({"x": x, "y": y, **more})


def _outline_band(x: FloatArray, g: FloatArray, limit: float) -> tuple[FloatArray, FloatArray]:
    """Outline g ± limit: one closed path for each stretch without a gap, NaN between them."""
    paths_x, paths_y = [np.empty(0)], [np.empty(0)]
    if np.isfinite(limit):
        with np.errstate(over="ignore"):
            upper = np.nan_to_num(g + limit, nan=np.nan)
            lower = np.nan_to_num(g - limit, nan=np.nan)
        number = np.concatenate([[0], ~np.isnan(g), [0]])
        for start, stop in np.flatnonzero(np.diff(number)).reshape(-1, 2):
            run = slice(start, stop)
            paths_x += [x[run], x[run][::-1], np.array([np.nan])]
            paths_y += [upper[run], lower[run][::-1], np.array([np.nan])]
    return np.concatenate(paths_x), np.concatenate(paths_y)


def _choose_look(index: int) -> tuple[str, str, str]:
    """Choose colour, dash and marker; after the last colour, dash and marker change."""
    turn = index // len(COLOURS)
    colour = COLOURS[index % len(COLOURS)]
    return colour, _DASHES[turn % len(_DASHES)], _MARKERS[turn % len(_MARKERS)]
