"""Summaries of curves before they are stored: range, mean and gaps, and cells that look wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from services.grids import BoolArray, IndexArray
from services.sentinels import are_sentinels, warn_of_sentinels
from services.tables import Curves, FloatArray, TableWarning

LOST_POINT = "lost_decimal_point"
"""Code of a warning: the cell is thousands of times its neighbours."""

ONE_NUMBER = "one_number"
"""Code of a warning: a curve holds one number only, as columns of settings do."""

MOST_WARNINGS = 100
"""Most warnings kept of one table; the others are only counted."""

_LEAST_ROWS = 3
"""Least rows of a table in which a curve of one number is odd."""

_LEAST_RATIO = 500.0
"""Least ratio of a suspect cell to its neighbours."""

_SMOOTH_SHARE = 0.25
"""Share of the neighbours' size by which slopes may differ, and a cell from its prediction."""

_LEAST_WHOLE = 100
"""Least whole number that stands out among numbers that are not whole."""

_CELLS_PER_FAR_ONE = 20
"""Cells of a curve for each of which one may be far; more are usual for the curve, unless they are
whole numbers in a smooth place among numbers that are not whole. A single one always counts."""

_FACTORS = 10.0 ** np.arange(3, 16)
"""Factors by which a cell grows that loses the point before 3 to 15 digits."""

_ROWS_COMPARED = 5
"""Rows compared: a cell and the four nearest to it."""

_PART_BYTES = 4 << 20
"""Most bytes of curves read at once."""

_VALUES_AT_ONCE = 1 << 18
"""Numbers compared at once; they stay in the processor's cache."""


