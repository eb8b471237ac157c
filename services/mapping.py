"""Which chosen functions admit a test point, and why a point gets none.

The definitions are in docs/method.md, Mapping.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services import grids
from services.errors import Fact, InvalidOption
from services.grids import Alignment, AlignmentKind, BoolArray, IndexArray, SortedGrid
from services.tables import FloatArray, Table

Policy = Literal["all", "nearest", "first"]

MAPPED, DEVIATION, NOT_COVERED, MISSING = 0, 1, 2, 3
REASONS = (None, "deviation", "x_not_covered", "missing_value")
"""The reason of a point, by its code."""

ITEM = np.dtype(
    [
        ("point", "<i8"),
        ("column", "<i4"),
        ("function", "<i4"),
        ("reason", "<i4"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("deviation", "<f8"),
    ]
)
"""One assignment, or one unmapped point (function -1, deviation NaN).

point is the row in the test dataset, column the position of the y column, function the
position among the chosen functions.
"""

Items = NDArray[np.void]

Row = tuple[int, int, int, int, float, float, float]
"""An item as Python numbers, as `tolist` of items gives it."""

_CHUNK = 1 << 16
"""Deviations computed at once (512 KiB), so that what is done to them stays in the cache."""

_BLOCK_POINTS, _BLOCK_CELLS = 1 << 14, 1 << 20
"""Points, and deviations, whose items are built at once (46 MB at most)."""

_TABLE_CELLS = 1 << 22
"""Values in the largest table made of a grid (32 MiB, three times that for linear)."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How points are admitted; the words of the contract.

    Parameters
    ----------
    policy : str
        ``all``, ``nearest`` or ``first`` of the functions that admit a point.
    tolerance_factor : float
        Times the largest deviation of the fit is the limit, 0 or more.
    alignment : str
        ``exact`` or ``linear``.
    x_tolerance : float or None
        For exact alignment. [unit of x]
    """

    policy: Policy = "all"
    tolerance_factor: float = math.sqrt(2)
    alignment: AlignmentKind = "exact"
    x_tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """The functions at q places, a place a row, so that all that a point needs is contiguous.

    Measured for 100 functions and a million points: 22 ms to gather rows, 62 ms to gather from
    each curve in turn.

    Parameters
    ----------
    f : ndarray of shape (q, k)
        With `change` the curves f, else the functions g; NaN is a gap. [unit of y]
    change : ndarray of shape (q, k) or None
        f1 - f0 between two grid values, 0 on one. [unit of y]
    covers : ndarray of bool of shape (q,)
        Whether any function has its numbers there.
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
        As the fit found them.
    limit : ndarray of shape (k,)
        Largest deviation admitted, from `limits`. [unit of y]
    tables : mapping of alignment to FunctionTable
        Made by `tabulate`, for functions that are asked again and again. They change time and
        memory, never an answer.
    """

    curves: FloatArray
    scale: FloatArray
    offset: FloatArray
    limit: FloatArray
    tables: Mapping[AlignmentKind, FunctionTable] = field(default_factory=dict)


def limits(max_deviation: FloatArray, tolerance_factor: float) -> FloatArray:
    """Largest deviation that each function admits.

    Parameters
    ----------
    max_deviation : ndarray of shape (k,)
        Of each chosen function from its training curve. [unit of y]
    tolerance_factor : float
        √2 unless asked otherwise.

    Returns
    -------
    ndarray of shape (k,)
        The float64 product; infinite where float64 cannot hold it. [unit of y]
    """
    with np.errstate(over="ignore"):
        return max_deviation * tolerance_factor


def check_options(options: MapOptions) -> None:
    """Refuse options out of their range.

    Parameters
    ----------
    options : MapOptions
        As asked.

    Raises
    ------
    InvalidOption
        With the pointer of the field.
    """
    grids.check_tolerance(options.alignment, options.x_tolerance)
    if not 0 <= options.tolerance_factor < math.inf:
        detail = "tolerance_factor must be a finite number, 0 or more."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/tolerance_factor")])


def assign(
    test: Table,
    grid: FloatArray | SortedGrid,
    functions: Functions,
    options: MapOptions,
    block_rows: int | None = None,
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
        How to admit.
    block_rows : int or None
        Test rows done at once; changes memory, never the answer.

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
    step = block_rows or max(1, min(_BLOCK_POINTS // columns, _BLOCK_CELLS // (columns * k)))
    table = functions.tables.get(options.alignment)
    if table is None and n <= rows:
        table = tabulate(functions, ordered, options.alignment)
    for start in range(0, rows, step):
        # From here on one x and one y for each cell, row by row, which is the order of the items.
        x = np.repeat(test.x[start : start + step], columns)
        y = test.y[:, start : start + step].T.ravel()
        alignment = grids.align(x, ordered, options.alignment, tolerance)
        if table is None:
            here, place = _read(functions, alignment), np.arange(x.size)
        else:
            here, place = table, _find(alignment, n)
        admitted = _admitted(y, here, place, alignment, functions)
        items = _items(x, y, here.covers[place], _picked(options.policy, admitted))
        row = items["point"] // columns
        items["column"] = items["point"] - row * columns
        items["point"] = row + start
        yield items


def tabulate(
    functions: Functions, grid: SortedGrid, alignment: AlignmentKind
) -> FunctionTable | None:
    """Tabulate functions on their grid.

    Parameters
    ----------
    functions : Functions
        The k functions.
    grid : SortedGrid
        Their grid of n values.
    alignment : str
        ``exact`` or ``linear``.

    Returns
    -------
    FunctionTable or None
        Its n rows, nowhere, and for linear behind each row the next larger one; None where that
        would be too large.
    """
    k, n = functions.curves.shape
    if n * k > _TABLE_CELLS:
        return None
    f = np.full((n + 1, k), np.nan)
    f[:n] = functions.curves.T
    numbers = ~np.isnan(f)
    if alignment == "exact":
        return FunctionTable(
            _transformed(f, functions), None, np.logical_or.reduce(numbers, axis=1)
        )
    left, right = grid.rows[:-1], grid.rows[1:]
    change, both = np.zeros((2 * n + 1, k)), np.zeros((n, k), dtype=bool)
    with np.errstate(all="ignore"):
        change[n + 1 + left] = f[right] - f[left]
    both[left] = numbers[left] & numbers[right]
    covers = np.logical_or.reduce(np.concatenate((numbers, both)), axis=1)
    return FunctionTable(np.concatenate((f, f[:n])), change, covers)


def _find(alignment: Alignment, n: int) -> IndexArray:
    """Row of each point in the table of a grid of n rows."""
    between = alignment.left != alignment.right
    return np.where(alignment.covered, alignment.left + (n + 1) * between, n)


def _read(functions: Functions, alignment: Alignment) -> FunctionTable:
    """Tabulate only the points themselves, for few points or a grid too large."""
    values, present = grids.read(functions.curves, alignment)
    present &= alignment.covered
    values[~present] = np.nan
    f = np.ascontiguousarray(values.T)
    return FunctionTable(_transformed(f, functions), None, np.logical_or.reduce(present, axis=0))


def _transformed(f: FloatArray, functions: Functions) -> FloatArray:
    """Turn curves f, a place a row, into g = scale·f + offset in place."""
    with np.errstate(all="ignore"):
        f *= functions.scale
        f += functions.offset
    return f


class _Admitted(NamedTuple):
    """Assignments in the order of cells, then of functions."""

    cell: IndexArray
    function: IndexArray
    deviation: FloatArray

    def only(self, chosen: IndexArray) -> _Admitted:
        return _Admitted(self.cell[chosen], self.function[chosen], self.deviation[chosen])


def _admitted(
    y: FloatArray,
    table: FunctionTable,
    place: IndexArray,
    alignment: Alignment,
    functions: Functions,
) -> _Admitted:
    """Compare each y with every function."""
    k = len(functions.limit)
    step = min(y.size, max(1, _CHUNK // k))
    # Memory used again and again: with new arrays for each step the same took twice as long.
    buffer, change, admits = np.empty((step, k)), np.empty((step, k)), np.empty((step, k), bool)
    # Repeated, because NumPy needs 5 ns to broadcast to a row of 4 and 1 ns to compare it.
    limit = np.tile(functions.limit, (step, 1))
    flats, deviations = [], []
    for start in range(0, y.size, step):
        some = slice(start, min(start + step, y.size))
        size = some.stop - start
        # Every place is in the table; with mode="raise" NumPy would not write to `out` at once.
        g = table.f.take(place[some], axis=0, out=buffer[:size], mode="clip")
        if table.change is not None:
            table.change.take(place[some], axis=0, out=change[:size], mode="clip")
            _interpolate(g, change[:size], alignment.rise[some], alignment.run[some])
            _transformed(g, functions)
        with np.errstate(all="ignore"):
            deviation = np.abs(np.subtract(y[some, np.newaxis], g, out=g), out=g)
            # NaN is a gap, a missing y or an overflow, and admits nothing.
            flat = np.flatnonzero(np.less_equal(deviation, limit[:size], out=admits[:size]))
        deviations.append(deviation.take(flat))
        flats.append(flat + start * k)
    flat = np.concatenate(flats)
    cell = flat // k
    return _Admitted(cell, flat - cell * k, np.concatenate(deviations))


def _interpolate(f: FloatArray, change: FloatArray, rise: FloatArray, run: FloatArray) -> None:
    """Turn f0 into f0 + (f1 - f0)·(x - x0)/(x1 - x0), in that order and in place."""
    with np.errstate(all="ignore"):
        change *= rise[:, np.newaxis]
        change /= run[:, np.newaxis]
        f += change


def _picked(policy: Policy, admitted: _Admitted) -> _Admitted:
    """Keep only the function that the policy picks for each cell."""
    if policy == "all" or not admitted.cell.size:
        return admitted
    firsts = _firsts(admitted.cell)
    if policy == "first":
        return admitted.only(firsts)
    least = np.minimum.reduceat(admitted.deviation, firsts)
    counts = np.diff(firsts, append=admitted.cell.size)
    nearest = admitted.only(np.flatnonzero(admitted.deviation == np.repeat(least, counts)))
    return nearest.only(_firsts(nearest.cell))


def _firsts(cell: IndexArray) -> IndexArray:
    """Where each cell comes first; equal ones stand together."""
    return np.flatnonzero(np.diff(cell, prepend=-1))


def _items(x: FloatArray, y: FloatArray, covered: BoolArray, admitted: _Admitted) -> Items:
    """Put assignments and unmapped cells together, in order; point is still the cell."""
    is_unmapped = np.ones(y.size, dtype=bool)
    is_unmapped[admitted.cell] = False
    unmapped = np.flatnonzero(is_unmapped)
    cell = np.concatenate((admitted.cell, unmapped))
    # Two runs that are in order already: a stable sort merges them, 2 to 5 ns an item.
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    none = np.full(unmapped.size, -1), np.full(unmapped.size, np.nan)
    reasons = _reasons(x[unmapped], y[unmapped], covered[unmapped])

    items = np.empty(cell.size, dtype=ITEM)
    items["point"] = cell
    items["function"] = np.concatenate((admitted.function, none[0]))[order]
    items["reason"] = np.concatenate((np.full(admitted.cell.size, MAPPED), reasons))[order]
    items["x"] = x[cell]
    items["y"] = y[cell]
    items["deviation"] = np.concatenate((admitted.deviation, none[1]))[order]
    return items


def _reasons(x: FloatArray, y: FloatArray, covered: BoolArray) -> NDArray[np.int64]:
    """Why each of some cells got no function."""
    missing = np.isnan(x) | np.isnan(y)
    return np.where(missing, MISSING, np.where(covered, DEVIATION, NOT_COVERED))


def assign_few(
    x: Sequence[float],
    y: Sequence[float],
    grid: SortedGrid,
    functions: Functions,
    options: MapOptions,
) -> list[Row]:
    """Map a few points, one after the other in plain Python.

    The same answer as from `assign`, which takes 160 µs to start its sixty NumPy operations,
    more than all else that a request of ten points takes. Python's numbers are the same float64.

    Parameters
    ----------
    x, y : sequence of p floats
        The points, NaN where there is none. [unit of x, unit of y]
    grid : SortedGrid
        The library's x column.
    functions : Functions
        The chosen functions, with a table for the alignment.
    options : MapOptions
        How to admit.

    Returns
    -------
    list of Row
        What `tolist` of the items of `assign` gives.
    """
    table, limit = functions.tables[options.alignment], functions.limit.tolist()
    place = _guess_few(x, grid, options)
    if place is None:
        alignment = grids.align(np.array(x), grid, options.alignment, options.x_tolerance)
        place = _find(alignment, grid.x.size).tolist()
    g = table.f.take(place, axis=0)
    if table.change is not None:
        _interpolate(g, table.change.take(place, axis=0), alignment.rise, alignment.run)
        _transformed(g, functions)
    rows: list[Row] = []
    for point, (a, b, values) in enumerate(zip(x, y, g.tolist(), strict=True)):
        # NaN is a gap, a missing y or an overflow, and admits nothing.
        found = [
            (deviation, function)
            for function, value in enumerate(values)
            if (deviation := abs(b - value)) <= limit[function]
        ]
        if not found:
            missing = math.isnan(a) or math.isnan(b)
            uncovered = DEVIATION if table.covers.item(place[point]) else NOT_COVERED
            reason = MISSING if missing else uncovered
            rows.append((point, 0, -1, reason, a, b, math.nan))
        elif options.policy == "all":
            rows += [(point, 0, f, MAPPED, a, b, deviation) for deviation, f in found]
        else:
            deviation, f = min(found) if options.policy == "nearest" else found[0]
            rows.append((point, 0, f, MAPPED, a, b, deviation))
    return rows


def _guess_few(x: Sequence[float], grid: SortedGrid, options: MapOptions) -> list[int] | None:
    """Row of each x by a guess as in `grids.align`; None where that is not sure of one of them."""
    tolerance = options.x_tolerance
    if tolerance is None or not grid.slots_per_x or 4 * tolerance > grid.step:
        return None
    value_at, row_at, last, slots_per_x = (
        grid.x.item,
        grid.rows.item,
        grid.x.size - 1,
        grid.slots_per_x,
    )
    first, rows = value_at(0), []
    for a in x:
        slot = round(min(last, max(0.0, (a - first) * slots_per_x)))  # NaN is 0, and not near.
        if not abs(a - value_at(slot)) <= tolerance:
            return None
        rows.append(row_at(slot))
    return rows


@dataclass(slots=True)
class Tally:
    """Counts and deviations of a mapping, added up block by block.

    Sums are exact integers, so blocks may come in any order and cut.

    Parameters
    ----------
    n_functions : int
        Functions of the mapping.
    """

    n_functions: int
    reasons: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    counts: list[int] = field(init=False)
    largest: list[float] = field(init=False)
    _sums: list[int] = field(init=False)
    # In units of 2**-1074, which divides every float64.

    def __post_init__(self) -> None:
        """Start from nothing."""
        self.counts = [0] * self.n_functions
        self.largest = [0.0] * self.n_functions
        self._sums = [0] * self.n_functions

    def add(self, items: Items) -> None:
        """Count one block.

        Parameters
        ----------
        items : ndarray of ITEM
            From `assign`.
        """
        reasons = np.bincount(items["reason"], minlength=len(REASONS))
        self.reasons = [a + int(b) for a, b in zip(self.reasons, reasons, strict=True)]
        mapped = np.flatnonzero(items["function"] >= 0)
        function, deviation = items["function"][mapped], items["deviation"][mapped]
        counts = np.bincount(function, minlength=self.n_functions)
        self.counts = [a + int(b) for a, b in zip(self.counts, counts, strict=True)]
        largest = np.array(self.largest)
        np.maximum.at(largest, function, deviation)
        self.largest = largest.tolist()
        finite = np.isfinite(deviation)
        if not finite.all():
            function, deviation = function[finite], deviation[finite]
        self._add_exactly(function, deviation)

    def add_few(self, rows: Sequence[Row]) -> None:
        """Count a few items.

        Parameters
        ----------
        rows : sequence of Row
            From `assign_few`.
        """
        for _, _, function, reason, _, _, deviation in rows:
            self.reasons[reason] += 1
            if reason == MAPPED:
                self.counts[function] += 1
                self.largest[function] = max(self.largest[function], deviation)
                if deviation < math.inf:
                    numerator, denominator = deviation.as_integer_ratio()
                    self._sums[function] += numerator << (1075 - denominator.bit_length())

    def _add_exactly(self, function: NDArray[np.int32], rest: FloatArray) -> None:
        """Add values, finite and not negative, to the sums without any rounding.

        The leading digits of all values are cut off as integers below 2**26, of which float64
        adds 2**27 exactly, until nothing is left: three rounds for ordinary values.
        """
        while rest.size and (largest := float(rest.max())):
            unit = max(math.frexp(largest)[1] - 26, -1074)
            digits = np.floor(np.ldexp(rest, -unit))
            rest = rest - np.ldexp(digits, unit)
            sums = np.bincount(function, digits)
            for position in np.flatnonzero(sums):
                self._sums[position] += int(sums[position]) << (unit + 1074)

    @property
    def unmapped_reasons(self) -> dict[str, int]:
        """Unmapped points by reason."""
        return {name: count for name, count in zip(REASONS, self.reasons, strict=True) if name}

    @property
    def n_assignments(self) -> int:
        """Assignments of all functions."""
        return self.reasons[MAPPED]

    def deviation_max(self, function: int) -> float | None:
        """Largest admitted deviation of one function.

        Parameters
        ----------
        function : int
            Position among the functions.

        Returns
        -------
        float or None
            None without assignments, or where float64 cannot hold it. [unit of y]
        """
        largest = self.largest[function]
        return largest if self.counts[function] and math.isfinite(largest) else None

    def deviation_mean(self, function: int) -> float | None:
        """Mean admitted deviation of one function, the exact mean rounded once.

        Parameters
        ----------
        function : int
            Position among the functions.

        Returns
        -------
        float or None
            None without assignments, or where float64 cannot hold it. [unit of y]
        """
        if self.deviation_max(function) is None:
            return None
        return self._sums[function] / (self.counts[function] << 1074)
