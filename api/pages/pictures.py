"""Plots as PNG and SVG, drawn by Matplotlib without a browser, a screen or its global state.

The same as `api.pages.plots` shows: what is thinned and left out there is here too. Colours come
with dashes and markers, so that a picture can be read in black and white.
"""

from __future__ import annotations

import functools
import io
import textwrap
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from api.pages.shapes import (
    COLOURS,
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

Format = Literal["png", "svg"]

_HUGE = 1e300
DPI = 130
WIDTH = 10.0
"""Of a picture, in inches."""

_LEFT, _RIGHT, _GAP = 0.8, 0.25, 0.75
_HEAD, _FOOT = 0.85, 0.15
_COLUMNS = 4
"""Curves side by side in the legend of a dataset."""
_ENTRY = 0.155
"""Height of a line of a legend, in inches."""
_FIGURE, _PANEL, _PANEL_TEXT = 4.6, 2.4, 0.75
"""Heights of the large axes, of a panel's axes and of the words above them, in inches."""

_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "*")
_INK, _PALE, _GREY = "#222222", "#e6e6e6", "#6b6b6b"

_LOCK = threading.Lock()

# What the user who runs the server has set for pictures of their own shall not show.
mpl.rcdefaults()
# The same request gives the same bytes.
mpl.rcParams["svg.hashsalt"] = "idealfit"


P = ParamSpec("P")
R = TypeVar("R")


def _one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Matplotlib promises nothing to threads, and one picture has the memory of one."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK:
            return function(*args, **kwargs)

    return wrapper


@_one_at_a_time
def dataset_picture(title: str, lines: Sequence[Line], left_out: int) -> Picture:
    """Draw the curves of a dataset over each other; `left_out` of them were not handed in."""
    lines = lines[:MAX_LINES]
    if not lines:
        return _words(title, "This dataset has no curves to draw.")
    notes = [shown(len(lines), len(lines) + left_out, "curve"), thinned(_sizes(lines))]
    legend = _rows(len(lines), _COLUMNS)
    page = Picture(title, notes, _FIGURE + legend + 0.6)
    axes = page.axes(_LEFT, _HEAD, WIDTH - _LEFT - _RIGHT, _FIGURE)
    drawn = [ordered(line.x, line.y) for line in lines]
    _frame(axes, _ends(0.02, *(x for x, _ in drawn)), _ends(0.05, *(y for _, y in drawn)))
    for index, (line, (x, y)) in enumerate(zip(lines, drawn, strict=True)):
        _curve(axes, index, x, y, line.name)
    _legend(axes, _COLUMNS, 26)
    return page


@_one_at_a_time
def fit_picture(title: str, panels: Sequence[Panel], left_out: int) -> Picture:
    """Draw each training curve with its chosen function and band."""
    drawn = panels[:MAX_PANELS]
    if not drawn:
        return _words(title, "This fit has no matches to draw.")
    notes = [
        shown(len(drawn), len(panels) + left_out, "training curve"),
        thinned(max(panel.x.size, panel.grid.size) for panel in drawn),
    ]
    page = Picture(title, notes, _panels_height(len(drawn)))
    across = _ends(0.02, *(v for panel in drawn for v in (panel.x, panel.grid)))
    _draw_panels(page, drawn, across, _HEAD, None)
    return page


@_one_at_a_time
def mapping_picture(
    title: str, panels: Sequence[Panel], points: MappedPoints, left_out: int, points_left_out: int
) -> Picture:
    """Draw all chosen functions with the points they admit, then each by itself."""
    drawn = panels[:MAX_PANELS]
    kept = drawable(points, len(drawn))
    if not drawn and not kept.size:
        return _words(title, "This mapping has nothing to draw.")
    notes = [
        shown(len(drawn), len(panels) + left_out, "chosen function"),
        shown(kept.size, points.x.size + points_left_out, "mark")
        + " A mark is an assignment or an unmapped point.",
        thinned(max(panel.x.size, panel.grid.size) for panel in drawn),
    ]
    overview = _FIGURE + _rows(len(drawn) + 1, 3) + 0.6
    page = Picture(title, notes, overview + _panels_height(len(drawn)))
    every = [v for panel in drawn for v in (panel.x, panel.grid)]
    across = _ends(0.02, points.x[kept], *every)
    axes = page.axes(_LEFT, _HEAD, WIDTH - _LEFT - _RIGHT, _FIGURE)
    _draw_overview(axes, drawn, points, kept, across)
    _draw_panels(page, drawn, across, _HEAD + overview, (points, kept))
    return page


