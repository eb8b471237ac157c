"""Parts of a picture drawn by Matplotlib: its axes, lines, marks, legend and text."""

from __future__ import annotations

import functools
import io
import textwrap
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from api.pages.shapes import (
    COLOURS,
    MOST_LARGE_MARKS,
    XY_TITLES,
    FloatArray,
    find_lonely,
    shorten,
)

Format = Literal["png", "svg"]

DPI = 130
WIDTH = 10.0
"""Width of a picture, in inches."""

LEFT, RIGHT = 0.8, 0.25
HEAD, _FOOT = 0.85, 0.15
"""Margins, in inches; the title and the notes are in the one at the top."""

_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "*")
_INK, _PALE = "#222222", "#e6e6e6"

_LOCK = threading.Lock()

# Settings of the user who runs the server must not change the pictures.
mpl.rcdefaults()
# The same request gives the same bytes.
mpl.rcParams["svg.hashsalt"] = "idealfit"


P = ParamSpec("P")
R = TypeVar("R")


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Let one thread at a time call a function.

    Matplotlib is not safe for threads, and so only one picture takes memory.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK:
            return function(*args, **kwargs)

    return wrapper


class Picture:
    """A figure whose parts are placed in inches from its top left corner."""

    def __init__(self, title: str, notes: Iterable[str], height: float) -> None:
        self.height = HEAD + height + _FOOT
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI, facecolor="white")
        self.title = title
        self.text(
            LEFT, 0.32, replace_unprintable(shorten(title, 72)), fontsize=14, fontweight="bold"
        )
        note = " ".join(filter(None, notes))
        self.text(LEFT, 0.42, textwrap.fill(note, 120), fontsize=8.5, color="#555555", va="top")

    def text(self, left: float, top: float, words: str, **look: Any) -> None:
        """Put text at a place."""
        place = (left / WIDTH, 1 - top / self.height)
        # A dollar sign in a name is a dollar sign.
        self.figure.text(*place, words, parse_math=False, **{"color": _INK, **look})

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Put axes at a place."""
        bottom = 1 - (top + height) / self.height
        place = (left / WIDTH, bottom, width / WIDTH, height / self.height)
        return self.figure.add_axes(place)

    @one_at_a_time
    def save(self, kind: Format) -> bytes:
        """Write the picture, without a date, so that the same plot gives the same bytes."""
        out = io.BytesIO()
        if kind == "svg":
            metadata = {"Date": None, "Creator": None, "Title": _replace_controls(self.title)}
            canvas: Any = FigureCanvasSVG(self.figure)
            canvas.print_svg(out, metadata=metadata)
        else:
            canvas = FigureCanvasAgg(self.figure)
            canvas.print_png(out, metadata={"Software": None})
        return out.getvalue()


def frame_axes(
    axes: Axes,
    across: tuple[float, float],
    up: tuple[float, float],
    titles: tuple[str, str] = XY_TITLES,
) -> None:
    axes.set_xlim(across)
    axes.set_ylim(up)
    x, y = map(replace_unprintable, titles)
    axes.set_xlabel(x, fontsize=9, color=_INK, labelpad=1, parse_math=False)
    axes.set_ylabel(y, fontsize=9, color=_INK, labelpad=5, parse_math=False)
    axes.tick_params(labelsize=8, color="#888888", labelcolor=_INK)
    axes.grid(color=_PALE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#888888")


def _line_style(index: int) -> dict[str, Any]:
    """Return colour and dash of a curve; both repeat together after 35 curves."""
    colour = COLOURS[index % len(COLOURS)]
    return {"color": colour, "linestyle": _DASHES[index % len(_DASHES)], "linewidth": 1.4}


def _mark_style(index: int) -> dict[str, Any]:
    return {
        "marker": _MARKERS[index % len(_MARKERS)],
        "markerfacecolor": COLOURS[index % len(COLOURS)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def draw_curve(axes: Axes, index: int, x: FloatArray, y: FloatArray, label: str | None) -> None:
    """Draw a line, with dots where it would show nothing."""
    label = None if label is None else _write_label(shorten(label))
    axes.plot(x, y, **_line_style(index), label=label)
    lonely = find_lonely(y)
    axes.plot(x[lonely], y[lonely], ".", color=COLOURS[index % len(COLOURS)], markersize=4)


def draw_band(axes: Axes, index: int, x: FloatArray, low: FloatArray, high: FloatArray) -> None:
    colour = COLOURS[index % len(COLOURS)]
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    for border in (low, high):
        axes.plot(x, border, color=colour, alpha=0.5, linewidth=0.6)


def draw_marks(
    axes: Axes, index: int, x: FloatArray, y: FloatArray, label: str | None = None
) -> None:
    size = 6 if x.size <= MOST_LARGE_MARKS else 4
    axes.plot(x, y, linestyle="none", markersize=size, label=label, **_mark_style(index))


def draw_crosses(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    look: dict[str, Any] = {"color": "#333333", "markersize": 5, "markeredgewidth": 1.0}
    axes.plot(x, y, marker="x", linestyle="none", label="not mapped", **look)


def add_entry(axes: Axes, index: int, label: str, *, marked: bool) -> None:
    """Add an entry to the legend that shows line and mark together."""
    mark: dict[str, Any] = {**_mark_style(index), "markersize": 6} if marked else {}
    axes.plot([], [], **_line_style(index), **mark, label=_write_label(label))


def _write_label(text: str) -> str:
    """Write the text of a legend; Matplotlib leaves out one that begins with an underscore."""
    return replace_unprintable(f" {text}" if text.startswith("_") else text)


def add_legend(axes: Axes, columns: int, length: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    # Unmapped points come last.
    order = sorted(range(len(labels)), key=lambda place: labels[place] == "not mapped")
    legend = axes.legend(
        [handles[place] for place in order],
        [shorten(labels[place], length) for place in order],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0,
        bbox_transform=_below_axes(axes),
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


def _below_axes(axes: Axes) -> Any:
    """Return coordinates whose origin is below the label of the x axis."""
    figure: Any = axes.get_figure()
    return axes.transAxes + ScaledTranslation(0, -0.42, figure.dpi_scale_trans)


def _replace_controls(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def replace_unprintable(text: str) -> str:
    """Replace the characters that our font does not have."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if ord(c) in known else "\N{REPLACEMENT CHARACTER}" for c in text)
