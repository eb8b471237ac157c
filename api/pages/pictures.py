"""Plots as PNG and SVG, drawn by Matplotlib without a browser, a screen or its global state.

They show the same as `api.pages.plots`, thinned in the same way. Colours come with dashes and
markers, so that a picture can be read in black and white.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import assert_never

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from api.pages.picture_parts import (
    HEAD,
    LEFT,
    RIGHT,
    WIDTH,
    Picture,
    add_entry,
    add_legend,
    draw_band,
    draw_crosses,
    draw_curve,
    draw_marks,
    frame_axes,
    one_at_a_time,
    replace_unprintable,
)
from api.pages.shapes import (
    GREY,
    MAX_LINES,
    MAX_PANELS,
    XY_TITLES,
    DatasetScene,
    FitScene,
    FloatArray,
    Line,
    MappedPoints,
    MappingScene,
    Panel,
    Scene,
    choose_points,
    describe_panel,
    find_ends,
    note_count,
    note_thinning,
    prepare_line,
    shorten,
)

_GAP = 0.75
"""Between two panels of a row, in inches."""
_FIGURE, _PANEL, _PANEL_TEXT = 4.6, 2.4, 0.75
"""Heights of the large axes, of a panel's axes and of the text above them, in inches."""
_PANEL_ROW = _PANEL_TEXT + _PANEL + 0.75
_COLUMNS = 4
"""Curves side by side in the legend of a dataset."""
_ENTRY = 0.155
"""Height of a line of a legend, in inches."""
_HUGE = 1e300
"""Largest value that is drawn; Matplotlib can compute the ticks up to here."""


def draw(scene: Scene) -> Picture:
    """Draw a dataset, a fit or a mapping."""
    match scene:
        case DatasetScene():
            return draw_dataset(scene.title, scene.lines, scene.left_out, scene.axes)
        case FitScene():
            return draw_fit(scene.title, scene.panels, scene.left_out)
        case MappingScene():
            return draw_mapping(
                scene.title, scene.panels, scene.points, scene.left_out, scene.points_left_out
            )
        case _:
            assert_never(scene)


@one_at_a_time
def draw_dataset(
    title: str, lines: Sequence[Line], left_out: int, titles: tuple[str, str] = XY_TITLES
) -> Picture:
    """Draw the curves of a dataset in one figure; `left_out` more are not among `lines`."""
    lines = lines[:MAX_LINES]
    if not lines:
        return _explain(title, "This dataset has no curves to draw.")
    notes = [
        note_count(len(lines), len(lines) + left_out, "curve"),
        note_thinning(line.size for line in lines),
    ]
    legend = _legend_height(len(lines), _COLUMNS)
    page = Picture(title, notes, _FIGURE + legend + 0.6)
    axes = page.axes(LEFT, HEAD, WIDTH - LEFT - RIGHT, _FIGURE)
    drawn = [prepare_line(line.x, line.y) for line in lines]
    frame_axes(
        axes,
        _find_ends(0.02, *(x for x, _ in drawn)),
        _find_ends(0.05, *(y for _, y in drawn)),
        titles,
    )
    for index, (line, (x, y)) in enumerate(zip(lines, drawn, strict=True)):
        draw_curve(axes, index, x, y, line.name)
    add_legend(axes, _COLUMNS, 26)
    return page


@one_at_a_time
def draw_fit(title: str, panels: Sequence[Panel], left_out: int) -> Picture:
    """Draw each training curve with its chosen function and band.

    `left_out` more are not among `panels`.
    """
    drawn = panels[:MAX_PANELS]
    if not drawn:
        return _explain(title, "This fit has no matches to draw.")
    notes = [
        note_count(len(drawn), len(panels) + left_out, "training curve"),
        note_thinning(panel.size for panel in drawn),
    ]
    page = Picture(title, notes, _panels_height(len(drawn)))
    across = _find_ends(0.02, *(v for panel in drawn for v in (panel.x, panel.grid)))
    _draw_panels(page, drawn, across, HEAD, None)
    return page


@one_at_a_time
def draw_mapping(
    title: str, panels: Sequence[Panel], points: MappedPoints, left_out: int, points_left_out: int
) -> Picture:
    """Draw all chosen functions with the points they admit, then each function by itself.

    `left_out` more functions and `points_left_out` more points are not handed in.
    """
    drawn = panels[:MAX_PANELS]
    kept = choose_points(points, len(drawn))
    if not drawn and not kept.size:
        return _explain(title, "This mapping has nothing to draw.")
    notes = [
        note_count(len(drawn), len(panels) + left_out, "chosen function"),
        note_count(kept.size, points.x.size + points_left_out, "mark")
        + " A mark is an assignment or an unmapped point.",
        note_thinning(panel.size for panel in drawn),
    ]
    overview = _FIGURE + _legend_height(len(drawn) + 1, 3) + 0.6
    page = Picture(title, notes, overview + _panels_height(len(drawn)))
    every = [v for panel in drawn for v in (panel.x, panel.grid)]
    across = _find_ends(0.02, points.x[kept], *every)
    axes = page.axes(LEFT, HEAD, WIDTH - LEFT - RIGHT, _FIGURE)
    _draw_overview(axes, drawn, points, kept, across)
    _draw_panels(page, drawn, across, HEAD + overview, (points, kept))
    return page


