"""Assign test points to the chosen functions that admit them.

The definitions are in docs/method.md, Mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from services import grids
from services.choices import Policy
from services.grids import Alignment, BoolArray, IndexArray, SortedGrid
from services.mapping.functions import (
    TABLE_VALUES,
    Functions,
    FunctionTable,
    apply_transforms,
    find_rows,
    read_functions,
    tabulate,
)
from services.mapping.items import (
    DEVIATION,
    ITEM,
    MAPPED,
    MISSING,
    NOT_COVERED,
    Items,
)
from services.mapping.options import MapOptions, check_options
from services.tables import FloatArray, Table

_BLOCK_POINTS, _BLOCK_DEVIATIONS = 1 << 14, 1 << 20
"""Most points, and deviations, of a block of items (at most 46 MB)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the parts of a mapping; they change time and memory, never an answer.

    Parameters
    ----------
    block_rows : int or None
        Test rows of a block; None for as many as fit into the largest block.
    deviations_at_once : int
        Deviations computed at once (512 KiB); they stay in the processor's cache.
    table_values : int
        Most values in a table made for this mapping.
    """

    block_rows: int | None = None
    deviations_at_once: int = 1 << 16
    table_values: int = TABLE_VALUES


_SIZES = Sizes()


def assign(
    test: Table,
    grid: FloatArray | SortedGrid,
    functions: Functions,
    options: MapOptions,
    sizes: Sizes = _SIZES,
) -> Iterator[Items]:
    """Map test points to the functions that admit them.

    Parameters
    ----------
    test : Table
        Points: every cell of its c curves is one. x may repeat and may be missing.
    grid : ndarray of shape (n,) or SortedGrid
        The library's x column. [unit of x]
    functions : Functions
        The k chosen functions on that grid.
    options : MapOptions
        The options of the mapping.
    sizes : Sizes

    Yields
    ------
    ndarray of ITEM
        In the order of test row, column, function.
    """
    check_options(options)
    ordered = grid if isinstance(grid, SortedGrid) else grids.sort_grid(grid)
    tolerance = options.x_tolerance
    if options.alignment == "exact" and tolerance is None:
        tolerance = grids.default_tolerance(ordered.x)
    columns, rows = test.y.shape
    k, n = functions.curves.shape
    most = max(1, min(_BLOCK_POINTS // columns, _BLOCK_DEVIATIONS // (columns * k)))
    step = sizes.block_rows or most
    table = functions.tables.get(options.alignment)
    if table is None and n <= rows:
        table = tabulate(functions, ordered, options.alignment, sizes.table_values)
    for start in range(0, rows, step):
        # From here on one x and one y for each cell, row by row: the order of the items.
        x = np.repeat(test.x[start : start + step], columns)
        y = test.y[:, start : start + step].T.ravel()
        alignment = grids.align(x, ordered, options.alignment, tolerance)
        if table is None:
            here, place = read_functions(functions, alignment), np.arange(x.size)
        else:
            here, place = table, find_rows(alignment, n)
        admitted = _admit(y, _Places(here, place, alignment), functions, sizes.deviations_at_once)
        items = _build_items(x, y, here.covers[place], _apply_policy(options.policy, admitted))
        row = items["point"] // columns
        items["column"] = items["point"] - row * columns
        items["point"] = row + start
        yield items


class _Admitted(NamedTuple):
    """Assignments in the order of cells, then of functions."""

    cell: IndexArray
    function: IndexArray
    deviation: FloatArray

    def select(self, chosen: IndexArray) -> _Admitted:
        return _Admitted(self.cell[chosen], self.function[chosen], self.deviation[chosen])


class _Places(NamedTuple):
    """A table of the functions, and the place of each cell in it."""

    table: FunctionTable
    place: IndexArray
    alignment: Alignment


def _admit(y: FloatArray, places: _Places, functions: Functions, at_once: int) -> _Admitted:
    """Compare each y with every function."""
    table, place, alignment = places
    k = len(functions.limit)
    step = min(y.size, max(1, at_once // k))
    # Reused memory: with new arrays for each step the same took twice as long.
    buffer, change, admits = np.empty((step, k)), np.empty((step, k)), np.empty((step, k), bool)
    # Repeated, because NumPy needs 5 ns to broadcast to a row of 4 and 1 ns to compare it.
    limit = np.tile(functions.limit, (step, 1))
    flats, deviations = [], []
    for start in range(0, y.size, step):
        some = slice(start, min(start + step, y.size))
        size = some.stop - start
        # Every place is in the table; with mode="raise" NumPy would not write to `out` directly.
        g = table.f.take(place[some], axis=0, out=buffer[:size], mode="clip")
        if table.change is not None:
            table.change.take(place[some], axis=0, out=change[:size], mode="clip")
            interpolate(g, change[:size], alignment.rise[some], alignment.run[some])
            apply_transforms(g, functions)
        with np.errstate(all="ignore"):
            deviation = np.abs(np.subtract(y[some, np.newaxis], g, out=g), out=g)
            # NaN is a gap, a missing y or an overflow, and admits nothing.
            flat = np.flatnonzero(np.less_equal(deviation, limit[:size], out=admits[:size]))
        deviations.append(deviation.take(flat))
        flats.append(flat + start * k)
    flat = np.concatenate(flats)
    cell = flat // k
    return _Admitted(cell, flat - cell * k, np.concatenate(deviations))


def interpolate(f: FloatArray, change: FloatArray, rise: FloatArray, run: FloatArray) -> None:
    """Turn f0 into f0 + (f1 - f0)·(x - x0)/(x1 - x0), in that order and in place."""
    with np.errstate(all="ignore"):
        change *= rise[:, np.newaxis]
        change /= run[:, np.newaxis]
        f += change


def _apply_policy(policy: Policy, admitted: _Admitted) -> _Admitted:
    """Keep the functions that the policy picks for each cell."""
    if not admitted.cell.size:
        return admitted
    match policy:
        case "all":
            return admitted
        case "first":
            return admitted.select(_find_firsts(admitted.cell))
        case "nearest":
            firsts = _find_firsts(admitted.cell)
            least = np.minimum.reduceat(admitted.deviation, firsts)
            counts = np.diff(firsts, append=admitted.cell.size)
            is_least = admitted.deviation == np.repeat(least, counts)
            nearest = admitted.select(np.flatnonzero(is_least))
            return nearest.select(_find_firsts(nearest.cell))
        case _:
            assert_never(policy)


def _find_firsts(cell: IndexArray) -> IndexArray:
    """Find where each cell comes first; equal cells are adjacent."""
    return np.flatnonzero(np.diff(cell, prepend=-1))


def _build_items(x: FloatArray, y: FloatArray, covered: BoolArray, admitted: _Admitted) -> Items:
    """Build the items of assigned and unmapped cells, in order; point is still the cell."""
    is_unmapped = np.ones(y.size, dtype=bool)
    is_unmapped[admitted.cell] = False
    unmapped = np.flatnonzero(is_unmapped)
    cell = np.concatenate((admitted.cell, unmapped))
    # Both parts are in order already: a stable sort merges them, 2 to 5 ns an item.
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    none = np.full(unmapped.size, -1), np.full(unmapped.size, np.nan)
    reasons = _find_reasons(x[unmapped], y[unmapped], covered[unmapped])

    items = np.empty(cell.size, dtype=ITEM)
    items["point"] = cell
    items["function"] = np.concatenate((admitted.function, none[0]))[order]
    items["reason"] = np.concatenate((np.full(admitted.cell.size, MAPPED), reasons))[order]
    items["x"] = x[cell]
    items["y"] = y[cell]
    items["deviation"] = np.concatenate((admitted.deviation, none[1]))[order]
    return items


def _find_reasons(x: FloatArray, y: FloatArray, covered: BoolArray) -> NDArray[np.int64]:
    """Find the reason why each of some cells got no function."""
    missing = np.isnan(x) | np.isnan(y)
    return np.where(missing, MISSING, np.where(covered, DEVIATION, NOT_COVERED))
