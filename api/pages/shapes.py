"""What plots and pictures show, as arrays and words: bounded, thinned, and in the order of x."""

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

_LEAST = 8
"""Fewer positions than this cannot hold both ends, both extremes and the gaps between."""
_HUGE = 8e307
"""The browser subtracts the ends of an axis; up to here the difference is finite."""
_TINY = 1e-304
"""The browser divides pixels by the length of an axis; from here on the quotient is finite."""

# Okabe and Ito's palette, which colour-blind readers can tell apart; its yellow is too pale here.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
GREY = "#6b6b6b"


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a dataset; NaN is a gap, x comes in any order."""

    name: str
    x: FloatArray
    y: FloatArray


@dataclass(frozen=True, slots=True)
class Panel:
    """One training curve, x and y, and the function chosen for it, g on the library's grid.

    `g` is a·f + b with `scale` a and `offset` b, NaN is a gap, the grid comes in any order;
    `limit` is half the width of the band and may be infinite.
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


def thin(x: FloatArray, y: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """Fewer points that look the same: both ends and the extremes of each stretch between.

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
    room = (most + 1) // 2 if gaps.any() else most
    if numbers.size > room:
        numbers = numbers[_extremes(y[numbers], (room - 2) // 2)]
    # Right behind each kept number that has a gap between it and the next.
    behind = numbers[:-1][np.diff(np.cumsum(gaps)[numbers]) > 0]
    first_gap = np.flatnonzero(gaps)
    kept = np.union1d(numbers, first_gap[np.searchsorted(first_gap, behind)])
    return x[kept], y[kept]


def _extremes(y: FloatArray, buckets: int) -> NDArray[np.intp]:
    """Positions of both ends and of each bucket's least and greatest value, ascending."""
    width = -(-y.size // buckets)
    rows = np.minimum(np.arange(buckets * width), y.size - 1).reshape(buckets, width)
    values = y[rows]
    each = np.arange(buckets)
    found = (rows[each, values.argmin(axis=1)], rows[each, values.argmax(axis=1)])
    return np.unique(np.concatenate([[0, y.size - 1], *found]))


def ordered(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    known = ~np.isnan(x)
    x, y = x[known], y[known]
    order = np.argsort(x, kind="stable")
    return thin(x[order], y[order], MAX_DRAWN)


def ends(pad: float, *values: FloatArray) -> tuple[float, float]:
    """Ends of an axis that holds all finite values and a little more, and can be computed with."""
    every = np.concatenate([np.empty(0), *values])
    every = every[np.isfinite(every)].clip(-_HUGE, _HUGE)
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    middle = low / 2 + high / 2
    half = (high / 2 - low / 2) * (1 + 2 * pad)
    if low == high:
        half = abs(middle) / 2 or 1.0
    half = max(half, abs(middle) * 1e-12, _TINY)
    return max(middle - half, -_HUGE), min(middle + half, _HUGE)


def drawable(points: MappedPoints, n_panels: int) -> NDArray[np.intp]:
    """Positions of the points that have a place in the figure, evenly chosen when too many."""
    placed = np.isfinite(points.x) & np.isfinite(points.y) & (points.panel < n_panels)
    kept = np.flatnonzero(placed)
    if kept.size > MAX_POINTS:
        kept = kept[np.linspace(0, kept.size - 1, MAX_POINTS).astype(np.intp)]
    return kept


def shown(count: int, total: int, noun: str) -> str:
    """Sentence that says how many of all are shown."""
    plural = noun if total == 1 else f"{noun}s"
    if count == total:
        return f"{total:,} {plural}."
    return f"{count:,} of {total:,} {plural} {'is' if count == 1 else 'are'} shown."


def thinned(sizes: Iterable[int]) -> str:
    if max(sizes, default=0) <= MAX_DRAWN:
        return ""
    return f"Curves of more than {MAX_DRAWN:,} points are thinned; their peaks are kept."


def short(name: str, length: int = 32) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def facts(panel: Panel) -> list[str]:
    """The numbers of a panel, in words."""
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