def _explain(title: str, words: str) -> Picture:
    """Make a picture that says why there is nothing to draw."""
    return Picture(title, [words], 0.2)


def _draw_overview(
    axes: Axes,
    panels: Sequence[Panel],
    points: MappedPoints,
    kept: NDArray[np.intp],
    across: tuple[float, float],
) -> None:
    """Draw all functions, bands and points in one figure."""
    drawn = [_prepare_function(panel) for panel in panels]
    heights = [v for _, g, low, high in drawn for v in (g, low, high)]
    frame_axes(axes, across, _find_ends(0.05, points.y[kept], *heights))
    unmapped = kept[points.panel[kept] < 0]
    if unmapped.size:
        draw_crosses(axes, points.x[unmapped], points.y[unmapped])
    for index, (panel, (x, g, low, high)) in enumerate(zip(panels, drawn, strict=True)):
        draw_band(axes, index, x, low, high)
        draw_curve(axes, index, x, g, None)
        admitted = kept[points.panel[kept] == index]
        draw_marks(axes, index, points.x[admitted], points.y[admitted])
        label = f"{shorten(panel.training, 20)} → {shorten(panel.ideal, 20)}"
        add_entry(axes, index, label, marked=admitted.size > 0)
    add_legend(axes, 3, 44)


def _draw_panels(
    page: Picture,
    panels: Sequence[Panel],
    across: tuple[float, float],
    top: float,
    mapped: tuple[MappedPoints, NDArray[np.intp]] | None,
) -> None:
    """Draw panels, two in a row, each below its name and its numbers."""
    width = (WIDTH - LEFT - RIGHT - _GAP) / 2
    for index, panel in enumerate(panels):
        left = LEFT + (index % 2) * (width + _GAP)
        above = top + (index // 2) * _PANEL_ROW
        name = replace_unprintable(f"{shorten(panel.training)} → {shorten(panel.ideal)}")
        page.text(left, above + 0.2, name, fontsize=10, fontweight="bold")
        numbers = textwrap.fill(" · ".join(describe_panel(panel)), 78)
        page.text(left, above + 0.28, numbers, fontsize=7.5, color="#555555", va="top")
        axes = page.axes(left, above + _PANEL_TEXT, width, _PANEL)
        _draw_panel(axes, index, panel, across, mapped)


def _draw_panel(
    axes: Axes,
    index: int,
    panel: Panel,
    across: tuple[float, float],
    mapped: tuple[MappedPoints, NDArray[np.intp]] | None,
) -> None:
    x, y = prepare_line(panel.x, panel.y)
    grid, g, low, high = _prepare_function(panel)
    admitted = np.empty(0, dtype=np.intp)
    if mapped is not None:
        points, kept = mapped
        admitted = kept[points.panel[kept] == index]
        marks = points.x[admitted], points.y[admitted]
    heights = (y, g, low, high, marks[1]) if mapped is not None else (y, g, low, high)
    frame_axes(axes, across, _find_ends(0.05, *heights))
    axes.plot(x, y, ".", color=GREY, markersize=3, alpha=0.7, label="training curve")
    draw_band(axes, index, grid, low, high)
    draw_curve(axes, index, grid, g, "function ± limit" if np.isfinite(panel.limit) else "function")
    if mapped is not None and admitted.size:
        draw_marks(axes, index, *marks, label="mapped points")
    add_legend(axes, 3, 30)


def _panels_height(count: int) -> float:
    return _PANEL_ROW * -(-count // 2)


def _legend_height(entries: int, columns: int) -> float:
    return _ENTRY * -(-entries // columns)


def _prepare_function(panel: Panel) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Thin a function and the borders of its band: grid, g, lower and upper border.

    The borders are NaN without a finite limit.
    """
    x, g = prepare_line(panel.grid, panel.g)
    limit = panel.limit if np.isfinite(panel.limit) else np.nan
    with np.errstate(over="ignore"):
        return x, g, np.nan_to_num(g - limit, nan=np.nan), np.nan_to_num(g + limit, nan=np.nan)


def _find_ends(pad: float, *values: FloatArray) -> tuple[float, float]:
    """Find the ends of an axis whose ticks can be computed in float64."""
    return find_ends(pad, *(value.clip(-_HUGE, _HUGE) for value in values))