class Picture:
    """A figure that is laid out in inches from its top."""

    def __init__(self, title: str, notes: Iterable[str], height: float) -> None:
        self.height = _HEAD + height + _FOOT
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI, facecolor="white")
        self.title = title
        self.text(_LEFT, 0.32, _printable(short(title, 72)), fontsize=14, fontweight="bold")
        note = " ".join(filter(None, notes))
        self.text(_LEFT, 0.42, textwrap.fill(note, 120), fontsize=8.5, color="#555555", va="top")

    def text(self, left: float, top: float, words: str, **look: Any) -> None:
        place = (left / WIDTH, 1 - top / self.height)
        # A dollar sign in a name is a dollar sign.
        self.figure.text(*place, words, parse_math=False, **{"color": _INK, **look})

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = 1 - (top + height) / self.height
        place = (left / WIDTH, bottom, width / WIDTH, height / self.height)
        return self.figure.add_axes(place)

    @_one_at_a_time
    def save(self, kind: Format) -> bytes:
        """The bytes of the picture, without a date."""
        out = io.BytesIO()
        if kind == "svg":
            metadata = {"Date": None, "Creator": None, "Title": _without_controls(self.title)}
            canvas: Any = FigureCanvasSVG(self.figure)
            canvas.print_svg(out, metadata=metadata)
        else:
            canvas = FigureCanvasAgg(self.figure)
            canvas.print_png(out, metadata={"Software": None})
        return out.getvalue()


def _words(title: str, words: str) -> Picture:
    """A picture that says why there is none."""
    return Picture(title, [words], 0.2)


def _draw_overview(
    axes: Axes,
    panels: Sequence[Panel],
    points: MappedPoints,
    kept: NDArray[np.intp],
    across: tuple[float, float],
) -> None:
    """All functions, bands and points in one figure."""
    drawn = [_function(panel) for panel in panels]
    heights = [v for _, g, low, high in drawn for v in (g, low, high)]
    _frame(axes, across, _ends(0.05, points.y[kept], *heights))
    unmapped = kept[points.panel[kept] < 0]
    if unmapped.size:
        _crosses(axes, points.x[unmapped], points.y[unmapped])
    for index, (panel, (x, g, low, high)) in enumerate(zip(panels, drawn, strict=True)):
        _band(axes, index, x, low, high)
        _curve(axes, index, x, g, None)
        admitted = kept[points.panel[kept] == index]
        _marks(axes, index, points.x[admitted], points.y[admitted])
        label = f"{short(panel.training, 20)} → {short(panel.ideal, 20)}"
        _entry(axes, index, label, marked=admitted.size > 0)
    _legend(axes, 3, 44)


