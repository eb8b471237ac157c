"""The numbers of a table that is joined part by part, on each kind of grid.

Each class here has `add`, `finish` and `close`, and writes to a temporary file of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from services.choices import AlignmentKind
from services.errors import Fact, GridError, InvalidTable, TooLarge, error_from, quote
from services.files.common import Part
from services.files.limits import ReadLimits
from services.files.spool import ColumnFile
from services.fingerprint import canonicalize
from services.grids import Alignment, align, read_curves, sort_grid
from services.scratch import scratch
from services.tables import FloatArray

_DATASET = "the dataset"
_READ_BYTES = 4 << 20
"""Most bytes of curves that are joined at once, unless one curve is longer."""


class _Numbers:
    """A temporary file of numbers, one array after the other."""

    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits
        self.file: BinaryIO = scratch.file()
        self.written = 0

    def append(self, values: FloatArray) -> None:
        self.check(self.written + values.size)
        self.file.write(canonicalize(values).data)
        self.written += values.size

    def check(self, numbers: int) -> None:
        """Refuse more numbers than allowed."""
        if 8 * numbers > self._limits.max_bytes:
            most = self._limits.max_bytes
            detail = f"The numbers take more than {most} bytes, eight bytes each."
            raise error_from(TooLarge, Fact(detail, "too_many_values"))

    def read(self, offset: int, shape: tuple[int, int]) -> FloatArray:
        """Read an array, `offset` numbers behind the beginning."""
        self.file.flush()
        return ColumnFile(self.file, shape[1], offset).read(0, shape[0])

    def complete(self) -> BinaryIO:
        """Return the file for readers, who do not see what is buffered."""
        self.file.flush()
        return self.file

    def close(self) -> None:
        self.file.close()


class SameX:
    """Curves that all have the x of the first part, row by row.

    Parameters
    ----------
    x : ndarray of shape (n,), or None
        The x of a dataset to which the curves are appended. [unit of x]
    tolerance : float
        How far an x may be from that of the first. [unit of x]
    limits : ReadLimits
        How large the table may be.
    """

    def __init__(self, x: FloatArray | None, tolerance: float, limits: ReadLimits) -> None:
        self._x = x
        self._origin = None if x is None else _DATASET
        self._tolerance = tolerance
        self._numbers = _Numbers(limits)

    def add(self, part: Part, origin: str) -> bool:
        """Add the curves of a part.

        Parameters
        ----------
        part : Part
            The part.
        origin : str
            Name of its file, for messages.

        Returns
        -------
        bool
            True: all rows are used.
        """
        x = part.curves.x
        if self._x is None:
            self._x, self._origin = x, quote(origin)
        elif fault := self._find_difference(x):
            advice = "Say grid=union, grid=common or grid=start:stop:step to join different x"
            if self._origin == _DATASET:
                advice = "Send curves on the x of the dataset, or say grid= of its steps"
            detail = f"{advice}: {quote(origin)} has another x than {self._origin}, {fault}."
            raise error_from(GridError, Fact(detail, "other_x", column=part.curves.x_name))
        for values in part.curves.read_parts(_READ_BYTES):
            self._numbers.append(values)
        return True

    def _find_difference(self, x: FloatArray) -> str | None:
        first = self._x
        if first is None or first.size != x.size:
            return f"{x.size} rows, not {0 if first is None else first.size}"
        with np.errstate(over="ignore"):
            near = np.abs(x - first) <= self._tolerance
        differs = np.flatnonzero(~(near | (np.isnan(x) & np.isnan(first))))
        if not differs.size:
            return None
        row = int(differs[0])
        return f"row {row} has {float(x[row])!r}, not {float(first[row])!r}"

    def finish(self) -> tuple[FloatArray, BinaryIO]:
        """Return x and the file of the curves, one after the other, to be closed."""
        if self._x is None:
            raise ValueError("There is no part.")
        return self._x, self._numbers.complete()

    def close(self) -> None:
        """Free the disk."""
        self._numbers.close()


class OnGrid:
    """Curves read at the x of a grid, as a fit reads a library.

    Parameters
    ----------
    x : ndarray of shape (n,)
        The grid. [unit of x]
    alignment : AlignmentKind
        How the curves are read.
    tolerance : float or None
        For exact alignment; None means `default_tolerance`. [unit of x]
    limits : ReadLimits
        How large the table may be.
    """

    def __init__(
        self,
        x: FloatArray,
        alignment: AlignmentKind,
        tolerance: float | None,
        limits: ReadLimits,
    ) -> None:
        self._x = x
        self._options = alignment, tolerance
        self._numbers = _Numbers(limits)
        # Files of one instrument have the same x.
        self._last: tuple[FloatArray, Alignment] | None = None

    def add(self, part: Part, origin: str) -> bool:
        """Add the curves of a part.

        Parameters
        ----------
        part : Part
            The part, whose x is a grid.
        origin : str
            Name of its file, for messages.

        Returns
        -------
        bool
            Whether any number is on the grid.
        """
        alignment = self._align(part.curves.x)
        used = False
        for curves in part.curves.read_parts(_READ_BYTES):
            values, has_number = read_curves(curves, alignment)
            values[~(has_number & alignment.covered)] = np.nan
            if np.isinf(values).any():
                detail = f"{quote(origin)}: the numbers are too large to be interpolated."
                raise error_from(InvalidTable, Fact(detail, "not_finite"))
            used = used or not np.isnan(values).all()
            self._numbers.append(values)
        return used

    def _align(self, x: FloatArray) -> Alignment:
        if self._last is None or not np.array_equal(self._last[0], x):
            self._last = x, align(self._x, sort_grid(x), *self._options)
        return self._last[1]

    def finish(self) -> tuple[FloatArray, BinaryIO]:
        """Return x and the file of the curves, one after the other, to be closed."""
        return self._x, self._numbers.complete()

    def close(self) -> None:
        """Free the disk."""
        self._numbers.close()


@dataclass(frozen=True, slots=True)
class _Kept:
    """Place of a part in the file: its x, unless an earlier part has the same, and its curves."""

    x: int
    rows: int
    y: int
    curves: int


class AllX:
    """Curves on all x of all parts, or on those that every part has.

    Parameters
    ----------
    word : str
        ``union`` or ``common``.
    tolerance : float
        How far equal x may be apart. [unit of x]
    limits : ReadLimits
        How large the table may be.
    """

    def __init__(
        self, word: Literal["union", "common"], tolerance: float, limits: ReadLimits
    ) -> None:
        self._tolerance = tolerance
        self._limits = limits
        self._numbers = _Numbers(limits)
        self._parts: list[_Kept] = []
        self._known: dict[bytes, int] = {}  # place of each x that was written, by its hash
        self._grid = _Union(limits) if word == "union" else _Common(tolerance)

    def add(self, part: Part, origin: str) -> bool:
        """Add the curves of a part.

        Parameters
        ----------
        part : Part
            The part, whose x is a grid.
        origin : str
            Name of its file, for messages.

        Returns
        -------
        bool
            True: it shares all its x, or is refused.
        """
        x = part.curves.x
        digest = hashlib.sha256(x.tobytes()).digest()
        if digest not in self._known:
            self._check_steps(x, origin)
            self._known[digest] = self._numbers.written
            self._numbers.append(x)
            self._grid.add(x, origin)
        y = self._numbers.written
        for values in part.curves.read_parts(_READ_BYTES):
            self._numbers.append(values)
        self._parts.append(_Kept(self._known[digest], x.size, y, len(part.curves.names)))
        return True

    def _check_steps(self, x: FloatArray, origin: str) -> None:
        """Refuse a tolerance that could take two x of one file for one."""
        step = sort_grid(x).step
        if self._tolerance and x.size > 1 and not 2 * self._tolerance < step:
            detail = (
                f"x_tolerance must be less than half of {step!r}, which is the smallest step"
                f" of {quote(origin)}."
            )
            raise error_from(GridError, Fact(detail, "too_tolerant", parameter="x_tolerance"))

    def finish(self) -> tuple[FloatArray, BinaryIO]:
        """Return x and the file of the curves, one after the other, to be closed."""
        x = self._grid.finish(self._tolerance)
        joined = _Numbers(self._limits)
        try:
            joined.check(x.size * sum(part.curves for part in self._parts))
            for part in self._parts:
                for values in self._place(part, x):
                    joined.append(values)
        except BaseException:
            joined.close()
            raise
        self._numbers.close()
        return x, joined.complete()

    def _place(self, part: _Kept, x: FloatArray) -> Iterator[FloatArray]:
        """Yield curves of a part, some at a time, with gaps where it has no x."""
        own = self._numbers.read(part.x, (1, part.rows))[0]
        # No number is here twice: the tolerance is less than half of each step.
        if isinstance(self._grid, _Union):
            place = np.searchsorted(x, own, side="right") - 1
            taken = np.arange(own.size)
        else:
            place = np.arange(x.size)
            taken = align(x, sort_grid(own), "exact", self._tolerance).left
        step = max(1, _READ_BYTES // (8 * max(part.rows, x.size)))
        for start in range(0, part.curves, step):
            shape = min(step, part.curves - start), part.rows
            values = np.full((shape[0], x.size), np.nan)
            curves = self._numbers.read(part.y + start * part.rows, shape)
            values[:, place] = curves[:, taken]
            yield values

    def close(self) -> None:
        """Free the disk."""
        self._numbers.close()


class _Union:
    """All x of all parts, ascending."""

    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits
        self._x = np.empty(0)
        self._waiting: list[FloatArray] = []
        self._wait = 0

    def add(self, x: FloatArray, origin: str) -> None:
        self._waiting.append(x)
        self._wait += x.size
        # Merging as many as there are keeps the work in proportion to the numbers.
        if self._wait > max(self._x.size, 1 << 16):
            self._merge(origin)

    def _merge(self, origin: str) -> None:
        # Adding 0.0 makes one zero of both.
        self._x = np.unique(np.concatenate([self._x, *self._waiting]) + 0.0)
        self._waiting, self._wait = [], 0
        if self._x.size > self._limits.max_rows:
            detail = f"With {quote(origin)} there are {self._x.size} different x; the limit is"
            detail += f" {self._limits.max_rows}. Say grid=start:stop:step."
            raise error_from(TooLarge, Fact(detail, "too_many_rows", parameter="grid"))

    def finish(self, tolerance: float) -> FloatArray:
        self._merge("the last file")
        grid: FloatArray = self._x[_find_firsts(self._x, tolerance)]
        return grid


def _find_firsts(x: FloatArray, tolerance: float) -> NDArray[np.bool_]:
    """Find the smallest x of each group, the others of which are within the tolerance of it.

    A mask. The groups are made in ascending order, so that an x is in the first group it fits.
    """
    with np.errstate(over="ignore"):
        starts: NDArray[np.bool_] = np.concatenate(([True], np.diff(x) > tolerance))
    if not tolerance:
        return starts
    # Runs without a larger step are mostly one group; a longer one is cut group by group.
    bounds = [*np.flatnonzero(starts), x.size]
    with np.errstate(over="ignore"):
        last = x[np.array(bounds[1:]) - 1]
        long = np.flatnonzero(last - x[starts] > tolerance)
    for run in long:
        at, end = int(bounds[run]), int(bounds[run + 1])
        while at < end:
            starts[at] = True
            at += int(_count_near(x[at:end], tolerance))
    return starts


def _count_near(x: FloatArray, tolerance: float) -> int:
    """Count the first values that are within the tolerance of the first."""
    low, high = 1, x.size
    while low < high:  # all of x[:low] are near, none of x[high:] is
        middle = (low + high) // 2
        if x[middle] - x[0] <= tolerance:
            low = middle + 1
        else:
            high = middle
    return low


class _Common:
    """The x of the first part that every part has, ascending."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._x: FloatArray | None = None

    def add(self, x: FloatArray, origin: str) -> None:
        grid = sort_grid(x)
        if self._x is None:
            self._x = grid.x + 0.0
            return
        self._x = self._x[align(self._x, grid, "exact", self._tolerance).covered]
        if not self._x.size:
            detail = f"Leave out {quote(origin)}, or say grid=union or grid=start:stop:step;"
            detail += " it has no x that all files before it have."
            raise error_from(GridError, Fact(detail, "no_common_x", parameter="grid"))

    def finish(self, tolerance: float) -> FloatArray:
        del tolerance
        if self._x is None:
            raise ValueError("There is no part.")
        return self._x
