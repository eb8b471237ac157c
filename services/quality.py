"""What is said of curves before they are stored: figures of each, and cells that look wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from services.grids import BoolArray, IndexArray
from services.tables import Curves, FloatArray

LOST_POINT = "lost_decimal_point"
"""Code of the warning about a cell that is thousands of times its neighbours."""

MOST_WARNINGS = 100
"""Warnings of one table that are kept; the others are counted."""

_FAR = 500.0
"""How many times its neighbours a cell must be."""

_SMOOTH = 0.25
"""Share of the neighbours' size by which slopes may differ, and the cell from the foretold."""

_DIGITS = 100
"""Whole numbers from here on stand out among numbers that are not whole."""

_RARE = 20
"""One cell that is far in so many, or a single one; more are what the curve is like, unless they
are whole numbers in a smooth place where others are not."""

_POWERS = 10.0 ** np.arange(3, 16)
"""What a cell is multiplied by when it loses the point before 3 to 15 digits."""

_AROUND = 5
"""Rows looked at: a cell and the four nearest to it."""

_PIECE = 4 << 20
"""Bytes of curves looked at together."""

_VALUES = 1 << 18
"""Numbers compared at once, so that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class CellWarning:
    """A cell that was stored as it is, but looks wrong.

    Parameters
    ----------
    code : str
        What looks wrong, as a word for programs.
    column : str
        Name of the column.
    row : int
        From 0.
    detail : str
        What looks wrong, as a sentence.
    """

    code: str
    column: str
    row: int
    detail: str


class Figures(NamedTuple):
    """Figures of one curve; None where it has no number, or none that float64 can hold.

    Parameters
    ----------
    n_gaps : int
        Cells without a number.
    y_min, y_max, y_mean : float or None
        Least, largest and mean number. [unit of y]
    """

    n_gaps: int
    y_min: float | None
    y_max: float | None
    y_mean: float | None


@dataclass(frozen=True, slots=True)
class Description:
    """What a record says of curves.

    Parameters
    ----------
    figures : list of m Figures
        In the order of the curves.
    warnings : list of CellWarning
        The first MOST_WARNINGS, by column and row.
    n_warnings : int
        How many there are.
    """

    figures: list[Figures]
    warnings: list[CellWarning]
    n_warnings: int

    @property
    def n_gaps(self) -> int:
        """Empty cells of all curves."""
        return sum(figures.n_gaps for figures in self.figures)


def describe(curves: Curves, *, with_x: bool) -> Description:
    """Look at all curves once.

    Parameters
    ----------
    curves : Curves
        At least one.
    with_x : bool
        Whether to look for wrong cells in x too.

    Returns
    -------
    Description
        Their figures, and cells that look wrong.
    """
    figures: list[Figures] = []
    warnings: list[CellWarning] = []
    count = 0
    columns = [curves.x[np.newaxis]] if with_x else []
    names = (curves.x_name, *curves.names)[not with_x :]
    for piece in chain(columns, curves.pieces(_PIECE)):
        suspects = lost_points(piece)
        warnings += _warnings(piece, names, suspects, MOST_WARNINGS - len(warnings))
        count += len(suspects.rows)
        figures += _figures(piece)
        names = names[len(piece) :]
        del piece  # a long curve is not held while the next is read
    return Description(figures[with_x:], warnings, count)


def _figures(y: FloatArray) -> Iterator[Figures]:
    gaps = np.isnan(y).sum(axis=1)
    with np.errstate(over="ignore"):
        figures = np.stack((y.min(axis=1), y.max(axis=1), np.sum(y, axis=1) / y.shape[1]))
        for row in np.flatnonzero(~np.isfinite(figures[2]) & (gaps < y.shape[1])):
            some = y[row, ~np.isnan(y[row])]
            figures[:, row] = some.min(), some.max(), _mean(some)
    # SQLite keeps no sign of a zero; adding 0.0 takes it away on PostgreSQL, too.
    columns = (figures + 0.0).tolist()
    if not np.isfinite(figures).all():
        columns = [[v if math.isfinite(v) else None for v in column] for column in columns]
    return map(Figures, gaps.tolist(), *columns)


def _mean(y: FloatArray) -> float:
    mean = np.sum(y) / y.size
    # Without a power of two the sum of no table is too large for float64.
    return float(mean if np.isfinite(mean) else np.ldexp(np.sum(np.ldexp(y, -64)) / y.size, 64))


def _warnings(
    y: FloatArray, names: tuple[str, ...], suspects: Suspects, most: int
) -> Iterator[CellWarning]:
    cells = zip(suspects.curves[:most], suspects.rows[:most], suspects.numbers[:most], strict=True)
    for curve, row, number in cells:
        detail = (
            f"Row {row}, column {names[curve]!r}: {y[curve, row].item()!r} is thousands of times"
            f" its neighbours; {number.item()!r} would fit. Was a decimal point lost?"
        )
        yield CellWarning(LOST_POINT, names[curve], int(row), detail)


class Suspects(NamedTuple):
    """Cells that look as if they had lost their decimal point.

    Parameters
    ----------
    curves, rows : ndarray of shape (p,)
        Where they are, by curve, then row.
    numbers : ndarray of shape (p,)
        What they would be with the point. [unit of y]
    """

    curves: IndexArray
    rows: IndexArray
    numbers: FloatArray


def lost_points(y: FloatArray) -> Suspects:
    """Cells that look as if they had lost their decimal point; docs/method.md has the rule.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        One curve a row; NaN is a gap. [unit of y]

    Returns
    -------
    Suspects
        None where there are less than five rows.
    """
    m, n = y.shape
    group = max(1, _VALUES // max(1, n))
    nothing = np.zeros(0, np.intp)
    found = [Suspects(nothing, nothing, np.zeros(0))]
    for first in range(0, m if n >= _AROUND else 0, group):
        some = _lost_points(y[first : first + group])
        found.append(some._replace(curves=some.curves + first))
    return Suspects(*map(np.concatenate, zip(*found, strict=True)))


@np.errstate(over="ignore", invalid="ignore")
def _lost_points(y: FloatArray) -> Suspects:
    """Few curves, or one; inputs are checked."""
    curves, rows = _far_from_neighbours(y)
    if not rows.size:
        return Suspects(curves, rows, np.zeros(0))
    rare = np.bincount(curves, minlength=len(y)) <= max(1, y.shape[1] // _RARE)
    numbers, sure = _restored(y, curves, rows)
    fits = ~np.isnan(numbers) & (sure | rare[curves])
    return Suspects(curves[fits], rows[fits], numbers[fits])


def _far_from_neighbours(y: FloatArray) -> tuple[IndexArray, IndexArray]:
    """Cells that are far larger than the one before and the one behind, as far as there are."""
    found = []
    n = y.shape[1]
    for start in range(0, n, _VALUES):
        first, last = max(start - 1, 0), min(start + _VALUES + 1, n)
        size = np.abs(y[:, first:last])
        limit = _FAR * size
        far = np.ones(size.shape, np.bool_)
        far[:, 1:] &= size[:, 1:] > limit[:, :-1]
        far[:, :-1] &= size[:, :-1] > limit[:, 1:]
        # The cells at the borders saw one neighbour only; their own turn sees both.
        far[:, : start - first] = False
        far[:, start - first + _VALUES :] = False
        # Flat: looking in two dimensions takes longer than all the comparing.
        curves, rows = np.divmod(np.flatnonzero(far), last - first)
        found.append((curves, rows + first))
    curves, rows = map(np.concatenate, zip(*found, strict=True))
    return curves, rows


def _restored(y: FloatArray, curves: IndexArray, rows: IndexArray) -> tuple[FloatArray, BoolArray]:
    """The cells with their points put back, NaN where that does not fit; which are sure."""
    n = y.shape[1]
    first = np.clip(rows - _AROUND // 2, 0, n - _AROUND)
    place = rows - first  # of the cell among the five, mostly 2
    others = np.arange(_AROUND - 1) + (np.arange(_AROUND - 1) >= place[:, np.newaxis])
    near = y[curves[:, np.newaxis], first[:, np.newaxis] + others]
    size = np.abs(near).max(axis=1)
    value = y[curves, rows]
    slopes = np.diff(near, axis=1) / np.diff(others, axis=1)
    whole = (np.abs(value) >= _DIGITS) & (np.rint(value) == value)
    whole &= (np.rint(near) != near).all(axis=1)
    smooth = np.ptp(slopes, axis=1) <= _SMOOTH * size
    fits: BoolArray = (np.abs(value) > _FAR * size) & (size > 0) & (whole | smooth)
    # The line through the two neighbours that are nearest, read at the cell.
    pick = np.clip(place - 1, 0, _AROUND - 3)
    row = np.arange(len(rows))
    foretold = near[row, pick] + slopes[row, pick] * (place - others[row, pick])
    candidates = value[:, np.newaxis] / _POWERS
    distance = np.abs(candidates - foretold[:, np.newaxis])
    best = distance.argmin(axis=1)
    fits &= distance[row, best] <= np.where(whole, size, _SMOOTH * size)
    return np.where(fits, candidates[row, best], np.nan), whole & smooth
