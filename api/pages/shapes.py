"""Content of plots and pictures, as arrays and words: bounded, thinned, and in the order of x."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

MAX_LINES = 60
"""Curves of a dataset that are drawn."""
MAX_PANELS = 12
"""Training curves of a fit or mapping that are drawn."""
MAX_DRAWN = 1000
"""Points of one line after thinning, about one for each pixel of the width."""
MAX_POINTS = 20_000
"""Mapped and unmapped points that are drawn."""
MOST_LARGE_MARKS = 200
"""Mapped points of one function up to which they are drawn as large marks."""

_LEAST = 8
"""Fewest positions that hold both ends, both extremes and the gaps between."""
_HUGE = 8e307
"""Largest end of an axis; the browser subtracts the ends, and the difference stays finite."""
_TINY = 1e-304
"""Least length of an axis; the browser divides by it, and the quotient stays finite."""

XY_TITLES = ("x", "y")
"""Titles of axes whose units are not known, or not shown."""

# Okabe and Ito's palette, which colour-blind readers can tell apart; its yellow is too pale here.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
GREY = "#6b6b6b"


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a dataset; NaN is a gap, x comes in any order.

    `n_points` counts the points of a curve that is thinned already.
    """

    name: str
    x: FloatArray
    y: FloatArray
    n_points: int = 0

    @property
    def size(self) -> int:
        """Points of the curve before it is thinned."""
        return max(self.x.size, self.n_points)


@dataclass(frozen=True, slots=True)
class Panel:
    """One training curve, x and y, and the function chosen for it, g on the library's grid.

    `g` is a·f + b with `scale` a and `offset` b, NaN is a gap, the grid comes in any order;
    `limit` is half the width of the band and may be infinite. `n_points` counts the points of
    the longer curve, if the curves are thinned already.
    """

    training: str
    ideal: str
    x: FloatArray
    y: FloatArray
    grid: FloatArray
    g: FloatArray
    limit: float
    scale: float
    offset: float
    score: float
    max_deviation: float
    n: int
    n_points: int = 0

    @property
    def size(self) -> int:
        """Points of the longer curve before it is thinned."""
        return max(self.x.size, self.grid.size, self.n_points)


@dataclass(frozen=True, slots=True)
class MappedPoints:
    """Items of a mapping; `panel` is the index of the function's panel, -1 for unmapped ones."""

    x: FloatArray
    y: FloatArray
    deviation: FloatArray
    panel: IntArray
    row: IntArray
    column: Sequence[str]
    reason: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class DatasetScene:
    """A plot of a dataset; `left_out` more curves are not among `lines`.

    `axes` are the titles of the axes.
    """

    title: str
    lines: Sequence[Line]
    left_out: int
    axes: tuple[str, str] = XY_TITLES


@dataclass(frozen=True, slots=True)
class FitScene:
    """A plot of a fit; `left_out` more training curves are not among `panels`."""

    title: str
    panels: Sequence[Panel]
    left_out: int


@dataclass(frozen=True, slots=True)
class MappingScene:
    """A plot of a mapping; `points_left_out` more items are not among `points`."""

    title: str
    panels: Sequence[Panel]
    points: MappedPoints
    left_out: int
    points_left_out: int


Scene = DatasetScene | FitScene | MappingScene
"""Content of a plot, which is drawn by Bokeh or Matplotlib."""


