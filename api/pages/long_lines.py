"""Lines of long curves, thinned while the curves are read, so that the memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from api.pages.shapes import MAX_DRAWN, FloatArray, count_buckets, count_room

Order = Literal["up", "down", "none"]
"""Order of the x column: ascending, descending without equal values, or none of these."""

XY = tuple[FloatArray, FloatArray]


class Pieces(Protocol):
    """Curves that share one x column, read some rows at a time."""

    @property
    def n_points(self) -> int:
        """Number of rows."""

    def read_x(self) -> Iterator[FloatArray]:
        """Read the x column in pieces."""

    def read(self, *, backwards: bool) -> Iterator[XY]:
        """Read pieces of x and of the curves, shape (curves, rows of the piece).

        With `backwards` the last rows come first.
        """


def thin_pieces(pieces: Pieces, n_gaps: Sequence[int], ends: tuple[float, float]) -> list[XY]:
    """Thin curves as `prepare_line` does, reading them once, and once more if there are gaps.

    The result is the same if x ascends, or descends without equal values. Otherwise stretches of
    equal width in x take the place of those of equal count.

    Parameters
    ----------
    pieces : Pieces
        The curves.
    n_gaps : sequence of int
        Gaps of each curve.
    ends : tuple of float
        Least and largest x.

    Returns
    -------
    list of tuple of two ndarray
        x and y of each curve.
    """
    order = find_order(pieces.read_x())
    lines = [_Line(pieces.n_points, gaps, None if order != "none" else ends) for gaps in n_gaps]
    for first, x, y in _number_rows(pieces, order):
        for line, values in zip(lines, y, strict=True):
            line.add(first, x, values)
    for line in lines:
        line.finish()
    if any(n_gaps):
        for first, x, y in _number_rows(pieces, order):
            for line, values in zip(lines, y, strict=True):
                line.add_gaps(first, x, values)
    return [line.result() for line in lines]


def find_order(pieces: Iterable[FloatArray]) -> Order:
    """Find the order of an x column that is read in pieces."""
    up = down = True
    before = np.empty(0)
    for piece in pieces:
        x = np.concatenate([before, piece])
        up = up and bool((x[1:] >= x[:-1]).all())
        down = down and bool((x[1:] < x[:-1]).all())
        if not (up or down) or np.isnan(x[:1]).any():
            return "none"
        before = piece[-1:]
    return "up" if up else "down"


def _number_rows(pieces: Pieces, order: Order) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Read pieces in the order of x, if it has one, each with the number of its first row."""
    first, backwards = 0, order == "down"
    for x, y in pieces.read(backwards=backwards):
        yield (first, x[::-1], y[:, ::-1]) if backwards else (first, x, y)
        first += x.size


@dataclass(slots=True)
class _Kept:
    """A point that is kept."""

    x: float
    y: float
    row: int


