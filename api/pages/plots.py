"""Curves, fits and mappings as Bokeh figures.

Arrays in, models out; nothing here reads a database or a request. Whatever comes in, what is
drawn is bounded: too many curves are left out and the page says so, long curves keep their
extremes, and names are text, never markup.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from bokeh.embed import json_item as bokeh_item
from bokeh.models import (
    BasicTickFormatter,
    Column,
    ColumnDataSource,
    HoverTool,
    InlineStyleSheet,
    LayoutDOM,
    Range1d,
)
from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.dom import HTML
from bokeh.models.ui import Pane, UIElement
from bokeh.plotting import figure as new_figure
from bokeh.resources import Resources
from numpy.typing import NDArray

from api.pages.shapes import (
    COLOURS,
    GREY,
    MAX_LINES,
    MAX_PANELS,
    FloatArray,
    Line,
    MappedPoints,
    Panel,
    drawable,
    ends,
    facts,
    ordered,
    short,
    shown,
    thinned,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bokeh.models.renderers import GlyphRenderer

Plot: TypeAlias = new_figure
Renderer: TypeAlias = "GlyphRenderer[Any]"

_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")
_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle")
_FEW = 200
"""Mapped points of a function that have room as large marks."""
_NONE = np.empty(0, dtype=np.intp)

_TEXT_CSS = """
:host { display: block; font: 15px/1.45 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: .6rem 0 .1rem; overflow-wrap: anywhere; }
p { margin: 0 0 .3rem; color: #555; overflow-wrap: anywhere; }
"""
_GRID_CSS = """
:host { display: grid; gap: 12px 24px;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
"""
_LEGEND_CSS = """
:host { width: 0; min-width: calc(100% - 20px); }
.bk-grid { display: flex; flex-wrap: wrap; gap: 0 14px; width: auto; height: auto;
           max-height: 132px; overflow-y: auto; }
"""


@dataclass(frozen=True, slots=True)
class _Curve:
    """A thinned line with its look, and dots for the points that have a gap on both sides."""

    name: str
    colour: str
    dash: str
    x: FloatArray
    y: FloatArray
    line: ColumnDataSource
    dots: ColumnDataSource | None


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A panel as it is drawn, with the sources that it shares with the overview."""

    panel: Panel
    function: _Curve
    marker: str
    training: ColumnDataSource
    band: ColumnDataSource
    points: ColumnDataSource | None
    xs: FloatArray
    ys: FloatArray
    size: int


def dataset_figure(title: str, lines: Sequence[Line], left_out: int) -> LayoutDOM:
    """Draw the curves of a dataset over each other; `left_out` of them were not handed in."""
    curves = [
        _curve(line.name, index, line.x, line.y) for index, line in enumerate(lines[:MAX_LINES])
    ]
    if not curves:
        return _column(_heading(title, ["This dataset has no curves to draw."]))
    notes = [
        shown(len(curves), len(lines) + left_out, "curve"),
        thinned(line.x.size for line in lines),
        _empty(curves),
        _HINT,
    ]
    plot = _figure(
        f"Curves of {title}",
        _range(0.02, *(curve.x for curve in curves)),
        _range(0.05, *(curve.y for curve in curves)),
        height=520,
    )
    entries = [(curve.name, _strokes(plot, curve)) for curve in curves]
    _hover(plot, [one for _, some in entries for one in some], [("curve", "$name"), *_XY])
    _legend(plot, entries)
    return _column(_heading(title, notes), plot)


def fit_figure(title: str, panels: Sequence[Panel], left_out: int) -> LayoutDOM:
    """Draw each training curve with its chosen function and band; `left_out` are not handed in."""
    drawn = [_drawn(panel, index) for index, panel in enumerate(panels[:MAX_PANELS])]
    if not drawn:
        return _column(_heading(title, ["This fit has no matches to draw."]))
    notes = [
        shown(len(drawn), len(panels) + left_out, "training curve"),
        thinned(max(one.panel.x.size, one.panel.grid.size) for one in drawn),
        _HINT,
    ]
    x_range = _range(0.02, *(one.xs for one in drawn))
    return _column(_heading(title, notes), _panels(drawn, x_range))


def mapping_figure(
    title: str, panels: Sequence[Panel], points: MappedPoints, left_out: int, points_left_out: int
) -> LayoutDOM:
    """Draw all chosen functions with the points they admit, then each by itself.

    `left_out` functions and `points_left_out` points were not handed in.
    """
    kept = drawable(points, min(len(panels), MAX_PANELS))
    drawn = [
        _drawn(panel, index, points, kept[points.panel[kept] == index])
        for index, panel in enumerate(panels[:MAX_PANELS])
    ]
    if not drawn and not kept.size:
        return _column(_heading(title, ["This mapping has nothing to draw."]))
    notes = [
        shown(len(drawn), len(panels) + left_out, "chosen function"),
        shown(kept.size, points.x.size + points_left_out, "mark")
        + " A mark is an assignment or an unmapped point.",
        thinned(max(one.panel.x.size, one.panel.grid.size) for one in drawn),
        _HINT,
    ]
    x_range = _range(0.02, points.x[kept], *(one.xs for one in drawn))
    parts: list[UIElement] = [_overview(drawn, points, kept, x_range)]
    if drawn:
        parts.append(_panels(drawn, x_range))
    return _column(_heading(title, notes), *parts)


def json_item(figure: LayoutDOM) -> dict[str, Any]:
    """Give a figure as the JSON that `Bokeh.embed.embed_item` takes; it holds no NaN."""
    return dict(bokeh_item(figure))


def page(figure: LayoutDOM, title: str) -> str:
    """Give a figure as a page that needs nothing else: no server, no CDN."""
    # `<` could end the script element, whatever stands in a name.
    item = json.dumps(json_item(figure), allow_nan=False).replace("<", "\\u003c")
    library = _bokeh_js()
    return _PAGE.format(
        title=escape(title),
        policy=page_policy(),
        library=library,
        item=item,
        start=_START,
    )


_START = """\
Bokeh.embed.embed_item(JSON.parse(document.getElementById("item").textContent), "plot");
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ margin: 0 auto; padding: 16px; max-width: 1400px; background: #fff; color: #222;
       font: 15px/1.45 system-ui, sans-serif; }}
</style>
<script>{library}</script>
</head>
<body>
<noscript>This plot needs JavaScript.</noscript>
<main id="plot"></main>
<script type="application/json" id="item">{item}</script>
<script>{start}</script>
</body>
</html>
"""


@functools.cache
def _bokeh_js() -> str:
    """BokehJS itself, without widgets, tables and WebGL, which no figure here uses."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def page_policy() -> str:
    """Allow the scripts of a page and no other, and no request to anywhere."""
    return _policy(_bokeh_js(), _START)


@functools.cache
def _policy(*scripts: str) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


_HINT = "Click a name in a legend to hide it; the tools beside a plot zoom and save."
_XY = [("x", "@x{%.10g}"), ("y", "@y{%.10g}")]
_POINT = [*_XY, ("row", "@row{%d}"), ("column", "@column")]


def _empty(curves: Iterable[_Curve]) -> str:
    names = [short(curve.name) for curve in curves if np.isnan(curve.y).all()]
    return f"Without a number: {', '.join(names)}." if names else ""


def _look(index: int) -> tuple[str, str, str]:
    """Colour, dash and marker: the colours first, then the same with another dash and marker."""
    turn = index // len(COLOURS)
    colour = COLOURS[index % len(COLOURS)]
    return colour, _DASHES[turn % len(_DASHES)], _MARKERS[turn % len(_MARKERS)]


def _range(pad: float, *values: FloatArray) -> Range1d:
    low, high = ends(pad, *values)
    return Range1d(start=low, end=high)


def _curve(name: str, index: int, x: FloatArray, y: FloatArray) -> _Curve:
    colour, dash, _ = _look(index)
    x, y = ordered(x, y)
    number = np.concatenate([[False], ~np.isnan(y), [False]])
    lonely = number[1:-1] & ~number[:-2] & ~number[2:]
    dots = _source(x[lonely], y[lonely]) if lonely.any() else None
    return _Curve(name, colour, dash, x, y, _source(x, y), dots)


def _source(x: FloatArray, y: FloatArray, **more: Any) -> ColumnDataSource:
    # The columns have fixed names: a curve's name in a hover template would be read as markup.
    return ColumnDataSource({"x": x, "y": y, **more})


def _band(x: FloatArray, g: FloatArray, limit: float) -> tuple[FloatArray, FloatArray]:
    """Outline of g ± limit, one closed path for each stretch without a gap, NaN between them."""
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


def _points(points: MappedPoints, chosen: NDArray[np.intp], **more: object) -> ColumnDataSource:
    return _source(
        points.x[chosen],
        points.y[chosen],
        row=points.row[chosen],
        column=[short(str(points.column[index])) for index in chosen],
        **more,
    )


def _drawn(
    panel: Panel,
    index: int,
    points: MappedPoints | None = None,
    admitted: NDArray[np.intp] = _NONE,
) -> _Drawn:
    function = _curve(f"{panel.training} → {panel.ideal}", index, panel.grid, panel.g)
    x, y = ordered(panel.x, panel.y)
    band_x, band_y = _band(function.x, function.y, panel.limit)
    mapped, mapped_y = None, np.empty(0)
    if points is not None and admitted.size:
        mapped = _points(points, admitted, deviation=points.deviation[admitted])
        mapped_y = points.y[admitted]
    return _Drawn(
        panel=panel,
        function=function,
        marker=_look(index)[2],
        training=_source(x, y),
        band=_source(band_x, band_y),
        points=mapped,
        xs=np.concatenate([x, function.x]),
        ys=np.concatenate([y, function.y, band_y, mapped_y]),
        size=8 if mapped_y.size <= _FEW else 5,
    )


def _overview(
    drawn: Sequence[_Drawn], points: MappedPoints, kept: NDArray[np.intp], x_range: Range1d
) -> Plot:
    """All functions, bands and points in one figure."""
    y_range = _range(0.05, points.y[kept], *(one.ys for one in drawn))
    plot = _figure("Chosen functions and mapped points", x_range, y_range, height=560)
    entries = [(one.function.name, [*_function(plot, one), *_admitted(plot, one)]) for one in drawn]
    unmapped = kept[points.panel[kept] < 0]
    if unmapped.size:
        source = _points(points, unmapped, reason=[points.reason[index] for index in unmapped])
        grey = plot.scatter("x", "y", source=source, marker="x", size=7, line_color=GREY)
        _hover(plot, [grey], [("not mapped", "@reason"), *_POINT])
        entries.append(("not mapped", [grey]))
    _legend(plot, entries)
    return plot


def _panels(drawn: Sequence[_Drawn], x_range: Range1d) -> Column:
    """Panels side by side where the window is wide enough for two; their x axes move together."""
    children: list[UIElement] = []
    for one in drawn:
        plot = _figure(one.function.name, x_range, _range(0.05, one.ys), height=320)
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
        function = _function(plot, one)
        _hover(plot, [dots], [("training curve", "$name"), *_XY])
        band = " ± limit" if np.isfinite(one.panel.limit) else ""
        entries = [
            (f"training {short(one.panel.training)}", [dots]),
            (f"{short(one.panel.ideal)}{band}", function),
        ]
        if admitted := _admitted(plot, one):
            entries.append(("mapped points", admitted))
        _legend(plot, entries)
        children.append(_column(_text(_panel_text(one.panel)), plot))
    return Column(
        children=children,
        sizing_mode="stretch_width",
        stylesheets=[InlineStyleSheet(css=_GRID_CSS)],
    )


def _panel_text(panel: Panel) -> str:
    """Heading of a panel and its numbers."""
    name = escape(f"{panel.training} → {panel.ideal}")
    return f"<h2>{name}</h2><p>{escape(' · '.join(facts(panel)))}</p>"


def _function(plot: Plot, one: _Drawn) -> list[Renderer]:
    """Band and line of a chosen function."""
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
    strokes = _strokes(plot, one.function)
    _hover(plot, strokes, [("function", "$name"), *_XY, _limit(one)])
    return [band, *strokes]


def _admitted(plot: Plot, one: _Drawn) -> list[Renderer]:
    """Points that were mapped to the function."""
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
    _hover(plot, [dots], [("function", "$name"), *_POINT, deviation, _limit(one)])
    return [dots]


def _limit(one: _Drawn) -> tuple[str, str]:
    return ("limit", f"{one.panel.limit:.10g}")


def _strokes(plot: Plot, curve: _Curve) -> list[Renderer]:
    """Line of a curve, and dots where a line would show nothing."""
    colour, name = curve.colour, curve.name
    line = plot.line(
        "x", "y", source=curve.line, name=name, color=colour, line_dash=curve.dash, line_width=1.8
    )
    if curve.dots is None:
        return [line]
    return [line, plot.scatter("x", "y", source=curve.dots, name=name, color=colour, size=5)]


def _figure(label: str, x_range: Range1d, y_range: Range1d, *, height: int) -> Plot:
    # No tool is active at first: dragging and the wheel scroll the page, on a phone too.
    plot = new_figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=x_range,
        y_range=y_range,
        x_axis_label="x",
        y_axis_label="y",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag=None,
        active_scroll=None,
        toolbar_location="right",
        html_attributes={"role": "figure", "aria-label": label},
    )
    plot.toolbar.logo = None
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e6e6e6"
    plot.axis.formatter = BasicTickFormatter(power_limit_high=7)
    plot.axis.axis_line_color = "#888888"
    plot.axis.major_tick_line_color = "#888888"
    plot.axis.minor_tick_line_color = None
    plot.axis.major_label_text_font_size = "12px"
    plot.axis.axis_label_text_font_size = "13px"
    return plot


def _hover(plot: Plot, renderers: Sequence[Renderer], rows: list[tuple[str, str]]) -> None:
    # Points say more than the line below them: they speak to the right, lines to the left.
    plot.add_tools(
        HoverTool(
            renderers=list(renderers),
            tooltips=rows,
            formatters={f"@{name}": "printf" for name in ("x", "y", "deviation", "row")},
            attachment="right" if _POINT[-1] in rows else "left",
            visible=False,
        )
    )


def _legend(plot: Plot, entries: Sequence[tuple[str, Sequence[Renderer]]]) -> None:
    # `value` and not a plain string, which Bokeh might take for the name of a column.
    items = [
        LegendItem(label={"value": short(name, 48)}, renderers=list(renderers))
        for name, renderers in entries
    ]
    legend = Legend(
        items=items,
        click_policy="hide",
        location="top_left",
        orientation="horizontal",
        border_line_color=None,
        label_text_font_size="12px",
        stylesheets=[InlineStyleSheet(css=_LEGEND_CSS)],
    )
    plot.add_layout(legend, "below")


def _heading(title: str, notes: Iterable[str]) -> Pane:
    said = " ".join(filter(None, notes))
    return _text(f"<h1>{escape(title)}</h1><p>{escape(said)}</p>")


def _text(html: str) -> Pane:
    """Text above a plot; `html` is escaped already."""
    return Pane(elements=[HTML(html=html)], stylesheets=[InlineStyleSheet(css=_TEXT_CSS)])


def _column(*children: UIElement) -> Column:
    return Column(children=list(children), sizing_mode="stretch_width")
