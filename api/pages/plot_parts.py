"""Parts of a Bokeh figure: axes, lines, tooltips, legend and heading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from bokeh.models import (
    BasicTickFormatter,
    Column,
    HoverTool,
    InlineStyleSheet,
    PlainText,
    Range1d,
)
from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.dom import HTML
from bokeh.models.ui import Pane, UIElement
from bokeh.plotting import figure as new_figure

from api.pages.plot_data import DrawnCurve
from api.pages.shapes import XY_TITLES, FloatArray, find_ends, shorten

if TYPE_CHECKING:
    from bokeh.models.renderers import GlyphRenderer

Plot: TypeAlias = new_figure
Renderer: TypeAlias = "GlyphRenderer[Any]"

XY_ROWS = [("x", "@x{%.10g}"), ("y", "@y{%.10g}")]
POINT_ROWS = [*XY_ROWS, ("row", "@row{%d}"), ("column", "@column")]
"""Rows of the tooltips of lines and of mapped points."""


_TEXT_CSS = """
:host { display: block; font: 15px/1.45 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: .6rem 0 .1rem; overflow-wrap: anywhere; }
p { margin: 0 0 .3rem; color: #555; overflow-wrap: anywhere; }
"""
_LEGEND_CSS = """
:host { width: 0; min-width: calc(100% - 20px); }
.bk-grid { display: flex; flex-wrap: wrap; gap: 0 14px; width: auto; height: auto;
           max-height: 132px; overflow-y: auto; }
"""


def make_range(pad: float, *values: FloatArray) -> Range1d:
    """Make the range of an axis that holds all values."""
    low, high = find_ends(pad, *values)
    return Range1d(start=low, end=high)


def draw_curve(plot: Plot, curve: DrawnCurve) -> list[Renderer]:
    """Draw the line of a curve, and dots where a line would show nothing."""
    colour, name = curve.colour, curve.name
    line = plot.line(
        "x", "y", source=curve.line, name=name, color=colour, line_dash=curve.dash, line_width=1.8
    )
    if curve.dots is None:
        return [line]
    return [line, plot.scatter("x", "y", source=curve.dots, name=name, color=colour, size=5)]


def make_figure(
    label: str,
    x_range: Range1d,
    y_range: Range1d,
    *,
    height: int,
    axes: tuple[str, str] = XY_TITLES,
) -> Plot:
    """Make an empty figure with its axes and tools."""
    # No tool is active at first, so that dragging and the wheel scroll the page, on a phone too.
    plot = new_figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=x_range,
        y_range=y_range,
        # A plain string could be taken for a formula.
        x_axis_label=PlainText(text=axes[0]),
        y_axis_label=PlainText(text=axes[1]),
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


def add_hover(plot: Plot, renderers: Sequence[Renderer], rows: list[tuple[str, str]]) -> None:
    """Add tooltips with these rows to lines or points."""
    # Where both are hit, the tooltip of the point is to the right, that of the line to the left.
    plot.add_tools(
        HoverTool(
            renderers=list(renderers),
            tooltips=rows,
            formatters={f"@{name}": "printf" for name in ("x", "y", "deviation", "row")},
            attachment="right" if POINT_ROWS[-1] in rows else "left",
            visible=False,
        )
    )


def add_legend(plot: Plot, entries: Sequence[tuple[str, Sequence[Renderer]]]) -> None:
    """Add a legend that hides an entry when its name is clicked."""
    # A plain string instead of `value` might be taken for the name of a column.
    items = [
        LegendItem(label={"value": shorten(name, 48)}, renderers=list(renderers))
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


def make_heading(title: str, notes: Iterable[str]) -> Pane:
    """Make the title and the notes of a plot; empty notes are left out."""
    text = " ".join(filter(None, notes))
    return make_text(f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def make_text(html: str) -> Pane:
    """Make text above a plot; `html` is escaped already."""
    return Pane(elements=[HTML(html=html)], stylesheets=[InlineStyleSheet(css=_TEXT_CSS)])


def stack(*children: UIElement) -> Column:
    """Put elements below each other."""
    return Column(children=list(children), sizing_mode="stretch_width")
