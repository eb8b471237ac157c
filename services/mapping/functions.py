"""The chosen functions of a fit, and tables of them at some places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from services import grids
from services.choices import AlignmentKind
from services.grids import Alignment, BoolArray, IndexArray, SortedGrid
from services.tables import FloatArray

TABLE_VALUES = 1 << 22
"""Most values in the table of a grid (32 MiB, three times that for linear)."""


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """The functions at q places, a place a row, so that the numbers for a point are contiguous.

    Measured for 100 functions and a million points: gathering rows takes 22 ms, gathering from
    each curve in turn 62 ms.

    Parameters
    ----------
    f : ndarray of shape (q, k)
        With `change` the curves f, else the functions g; NaN is a gap. [unit of y]
    change : ndarray of shape (q, k) or None
        f1 - f0 between two grid values, 0 on one. [unit of y]
    covers : ndarray of bool of shape (q,)
        Whether any function has the numbers needed there.
    """

    f: FloatArray
    change: FloatArray | None
    covers: BoolArray

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        change = 0 if self.change is None else self.change.nbytes
        return self.f.nbytes + change + self.covers.nbytes


@dataclass(frozen=True, slots=True)
class Functions:
    """The chosen functions g = scale·f + offset, in the order of the training curves.

    Parameters
    ----------
    curves : ndarray of shape (k, n)
        The library curves f on their grid, C-contiguous; NaN is a gap. [unit of y]
    scale, offset : ndarray of shape (k,)
        From the fit.
    limit : ndarray of shape (k,)
        Largest deviation admitted, from `admission_limits`. [unit of y]
    tables : mapping of alignment to FunctionTable
        From `tabulate`, for functions that are used often. They change time and memory, never an
        answer.
    """

    curves: FloatArray
    scale: FloatArray
    offset: FloatArray
    limit: FloatArray
    tables: Mapping[AlignmentKind, FunctionTable] = field(default_factory=dict)


def tabulate(
    functions: Functions,
    grid: SortedGrid,
    alignment: AlignmentKind,
    most_values: int = TABLE_VALUES,
) -> FunctionTable | None:
    """Tabulate functions on their grid.

    Parameters
    ----------
    functions : Functions
        k functions.
    grid : SortedGrid
        Their grid of n values.
    alignment : str
        ``exact`` or ``linear``.
    most_values : int
        Most values of the table, times three for linear.

    Returns
    -------
    FunctionTable or None
        n rows of the grid, a row for x that are not covered, and for linear a row for the x
        between each row and the next larger one; None if that would be too large.
    """
    k, n = functions.curves.shape
    if n * k > most_values:
        return None
    f = np.full((n + 1, k), np.nan)
    f[:n] = functions.curves.T
    match alignment:
        case "exact":
            covers = np.logical_or.reduce(~np.isnan(f), axis=1)
            return FunctionTable(apply_transforms(f, functions), None, covers)
        case "linear":
            return _tabulate_changes(f, grid)
        case _:
            assert_never(alignment)


def _tabulate_changes(f: FloatArray, grid: SortedGrid) -> FunctionTable:
    """Tabulate curves f, and behind them f with its change to the next larger grid value."""
    n, k = len(f) - 1, f.shape[1]
    numbers = ~np.isnan(f)
    left, right = grid.rows[:-1], grid.rows[1:]
    change, both = np.zeros((2 * n + 1, k)), np.zeros((n, k), dtype=bool)
    with np.errstate(all="ignore"):
        change[n + 1 + left] = f[right] - f[left]
    both[left] = numbers[left] & numbers[right]
    covers = np.logical_or.reduce(np.concatenate((numbers, both)), axis=1)
    return FunctionTable(np.concatenate((f, f[:n])), change, covers)


def find_rows(alignment: Alignment, n: int) -> IndexArray:
    """Find the row of each point in the table of a grid of n rows."""
    between = alignment.left != alignment.right
    return np.where(alignment.covered, alignment.left + (n + 1) * between, n)


def read_functions(functions: Functions, alignment: Alignment) -> FunctionTable:
    """Tabulate functions at the points alone, if these are few or the grid is large."""
    values, has_number = grids.read_curves(functions.curves, alignment)
    has_number &= alignment.covered
    values[~has_number] = np.nan
    f = np.ascontiguousarray(values.T)
    return FunctionTable(
        apply_transforms(f, functions), None, np.logical_or.reduce(has_number, axis=0)
    )


def apply_transforms(f: FloatArray, functions: Functions) -> FloatArray:
    """Turn curves f, a place a row, into g = scale·f + offset in place."""
    with np.errstate(all="ignore"):
        f *= functions.scale
        f += functions.offset
    return f


def apply_transform(f: FloatArray, scale: float, offset: float) -> FloatArray:
    """Compute the function g = scale·f + offset of one curve f."""
    with np.errstate(all="ignore"):
        g: FloatArray = f * scale + offset
    return g
