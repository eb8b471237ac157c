"""Curves, fits and mappings as Bokeh figures.

The functions take arrays and return Bokeh models; they read neither a database nor a request. A
plot is bounded: it says how many curves it leaves out, and long curves are thinned but keep their
extremes. Names are text, never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import assert_never

import numpy as np
from bokeh.models import Column, InlineStyleSheet, LayoutDOM, Range1d
from bokeh.models.ui import UIElement
from numpy.typing import NDArray

from api.pages.plot_data import DrawnCurve, DrawnPanel, make_curve, make_points, prepare_panel
from api.pages.plot_parts import (
    POINT_ROWS,
    XY_ROWS,
    Plot,
    Renderer,
    add_hover,
    add_legend,
    draw_curve,
    make_figure,
    make_heading,
    make_range,
    make_text,
    stack,
)
from api.pages.shapes import (
    GREY,
    MAX_LINES,
    MAX_PANELS,
    XY_TITLES,
    DatasetScene,
    FitScene,
    Line,
    MappedPoints,
    MappingScene,
    Panel,
    Scene,
    choose_points,
    describe_panel,
    note_count,
    note_thinning,
    shorten,
)

_HINT = "Click a name in a legend to hide it; the tools beside a plot zoom and save."

_GRID_CSS = """
:host { display: grid; gap: 12px 24px;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
"""


def draw(scene: Scene) -> LayoutDOM:
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


def draw_dataset(
    title: str, lines: Sequence[Line], left_out: int, axes: tuple[str, str] = XY_TITLES
) -> LayoutDOM:
    """Draw the curves of a dataset in one figure; `left_out` more are not among `lines`."""
    curves = [
        make_curve(line.name, index, line.x, line.y) for index, line in enumerate(lines[:MAX_LINES])
    ]
    if not curves:
        return stack(make_heading(title, ["This dataset has no curves to draw."]))
    notes = [
        note_count(len(curves), len(lines) + left_out, "curve"),
        note_thinning(line.size for line in lines),
        _note_empty(curves),
        _HINT,
    ]
    plot = make_figure(
        f"Curves of {title}",
        make_range(0.02, *(curve.x for curve in curves)),
        make_range(0.05, *(curve.y for curve in curves)),
        height=520,
        axes=axes,
    )
    entries = [(curve.name, draw_curve(plot, curve)) for curve in curves]
    add_hover(plot, [one for _, some in entries for one in some], [("curve", "$name"), *XY_ROWS])
    add_legend(plot, entries)
    return stack(make_heading(title, notes), plot)


def draw_fit(title: str, panels: Sequence[Panel], left_out: int) -> LayoutDOM:
    """Draw each training curve with its chosen function and band.

    `left_out` more are not among `panels`.
    """
    drawn = [prepare_panel(panel, index) for index, panel in enumerate(panels[:MAX_PANELS])]
    if not drawn:
        return stack(make_heading(title, ["This fit has no matches to draw."]))
    notes = [
        note_count(len(drawn), len(panels) + left_out, "training curve"),
        note_thinning(one.panel.size for one in drawn),
        _HINT,
    ]
    x_range = make_range(0.02, *(one.xs for one in drawn))
    return stack(make_heading(title, notes), _draw_panels(drawn, x_range))


def draw_mapping(
    title: str, panels: Sequence[Panel], points: MappedPoints, left_out: int, points_left_out: int
) -> LayoutDOM:
    """Draw all chosen functions with the points they admit, then each function by itself.

    `left_out` more functions and `points_left_out` more points are not handed in.
    """
    kept = choose_points(points, min(len(panels), MAX_PANELS))
    drawn = [
        prepare_panel(panel, index, points, kept[points.panel[kept] == index])
        for index, panel in enumerate(panels[:MAX_PANELS])
    ]
    if not drawn and not kept.size:
        return stack(make_heading(title, ["This mapping has nothing to draw."]))
    notes = [
        note_count(len(drawn), len(panels) + left_out, "chosen function"),
        note_count(kept.size, points.x.size + points_left_out, "mark")
        + " A mark is an assignment or an unmapped point.",
        note_thinning(one.panel.size for one in drawn),
        _HINT,
    ]
    x_range = make_range(0.02, points.x[kept], *(one.xs for one in drawn))
    parts: list[UIElement] = [_draw_overview(drawn, points, kept, x_range)]
    if drawn:
        parts.append(_draw_panels(drawn, x_range))
    return stack(make_heading(title, notes), *parts)


def _note_empty(curves: Iterable[DrawnCurve]) -> str:
    """Name the curves that have no number at all; empty if each has one."""
    names = [shorten(curve.name) for curve in curves if np.isnan(curve.y).all()]
    return f"Without a number: {', '.join(names)}." if names else ""


def _draw_overview(
    drawn: Sequence[DrawnPanel], points: MappedPoints, kept: NDArray[np.intp], x_range: Range1d
) -> Plot:
    """Draw all functions, bands and points in one figure."""
    y_range = make_range(0.05, points.y[kept], *(one.ys for one in drawn))
    plot = make_figure("Chosen functions and mapped points", x_range, y_range, height=560)
    entries = [
        (one.function.name, [*_draw_function(plot, one), *_draw_points(plot, one)]) for one in drawn
    ]
    unmapped = kept[points.panel[kept] < 0]
    if unmapped.size:
        source = make_points(points, unmapped, reason=[points.reason[index] for index in unmapped])
        grey = plot.scatter("x", "y", source=source, marker="x", size=7, line_color=GREY)
        add_hover(plot, [grey], [("not mapped", "@reason"), *POINT_ROWS])
        entries.append(("not mapped", [grey]))
    add_legend(plot, entries)
    return plot


def _draw_panels(drawn: Sequence[DrawnPanel], x_range: Range1d) -> Column:
    """Draw panels that share their x range, two in a row where the window is wide enough."""
    children: list[UIElement] = []
    for one in drawn:
        plot = make_figure(one.function.name, x_range, make_range(0.05, one.ys), height=320)
        dots = plot.scatter(
            "x",
            "y",
            source=one.training,
            name=one.panel.training,
            size=4,
            fill_color=GREY,
            fill_alpha=0.6,
            line_color=None,
        )
        function = _draw_function(plot, one)
        add_hover(plot, [dots], [("training curve", "$name"), *XY_ROWS])
        band = " ± limit" if np.isfinite(one.panel.limit) else ""
        entries = [
            (f"training {shorten(one.panel.training)}", [dots]),
            (f"{shorten(one.panel.ideal)}{band}", function),
        ]
        if admitted := _draw_points(plot, one):
            entries.append(("mapped points", admitted))
        add_legend(plot, entries)
        children.append(stack(make_text(_write_panel_text(one.panel)), plot))
    return Column(
        children=children,
        sizing_mode="stretch_width",
        stylesheets=[InlineStyleSheet(css=_GRID_CSS)],
    )


def _write_panel_text(panel: Panel) -> str:
    """Write the heading of a panel and its numbers as HTML."""
    name = escape(f"{panel.training} → {panel.ideal}")
    return f"<h2>{name}</h2><p>{escape(' · '.join(describe_panel(panel)))}</p>"


def _draw_function(plot: Plot, one: DrawnPanel) -> list[Renderer]:
    """Draw the band and the line of a chosen function."""
    colour = one.function.colour
    band = plot.patch(
        "x",
        "y",
        source=one.band,
        fill_color=colour,
        fill_alpha=0.16,
        line_color=colour,
        line_alpha=0.3,
    )
    strokes = draw_curve(plot, one.function)
    add_hover(plot, strokes, [("function", "$name"), *XY_ROWS, _limit_row(one)])
    return [band, *strokes]


def _draw_points(plot: Plot, one: DrawnPanel) -> list[Renderer]:
    """Draw the points that are mapped to the function."""
    if one.points is None:
        return []
    dots = plot.scatter(
        "x",
        "y",
        source=one.points,
        name=one.function.name,
        marker=one.marker,
        size=one.size,
        fill_color=one.function.colour,
        line_color="white",
    )
    deviation = ("deviation", "@deviation{%.10g}")
    add_hover(plot, [dots], [("function", "$name"), *POINT_ROWS, deviation, _limit_row(one)])
    return [dots]


def _limit_row(one: DrawnPanel) -> tuple[str, str]:
    return ("limit", f"{one.panel.limit:.10g}")
