"""Which chosen functions admit a test point, and why a point gets none.

The definitions are in docs/method.md, Mapping.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services import grids
from services.errors import Fact, InvalidOption
from services.grids import Alignment, AlignmentKind, BoolArray, SortedGrid
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

_CELLS = 1 << 20
"""Deviations held at once (8 MiB)."""


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
    """

    curves: FloatArray
    scale: FloatArray
    offset: FloatArray
    limit: FloatArray


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
    if options.alignment == "exact" and options.x_tolerance is None:
        tolerance: float | None = grids.default_tolerance(ordered.x)
    else:
        tolerance = options.x_tolerance
    columns, rows = test.y.shape
    step = block_rows or max(1, _CELLS // (columns * len(functions.curves)))
    for start in range(0, rows, step):
        x = test.x[start : start + step]
        alignment = grids.align(x, ordered, options.alignment, tolerance)
        yield _assign_rows(
            start, x, test.y[:, start : start + step], alignment, functions, options.policy
        )


def _assign_rows(  # noqa: PLR0913, PLR0917 - the pieces of one block, used once
    start: int,
    x: FloatArray,
    y: FloatArray,
    alignment: Alignment,
    functions: Functions,
    policy: Policy,
) -> Items:
    values, present = grids.read(functions.curves, alignment)
    present &= alignment.covered
    # Axes from here on: row, column, function, which is the order of the items.
    with np.errstate(all="ignore"):
        g = functions.scale[:, np.newaxis] * values + functions.offset[:, np.newaxis]
        deviation = np.abs(y.T[:, :, np.newaxis] - g.T[:, np.newaxis, :])
        admitted = present.T[:, np.newaxis, :] & (deviation <= functions.limit)
    _apply(policy, admitted, deviation)
    mapped = np.nonzero(admitted)
    missing = np.isnan(x[:, np.newaxis]) | np.isnan(y.T)
    unmapped = np.nonzero(~admitted.any(axis=2))
    covered = np.any(present.T, axis=1, keepdims=True)
    reason = np.where(missing, MISSING, np.where(covered, DEVIATION, NOT_COVERED))

    items = np.empty(len(mapped[0]) + len(unmapped[0]), dtype=ITEM)
    row = np.concatenate((mapped[0], unmapped[0]))
    column = np.concatenate((mapped[1], unmapped[1]))
    items["point"] = row + start
    items["column"] = column
    items["function"][: len(mapped[0])] = mapped[2]
    items["function"][len(mapped[0]) :] = -1
    items["reason"][: len(mapped[0])] = MAPPED
    items["reason"][len(mapped[0]) :] = reason[unmapped]
    items["x"] = x[row]
    items["y"] = y[column, row]
    items["deviation"][: len(mapped[0])] = deviation[mapped]
    items["deviation"][len(mapped[0]) :] = np.nan
    # Both parts are in order already; a stable sort by cell puts them together.
    return items[np.argsort(row * len(y) + column, kind="stable")]


def _apply(policy: Policy, admitted: BoolArray, deviation: FloatArray) -> None:
    """Leave, in place, only the function that the policy picks among the admitting."""
    if policy == "all":
        return
    if policy == "first":
        admitted &= np.cumsum(admitted, axis=2) == 1
        return
    # The first of equals wins. An infinite deviation can be admitted by an infinite limit and
    # must still win over functions that refuse.
    key = np.where(admitted, np.minimum(deviation, np.finfo(np.float64).max), np.inf)
    picked = np.zeros_like(admitted)
    np.put_along_axis(picked, np.argmin(key, axis=2)[:, :, np.newaxis], values=True, axis=2)
    admitted &= picked


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
    counts: NDArray[np.int64] = field(init=False)
    largest: FloatArray = field(init=False)
    _sums: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        self.counts = np.zeros(self.n_functions, dtype=np.int64)
        self.largest = np.zeros(self.n_functions)
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
        mapped = items[items["reason"] == MAPPED]
        order = np.argsort(mapped["function"], kind="stable")
        present, starts = np.unique(mapped["function"][order], return_index=True)
        for function, deviation in zip(
            present, np.split(mapped["deviation"][order], starts[1:]), strict=False
        ):
            self.counts[function] += len(deviation)
            self.largest[function] = max(self.largest[function], deviation.max())
            self._sums[function] += _exact_sum(deviation[np.isfinite(deviation)])

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
        largest = float(self.largest[function])
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
        return self._sums[function] / (int(self.counts[function]) << _UNIT)


_UNIT = 1074 + 53
"""Sums are integers in units of 2**-_UNIT, which divides every float64."""


def _exact_sum(values: FloatArray) -> int:
    """Sum of finite values, not negative, in units of 2**-_UNIT, without any rounding."""
    mantissas, exponents = np.frexp(values)
    digits = np.ldexp(mantissas, 53).astype(np.int64)
    total = 0
    for exponent in np.unique(exponents):
        some = digits[exponents == exponent]
        # Two halves, so that 2**36 of them cannot overflow int64.
        part = (int(np.sum(some >> 26)) << 26) + int(np.sum(some & ((1 << 26) - 1)))
        total += part << (int(exponent) - 53 + _UNIT)
    return total