def _draw_panels(
    page: Picture,
    panels: Sequence[Panel],
    across: tuple[float, float],
    top: float,
    mapped: tuple[MappedPoints, NDArray[np.intp]] | None,
) -> None:
    """Panels two in a row, each under its name and its numbers."""
    width = (WIDTH - _LEFT - _RIGHT - _GAP) / 2
    for index, panel in enumerate(panels):
        left = _LEFT + (index % 2) * (width + _GAP)
        above = top + (index // 2) * _PANEL_ROW
        name = _printable(f"{short(panel.training)} → {short(panel.ideal)}")
        page.text(left, above + 0.2, name, fontsize=10, fontweight="bold")
        numbers = textwrap.fill(" · ".join(facts(panel)), 78)
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
    x, y = ordered(panel.x, panel.y)
    grid, g, low, high = _function(panel)
    admitted = np.empty(0, dtype=np.intp)
    if mapped is not None:
        points, kept = mapped
        admitted = kept[points.panel[kept] == index]
        marks = points.x[admitted], points.y[admitted]
    heights = (y, g, low, high, marks[1]) if mapped is not None else (y, g, low, high)
    _frame(axes, across, _ends(0.05, *heights))
    axes.plot(x, y, ".", color=_GREY, markersize=3, alpha=0.7, label="training curve")
    _band(axes, index, grid, low, high)
    _curve(axes, index, grid, g, "function ± limit" if np.isfinite(panel.limit) else "function")
    if mapped is not None and admitted.size:
        _marks(axes, index, *marks, label="mapped points")
    _legend(axes, 3, 30)


_PANEL_ROW = _PANEL_TEXT + _PANEL + 0.75


def _panels_height(count: int) -> float:
    return _PANEL_ROW * -(-count // 2)


def _rows(entries: int, columns: int) -> float:
    return _ENTRY * -(-entries // columns)


def _sizes(lines: Sequence[Line]) -> Iterable[int]:
    return (line.x.size for line in lines)


def _function(panel: Panel) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Grid, function, and both borders of its band, thinned; no band without a finite limit."""
    x, g = ordered(panel.grid, panel.g)
    limit = panel.limit if np.isfinite(panel.limit) else np.nan
    with np.errstate(over="ignore"):
        return x, g, np.nan_to_num(g - limit, nan=np.nan), np.nan_to_num(g + limit, nan=np.nan)


def _ends(pad: float, *values: FloatArray) -> tuple[float, float]:
    """Ends of an axis whose ticks can be computed in float64."""
    return ends(pad, *(value.clip(-_HUGE, _HUGE) for value in values))


def _frame(axes: Axes, across: tuple[float, float], up: tuple[float, float]) -> None:
    axes.set_xlim(across)
    axes.set_ylim(up)
    axes.set_xlabel("x", fontsize=9, color=_INK, labelpad=1)
    axes.set_ylabel("y", fontsize=9, color=_INK, labelpad=5)
    axes.tick_params(labelsize=8, color="#888888", labelcolor=_INK)
    axes.grid(color=_PALE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#888888")


def _look(index: int) -> dict[str, Any]:
    """Colour and dash; each repeats, but not both together before 35 curves."""
    colour = COLOURS[index % len(COLOURS)]
    return {"color": colour, "linestyle": _DASHES[index % len(_DASHES)], "linewidth": 1.4}


def _marker(index: int) -> dict[str, Any]:
    return {
        "marker": _MARKERS[index % len(_MARKERS)],
        "markerfacecolor": COLOURS[index % len(COLOURS)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _curve(axes: Axes, index: int, x: FloatArray, y: FloatArray, label: str | None) -> None:
    """A line, with dots where numbers have a gap on both sides and a line would show nothing."""
    label = None if label is None else _label(short(label))
    axes.plot(x, y, **_look(index), label=label)
    number = np.concatenate([[False], ~np.isnan(y), [False]])
    lonely = number[1:-1] & ~number[:-2] & ~number[2:]
    axes.plot(x[lonely], y[lonely], ".", color=COLOURS[index % len(COLOURS)], markersize=4)


def _band(axes: Axes, index: int, x: FloatArray, low: FloatArray, high: FloatArray) -> None:
    colour = COLOURS[index % len(COLOURS)]
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    for border in (low, high):
        axes.plot(x, border, color=colour, alpha=0.5, linewidth=0.6)


def _marks(axes: Axes, index: int, x: FloatArray, y: FloatArray, label: str | None = None) -> None:
    size = 6 if x.size <= _FEW else 4
    axes.plot(x, y, linestyle="none", markersize=size, label=label, **_marker(index))


_FEW = 200
"""Mapped points of a function that have room as large marks."""


def _crosses(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    look: dict[str, Any] = {"color": "#333333", "markersize": 5, "markeredgewidth": 1.0}
    axes.plot(x, y, marker="x", linestyle="none", label="not mapped", **look)


def _entry(axes: Axes, index: int, label: str, *, marked: bool) -> None:
    """An entry of the legend with line and mark together."""
    mark: dict[str, Any] = {**_marker(index), "markersize": 6} if marked else {}
    axes.plot([], [], **_look(index), **mark, label=_label(label))


def _label(text: str) -> str:
    """Text for a legend, where Matplotlib leaves out what begins with an underscore."""
    return _printable(f" {text}" if text.startswith("_") else text)


def _legend(axes: Axes, columns: int, length: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    # What is not mapped comes last.
    order = sorted(range(len(labels)), key=lambda place: labels[place] == "not mapped")
    legend = axes.legend(
        [handles[place] for place in order],
        [short(labels[place], length) for place in order],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0,
        bbox_transform=_below(axes),
        ncols=columns,
        fontsize=8,
        frameon=False,
        handlelength=3.0,
        columnspacing=1.2,
        labelspacing=0.35,
        borderpad=0,
    )
    text: Text
    for text in legend.get_texts():
        text.set_parse_math(False)


def _below(axes: Axes) -> Any:
    """Coordinates whose origin is under the words of the x axis."""
    figure: Any = axes.get_figure()
    return axes.transAxes + ScaledTranslation(0, -0.42, figure.dpi_scale_trans)


def _without_controls(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _printable(text: str) -> str:
    """Text in the letters that our font has; any other is shown as the sign for that."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if ord(c) in known else "\N{REPLACEMENT CHARACTER}" for c in text)
