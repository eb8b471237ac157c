"""The common part of the steps: planned steps, errors, even grids, groups of curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from services.errors import Fact, GridError, InvalidOption, error_from
from services.grids import IndexArray
from services.tables import FloatArray

TILE_BYTES = 1 << 19
"""Bytes of curves treated at once; with their temporary arrays they stay in the processor's
cache."""

_EVEN_SHARE = 0.01
"""Most distance of an x from its place on an even grid. [steps]"""

_LEAST_EVEN = 4
"""Fewest rows of an even grid."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A step whose parameters and grid are checked.

    Parameters
    ----------
    x : ndarray of shape (n',)
        The grid after the step, ascending. [unit of x]
    apply : callable
        Takes m curves on the grid before the step, shape (m, n), C-contiguous, finite or NaN, and
        returns them on the grid after it, shape (m, n'). A curve with an infinity has failed.
    source : ndarray of shape (n',) or None
        Position before the step of each x; None if the step has made a new grid.
    tile_bytes : int
        Bytes of curves that are fast to treat at once; it changes time and memory, no bit.
    """

    x: FloatArray
    apply: Callable[[FloatArray], FloatArray]
    source: IndexArray | None
    tile_bytes: int = TILE_BYTES


def refuse_parameter(field: str, detail: str) -> InvalidOption:
    """Make the error for a parameter of a step.

    Parameters
    ----------
    field : str
        Name of the parameter.
    detail : str
        The fault and how to correct it, as a sentence.
    """
    return error_from(InvalidOption, Fact(detail, "invalid_option", pointer=f"/{field}"))


def refuse_grid(detail: str, code: str) -> GridError:
    """Make the error for a grid that a step cannot treat.

    Parameters
    ----------
    detail : str
        The fault and how to correct it, as a sentence.
    code : str
        The kind of fault.
    """
    return error_from(GridError, Fact(detail, code, pointer=""))


def measure_span(x: FloatArray) -> float:
    """Measure the distance between the ends of a grid.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Ascending. [unit of x]

    Raises
    ------
    GridError
        It overflows.
    """
    with np.errstate(over="ignore"):
        span = float(x[-1] - x[0])
    if not np.isfinite(span):
        raise refuse_grid("Scale x down: its ends are too far apart for float64.", "x_overflow")
    return span


def measure_even_step(x: FloatArray) -> float:
    """Measure the step of an even grid.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Ascending. [unit of x]

    Returns
    -------
    float
        The mean step. [unit of x]

    Raises
    ------
    GridError
        The grid is not even.
    """
    if x.size < _LEAST_EVEN:
        detail = f"Use at least {_LEAST_EVEN} rows: an even grid needs them, and here are {x.size}."
        raise refuse_grid(detail, "too_few_rows")
    step = measure_span(x) / (x.size - 1)
    away = np.abs(x - (x[0] + np.arange(x.size) * step))
    worst = int(np.argmax(away))
    if not away[worst] <= _EVEN_SHARE * step:
        detail = (
            "Put the step `resample` before this one: it needs an even grid, and the mean step is"
            f" {step!r}, but x = {float(x[worst])!r} is {float(away[worst])!r} away from its place."
        )
        raise refuse_grid(detail, "uneven_grid")
    return step


def group_by_gaps(y: FloatArray) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Group curves that have numbers at the same x.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves; NaN is a gap.

    Yields
    ------
    rows : ndarray
        Curves of a group.
    columns : ndarray
        Positions of their numbers.
    """
    numbers = ~np.isnan(y)
    groups: dict[bytes, list[int]] = {}
    for row, mask in enumerate(np.packbits(numbers, axis=1)):
        groups.setdefault(mask.tobytes(), []).append(row)
    for rows in groups.values():
        yield np.asarray(rows), np.flatnonzero(numbers[rows[0]])


def apply_to_numbers(
    y: FloatArray, least: int, compute: Callable[[FloatArray, IndexArray], FloatArray]
) -> FloatArray:
    """Compute with the numbers of curves, gaps compressed out; gaps stay.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves; NaN is a gap. [unit of y]
    least : int
        Fewest numbers of a curve; one with fewer fails.
    compute : callable
        Takes some curves without their gaps, C-contiguous, and the positions of their numbers.

    Returns
    -------
    ndarray of shape (m, n)
    """
    result = np.full_like(y, np.nan)
    for rows, columns in group_by_gaps(y):
        if columns.size < least:
            result[rows] = np.inf
        elif columns.size == y.shape[1]:
            result[rows] = compute(np.take(y, rows, axis=0), columns)
        elif columns.size:
            # np.take keeps curves contiguous rows, so that np.sum gives the bits of one curve.
            part = np.take(np.take(y, rows, axis=0), columns, axis=1)
            result[np.ix_(rows, columns)] = compute(part, columns)
    return result


def sum_rows(rows: FloatArray) -> FloatArray:
    """Sum each row as np.sum sums one curve.

    Parameters
    ----------
    rows : ndarray of shape (m, n)
        C-contiguous.
    """
    return np.asarray(np.add.reduce(rows, axis=-1))


def fail_unless_finite(y: FloatArray) -> FloatArray:
    """Fail each curve that has a number which is not finite.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves without gaps; changed in place.
    """
    y[~np.isfinite(y).all(axis=1)] = np.inf
    return y