class CurveSummary(NamedTuple):
    """Summary of one curve; None if it has no number, or float64 cannot hold the result.

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
class TableSummary:
    """Summary of the curves of a table.

    Parameters
    ----------
    curves : list of m CurveSummary
        In the order of the curves.
    warnings : list of TableWarning
        The first MOST_WARNINGS, by column and row.
    n_warnings : int
        Number of all warnings.
    """

    curves: list[CurveSummary]
    warnings: list[TableWarning]
    n_warnings: int

    @property
    def n_gaps(self) -> int:
        """Number of empty cells of all curves."""
        return sum(curve.n_gaps for curve in self.curves)


def summarize(curves: Curves, *, with_x: bool, part_bytes: int = _PART_BYTES) -> TableSummary:
    """Read all curves once and summarize them.

    Parameters
    ----------
    curves : Curves
        At least one.
    with_x : bool
        Whether to look for wrong cells in x, too.
    part_bytes : int
        Most bytes of curves read at once.
    """
    summaries: list[CurveSummary] = []
    warnings: list[TableWarning] = []
    count = 0
    columns = [curves.x[np.newaxis]] if with_x else []
    names = (curves.x_name, *curves.names)[not with_x :]
    for part in chain(columns, curves.read_parts(part_bytes)):
        found = list(_summarize_curves(part))
        extremes = np.array([curve[1:3] for curve in found], np.float64).T
        strange = list(warn_of_sentinels(part, names, *extremes))
        if summaries or not with_x:  # not x
            strange += _warn_of_single_numbers(part, names, found)
        suspects = find_lost_points(part)
        if strange and suspects.rows.size:
            suspects = _without_sentinels(suspects, part)
        cells = [*strange, *_warn(part, names, suspects, MOST_WARNINGS)]
        warnings += cells[: MOST_WARNINGS - len(warnings)]
        count += len(suspects.rows) + len(strange)
        summaries += found
        names = names[len(part) :]
        del part  # a long curve is not held while the next is read
    return TableSummary(summaries[with_x:], warnings, count)


def _warn_of_single_numbers(
    y: FloatArray, names: tuple[str, ...], found: list[CurveSummary]
) -> Iterator[TableWarning]:
    rows = y.shape[1]
    for at, curve in enumerate(found):
        if rows >= _LEAST_ROWS and curve.n_gaps == rows - 1:
            row = int(np.flatnonzero(~np.isnan(y[at]))[0])
            detail = f"Column {names[at]!r} holds one number only, in row {row}. If it is no curve,"
            yield TableWarning(ONE_NUMBER, f"{detail} name the others by columns=.", names[at], row)


def _without_sentinels(suspects: Suspects, y: FloatArray) -> Suspects:
    """Leave out cells that have a warning of their own."""
    kept = ~are_sentinels(y[suspects.curves, suspects.rows])
    return Suspects(suspects.curves[kept], suspects.rows[kept], suspects.numbers[kept])


def _summarize_curves(y: FloatArray) -> Iterator[CurveSummary]:
    gaps = np.zeros(len(y), np.intp)
    with np.errstate(over="ignore"):
        figures = np.stack((y.min(axis=1), y.max(axis=1), np.sum(y, axis=1) / y.shape[1]))
        some_gaps = np.flatnonzero(np.isnan(figures[0]))
        gaps[some_gaps] = np.isnan(y[some_gaps]).sum(axis=1)
        for row in np.flatnonzero(~np.isfinite(figures[2]) & (gaps < y.shape[1])):
            some = y[row, ~np.isnan(y[row])]
            figures[:, row] = some.min(), some.max(), _average(some)
    # SQLite keeps no sign of a zero; adding 0.0 removes it, so that PostgreSQL has none either.
    columns = (figures + 0.0).tolist()
    if not np.isfinite(figures).all():
        columns = [[v if math.isfinite(v) else None for v in column] for column in columns]
    return map(CurveSummary, gaps.tolist(), *columns)


def _average(y: FloatArray) -> float:
    mean = np.sum(y) / y.size
    # With a power of two factored out, the sum of no table is too large for float64.
    return float(mean if np.isfinite(mean) else np.ldexp(np.sum(np.ldexp(y, -64)) / y.size, 64))


def _warn(
    y: FloatArray, names: tuple[str, ...], suspects: Suspects, most: int
) -> Iterator[TableWarning]:
    cells = zip(suspects.curves[:most], suspects.rows[:most], suspects.numbers[:most], strict=True)
    for curve, row, number in cells:
        detail = (
            f"Row {row}, column {names[curve]!r}: {y[curve, row].item()!r} is thousands of times"
            f" its neighbours; {number.item()!r} would fit. Was a decimal point lost?"
        )
        yield TableWarning(LOST_POINT, detail, names[curve], int(row))


class Suspects(NamedTuple):
    """Cells that look as if they had lost their decimal point.

    Parameters
    ----------
    curves, rows : ndarray of shape (p,)
        Their places, by curve, then row.
    numbers : ndarray of shape (p,)
        The numbers with the point put back. [unit of y]
    """

    curves: IndexArray
    rows: IndexArray
    numbers: FloatArray


def find_lost_points(y: FloatArray, values_at_once: int = _VALUES_AT_ONCE) -> Suspects:
    """Find cells that look as if they had lost their decimal point; docs/method.md has the rule.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        One curve a row; NaN is a gap. [unit of y]
    values_at_once : int
        Numbers compared at once.

    Returns
    -------
    Suspects
        None in curves of less than five rows.
    """
    m, n = y.shape
    group = max(1, values_at_once // max(1, n))
    nothing = np.zeros(0, np.intp)
    found = [Suspects(nothing, nothing, np.zeros(0))]
    for first in range(0, m if n >= _ROWS_COMPARED else 0, group):
        some = _find_in_few(y[first : first + group], values_at_once)
        found.append(some._replace(curves=some.curves + first))
    return Suspects(*map(np.concatenate, zip(*found, strict=True)))


@np.errstate(over="ignore", invalid="ignore")
def _find_in_few(y: FloatArray, values_at_once: int) -> Suspects:
    """Find suspects in few curves of five rows or more."""
    curves, rows = _find_far(y, values_at_once)
    if not rows.size:
        return Suspects(curves, rows, np.zeros(0))
    rare = np.bincount(curves, minlength=len(y)) <= max(1, y.shape[1] // _CELLS_PER_FAR_ONE)
    numbers, sure = _restore_points(y, curves, rows)
    fits = ~np.isnan(numbers) & (sure | rare[curves])
    return Suspects(curves[fits], rows[fits], numbers[fits])


def _find_far(y: FloatArray, values_at_once: int) -> tuple[IndexArray, IndexArray]:
    """Find cells that are far larger than those before and behind them, if there are any."""
    found = []
    n = y.shape[1]
    for start in range(0, n, values_at_once):
        first, last = max(start - 1, 0), min(start + values_at_once + 1, n)
        size = np.abs(y[:, first:last])
        limit = _LEAST_RATIO * size
        far = np.ones(size.shape, np.bool_)
        far[:, 1:] &= size[:, 1:] > limit[:, :-1]
        far[:, :-1] &= size[:, :-1] > limit[:, 1:]
        # Cells at the borders see one neighbour only; the part before or behind sees both.
        far[:, : start - first] = False
        far[:, start - first + values_at_once :] = False
        # Flat: np.nonzero in two dimensions takes longer than all the comparisons.
        curves, rows = np.divmod(np.flatnonzero(far), last - first)
        found.append((curves, rows + first))
    curves, rows = map(np.concatenate, zip(*found, strict=True))
    return curves, rows


def _restore_points(
    y: FloatArray, curves: IndexArray, rows: IndexArray
) -> tuple[FloatArray, BoolArray]:
    """Put the points of cells back, NaN where that does not fit; tell which cells are sure."""
    n = y.shape[1]
    first = np.clip(rows - _ROWS_COMPARED // 2, 0, n - _ROWS_COMPARED)
    place = rows - first  # of the cell among the five, 2 but at the ends
    others = np.arange(_ROWS_COMPARED - 1) + (np.arange(_ROWS_COMPARED - 1) >= place[:, np.newaxis])
    near = y[curves[:, np.newaxis], first[:, np.newaxis] + others]
    size = np.abs(near).max(axis=1)
    value = y[curves, rows]
    slopes = np.diff(near, axis=1) / np.diff(others, axis=1)
    whole = (np.abs(value) >= _LEAST_WHOLE) & (np.rint(value) == value)
    whole &= (np.rint(near) != near).all(axis=1)
    smooth = np.ptp(slopes, axis=1) <= _SMOOTH_SHARE * size
    fits: BoolArray = (np.abs(value) > _LEAST_RATIO * size) & (size > 0) & (whole | smooth)
    # The line through the two neighbours that are nearest, read at the cell.
    pick = np.clip(place - 1, 0, _ROWS_COMPARED - 3)
    row = np.arange(len(rows))
    predicted = near[row, pick] + slopes[row, pick] * (place - others[row, pick])
    candidates = value[:, np.newaxis] / _FACTORS
    distance = np.abs(candidates - predicted[:, np.newaxis])
    best = distance.argmin(axis=1)
    fits &= distance[row, best] <= np.where(whole, size, _SMOOTH_SHARE * size)
    return np.where(fits, candidates[row, best], np.nan), whole & smooth