class _Line:
    """One curve while it is thinned; with `ends`, its x come in any order and may be missing."""

    def __init__(self, n_points: int, n_gaps: int, ends: tuple[float, float] | None) -> None:
        self._ends = ends
        room, numbers = count_room(MAX_DRAWN, has_gaps=n_gaps > 0), n_points - n_gaps
        self._width = 1 if numbers <= room else -(-numbers // count_buckets(room))
        self._buckets = count_buckets(room)
        self._low: dict[int, _Kept] = {}
        self._high: dict[int, _Kept] = {}
        self._first: _Kept | None = None
        self._last: _Kept | None = None
        self._seen = 0
        self._gaps: dict[int, float] = {}
        self._x = self._y = self._keys = np.empty(0)

    def add(self, first: int, x: FloatArray, y: FloatArray) -> None:
        """Add the next rows; `first` is the number of the first one."""
        rows = np.flatnonzero(~np.isnan(y) & ~np.isnan(x))
        if not rows.size:
            return
        if rows.size < y.size:
            x, y = x[rows], y[rows]
        self._keep_ends(first + rows, x, y)
        order, stretches = self._split(x)
        ordered = y if order is None else y[order]
        for bucket, start, stop in stretches:
            piece = ordered[start:stop]
            for kept, place, sign in (
                (self._low, start + int(piece.argmin()), 1.0),
                (self._high, start + int(piece.argmax()), -1.0),
            ):
                value = float(ordered[place])
                if bucket not in kept or sign * value < sign * kept[bucket].y:
                    at = place if order is None else order[place]
                    kept[bucket] = _Kept(float(x[at]), value, first + int(rows[at]))

    def _split(self, x: FloatArray) -> tuple[NDArray[np.intp] | None, list[tuple[int, int, int]]]:
        """Split numbers into stretches: number, begin and end of each.

        Where x has no order, the first array puts the numbers of a stretch side by side.
        """
        order = None
        if self._ends is None:
            number = self._seen // self._width
            edges = np.arange(-self._seen % self._width or self._width, x.size, self._width)
            numbers = [number + place for place in range(edges.size + 1)]
            self._seen += x.size
        else:
            # Halves, because the difference of the ends may be beyond float64.
            low, high = (end / 2 for end in self._ends)
            with np.errstate(all="ignore"):
                part = np.nan_to_num((x / 2 - low) / (high - low)).clip(0, 1)
            stretch = np.minimum(part * self._buckets, self._buckets - 1).astype(np.uint16)
            order = np.argsort(stretch, kind="stable")
            stretch = stretch[order]
            edges = np.flatnonzero(stretch[1:] != stretch[:-1]) + 1
            numbers = stretch[[0, *edges.tolist()]].tolist()
        marks = pairwise([0, *edges.tolist(), x.size])
        return order, [(number, *ends) for number, ends in zip(numbers, marks, strict=True)]

    def _keep_ends(self, rows: NDArray[np.intp], x: FloatArray, y: FloatArray) -> None:
        """Keep the first and the last number in the order of x and then of the rows."""
        at = 0 if self._ends is None else int(x.argmin())
        if self._first is None or x[at] < self._first.x:
            self._first = _Kept(float(x[at]), float(y[at]), int(rows[at]))
        at = x.size - 1 - (0 if self._ends is None else int(x[::-1].argmax()))
        if self._last is None or x[at] >= self._last.x or self._ends is None:
            self._last = _Kept(float(x[at]), float(y[at]), int(rows[at]))

    def finish(self) -> None:
        """Put the numbers that are kept in order."""
        ends = [end for end in (self._first, self._last) if end]
        found = {one.row: one for one in (*self._low.values(), *self._high.values(), *ends)}
        kept = sorted(found.values(), key=self._key)
        self._x = np.array([one.x for one in kept], dtype=np.float64)
        self._y = np.array([one.y for one in kept], dtype=np.float64)
        self._keys = np.array([self._key(one)[0] for one in kept], dtype=np.float64)

    def _key(self, one: _Kept) -> tuple[float, int]:
        return (one.row if self._ends is None else one.x), one.row

    def add_gaps(self, first: int, x: FloatArray, y: FloatArray) -> None:
        """Keep the first gap between each two numbers that are kept."""
        rows = np.flatnonzero(np.isnan(y) & ~np.isnan(x))
        keys = first + rows if self._ends is None else x[rows]
        places = np.searchsorted(self._keys, keys, side="right")
        # Of equal places the last one assigned stays, which is the first one here.
        found = np.full(self._keys.size + 1, -1)
        found[places[::-1]] = rows[::-1]
        for place in range(1, self._keys.size):
            if found[place] >= 0:
                self._gaps.setdefault(place, float(x[found[place]]))

    def result(self) -> XY:
        """Return x and y of the points that are drawn."""
        places = sorted(self._gaps)
        gaps = [self._gaps[place] for place in places]
        return np.insert(self._x, places, gaps), np.insert(self._y, places, np.nan)