def thin(x: FloatArray, y: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """Thin a curve so that it looks the same: keep its ends and the extremes of each stretch.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        The curve in the order in which it is drawn; where y is NaN the line breaks.
    most : int
        Points that may be left, at least 8.

    Returns
    -------
    tuple of two ndarray
        At most `most` points of the curve in their order; where numbers that are neighbours now
        had a gap between them, one gap is kept.
    """
    if most < _LEAST:
        raise ValueError(f"A curve needs at least {_LEAST} points, not {most}.")
    if y.size <= most:
        return x, y
    gaps = np.isnan(y)
    numbers = np.flatnonzero(~gaps)
    room = count_room(most, has_gaps=bool(gaps.any()))
    if numbers.size > room:
        numbers = numbers[_extremes(y[numbers], count_buckets(room))]
    # Right behind each kept number that has a gap between it and the next.
    behind = numbers[:-1][np.diff(np.cumsum(gaps)[numbers]) > 0]
    first_gap = np.flatnonzero(gaps)
    kept = np.union1d(numbers, first_gap[np.searchsorted(first_gap, behind)])
    return x[kept], y[kept]


def count_room(most: int, *, has_gaps: bool) -> int:
    """Return how many numbers of a curve may be left; behind each there may be a gap."""
    return (most + 1) // 2 if has_gaps else most


def count_buckets(room: int) -> int:
    """Return the number of stretches whose extremes are kept, beside both ends."""
    return (room - 2) // 2


def _extremes(y: FloatArray, buckets: int) -> NDArray[np.intp]:
    """Find the positions of both ends and of each bucket's least and greatest value, ascending."""
    width = -(-y.size // buckets)
    rows = np.minimum(np.arange(buckets * width), y.size - 1).reshape(buckets, width)
    values = y[rows]
    each = np.arange(buckets)
    found = (rows[each, values.argmin(axis=1)], rows[each, values.argmax(axis=1)])
    return np.unique(np.concatenate([[0, y.size - 1], *found]))


def prepare_line(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sort a curve by x, without missing x, and thin it."""
    known = ~np.isnan(x)
    x, y = x[known], y[known]
    order = np.argsort(x, kind="stable")
    return thin(x[order], y[order], MAX_DRAWN)


def find_lonely(y: FloatArray) -> NDArray[np.bool_]:
    """Find the numbers that have a gap on both sides, where a line would show nothing."""
    number = np.concatenate([[False], ~np.isnan(y), [False]])
    alone: NDArray[np.bool_] = number[1:-1] & ~number[:-2] & ~number[2:]
    return alone


def find_ends(pad: float, *values: FloatArray) -> tuple[float, float]:
    """Find the ends of an axis that holds all finite values and a margin."""
    every = np.concatenate([np.empty(0), *values])
    every = every[np.isfinite(every)].clip(-_HUGE, _HUGE)
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    middle = low / 2 + high / 2
    half = (high / 2 - low / 2) * (1 + 2 * pad)
    if low == high:
        half = abs(middle) / 2 or 1.0
    half = max(half, abs(middle) * 1e-12, _TINY)
    return max(middle - half, -_HUGE), min(middle + half, _HUGE)


def choose_points(points: MappedPoints, n_panels: int) -> NDArray[np.intp]:
    """Choose the points that have a place in the figure, evenly where there are too many."""
    placed = np.isfinite(points.x) & np.isfinite(points.y) & (points.panel < n_panels)
    kept = np.flatnonzero(placed)
    if kept.size > MAX_POINTS:
        kept = kept[np.linspace(0, kept.size - 1, MAX_POINTS).astype(np.intp)]
    return kept


def note_count(count: int, total: int, noun: str) -> str:
    """Say how many of all are shown."""
    plural = noun if total == 1 else f"{noun}s"
    if count == total:
        return f"{total:,} {plural}."
    return f"{count:,} of {total:,} {plural} {'is' if count == 1 else 'are'} shown."


def note_thinning(sizes: Iterable[int]) -> str:
    """Say that curves of these sizes are thinned; empty if none is."""
    if max(sizes, default=0) <= MAX_DRAWN:
        return ""
    return f"Curves of more than {MAX_DRAWN:,} points are thinned; their peaks are kept."


def shorten(name: str, length: int = 32) -> str:
    """Cut a long name."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def describe_panel(panel: Panel) -> list[str]:
    """Say the numbers of a panel in words."""
    said = [
        f"score {panel.score:.6g}",
        f"largest deviation {panel.max_deviation:.6g}",
        f"limit ±{panel.limit:.6g}" if np.isfinite(panel.limit) else "limit infinite, so no band",
        "1 pair" if panel.n == 1 else f"{panel.n:,} pairs",
    ]
    if (panel.scale, panel.offset) != (1.0, 0.0):
        sign = "-" if panel.offset < 0 else "+"
        said.append(f"f is drawn as {panel.scale:.6g} · f {sign} {abs(panel.offset):.6g}")
    if np.isnan(panel.g).all():
        said.append("the function has no numbers")
    return said
