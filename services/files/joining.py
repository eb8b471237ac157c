"""Parts of one or many files, each with an x column of its own, become one table.

The definitions are in docs/method.md, "Join". Memory holds one part, the x of the table and the
names; numbers go to temporary files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.choices import AlignmentKind
from services.errors import (
    MOST_FACTS,
    Fact,
    GridError,
    InvalidOption,
    InvalidTable,
    TooLarge,
    error_from,
    quote,
)
from services.files.common import Part
from services.files.joined_curves import AllX, OnGrid, SameX
from services.files.limits import DEFAULT_LIMITS, ReadLimits
from services.files.spool import ColumnFile, SpooledTable
from services.grids import find_grid_faults
from services.labels import each_label, is_same_unit
from services.tables import (
    NAME_LENGTH,
    Curves,
    FloatArray,
    Labels,
    TableWarning,
    find_name_fault,
)

GridWord = Literal["same", "union", "common"]

STOP_STEPS = 1e-9
"""How far the last point of a grid of steps may be beyond its stop. [steps]"""

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_STEPS = re.compile(rf"\s*{_NUMBER}\s*:\s*{_NUMBER}\s*:\s*{_NUMBER}\s*")


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """How parts are joined.

    Parameters
    ----------
    grid : GridWord or ndarray of shape (n,)
        ``same``: every part has the x of the first. ``union``: all x of all parts. ``common``: the
        x that every part has. Or the x themselves, as from `read_grid`. [unit of x]
    x_tolerance : float or None
        How far equal x may be apart. None means 0 for the words, and `default_tolerance` for
        exact alignment. [unit of x]
    alignment : AlignmentKind
        How curves are read at the x of a grid that is not a word.
    x_unit : str or None
        Unit of x that the client gives; then those of the files are not compared.
    """

    grid: GridWord | FloatArray = "same"
    x_tolerance: float | None = None
    alignment: AlignmentKind = "linear"
    x_unit: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that contradict one another."""
        if isinstance(self.grid, str) and self.alignment == "exact":
            detail = "Leave out alignment, or give a grid start:stop:step, which it is for."
            raise error_from(InvalidOption, Fact(detail, "invalid", parameter="alignment"))
        if self.x_tolerance is None:
            return
        if not isinstance(self.grid, str) and self.alignment == "linear":
            detail = "Leave out x_tolerance, or say alignment=exact; linear alignment has none."
        elif not 0 <= self.x_tolerance < np.inf:
            detail = "x_tolerance must be a finite number, 0 or more."
        else:
            return
        raise error_from(InvalidOption, Fact(detail, "invalid", parameter="x_tolerance"))


DEFAULT_JOIN = JoinOptions()
"""Options of a client that says nothing."""


def read_grid(text: str, most_rows: int = DEFAULT_LIMITS.max_rows) -> GridWord | FloatArray:
    """Read the grid that a client asks for.

    Parameters
    ----------
    text : str
        A word, or ``start:stop:step``.
    most_rows : int
        Most points of a grid.

    Returns
    -------
    GridWord or ndarray of shape (n,)
        The word, or start + i·step for each i up to (stop - start) / step + 1e-9. [unit of x]

    Raises
    ------
    InvalidOption
        It is neither, or these are no steps from start to stop.
    TooLarge
        The grid has too many points.
    """
    if (word := text.strip()) in ("same", "union", "common"):
        return word  # type: ignore[return-value] # mypy does not narrow text to literals
    found = _STEPS.fullmatch(text)
    if found is None:
        raise _bad_grid("Say same, union, common or start:stop:step, as in 400:1800:2.")
    start, stop, step = map(float, found.groups())
    with np.errstate(all="ignore"):
        steps = float(np.float64(stop - start) / np.float64(step))
    if not (np.isfinite([start, stop, step, steps]).all() and step and steps >= 0):
        raise _bad_grid(f"{quote(text)} has no steps from start to stop.")
    if steps + STOP_STEPS >= most_rows:
        detail = f"The grid {quote(text)} has more than {most_rows} points."
        raise error_from(TooLarge, Fact(detail, "too_many_rows", parameter="grid"))
    x: FloatArray = start + np.arange(int(steps + STOP_STEPS) + 1, dtype=np.float64) * step
    if not (np.diff(x) * np.sign(step) > 0).all():
        raise _bad_grid(f"The step of {quote(text)} is too small for float64.")
    return x


def _bad_grid(detail: str) -> InvalidOption:
    return error_from(InvalidOption, Fact(f"grid: {detail}", "invalid", parameter="grid"))


class Joiner:
    """A table that grows part by part.

    Parameters
    ----------
    options : JoinOptions
        How parts are joined.
    limits : ReadLimits
        How large the table may be.
    grid : tuple of str and ndarray of shape (n,), or None
        Name and values of the x column of the dataset to which the curves are appended.
    """

    def __init__(
        self,
        options: JoinOptions = DEFAULT_JOIN,
        limits: ReadLimits = DEFAULT_LIMITS,
        grid: tuple[str, FloatArray] | None = None,
    ) -> None:
        self._options = options
        self._limits = limits
        self._x_name = grid[0] if grid else None
        self._labels = _Labels(options.x_unit)
        self._names: list[str] = []
        self._origins: list[str] = []
        self.warnings: list[TableWarning] = []
        tolerance = options.x_tolerance
        self._curves: SameX | OnGrid | AllX
        if not isinstance(options.grid, str):
            self._curves = OnGrid(options.grid, options.alignment, tolerance, limits)
        elif options.grid == "same":
            self._curves = SameX(grid[1] if grid else None, tolerance or 0.0, limits)
        else:
            self._curves = AllX(options.grid, tolerance or 0.0, limits)

    def prepare(self, part: Part) -> tuple[Part, list[TableWarning]]:
        """Leave out rows that have no place on the grid, and refuse a part that has none at all.

        Parameters
        ----------
        part : Part
            A part that is not added yet.

        Returns
        -------
        Part, list of TableWarning
            The part without rows that have no x, unless all parts have the same x; and a warning
            of these rows.

        Raises
        ------
        GridError
            A row has the x of another one, or none has an x.
        """
        if isinstance(self._options.grid, str) and self._options.grid == "same":
            return part, []
        curves: Curves = part.curves
        has_x = ~np.isnan(curves.x)
        if has_x.all() or not has_x.any():
            warnings = []
        else:
            lost = int((~has_x).sum())
            detail = f"{lost} of {has_x.size} rows have no {curves.x_name} and were left out; the"
            detail += f" first is row {int(has_x.argmin())}."
            warnings = [TableWarning("missing_x", detail, curves.x_name)]
            curves = _SomeRows(curves, np.flatnonzero(has_x))
        if facts := find_grid_faults(curves.x, curves.x_name):
            detail = f"{facts[0].detail} To be joined on a grid, every row needs a different x."
            raise GridError(detail, facts)
        return Part(curves, part.labels), warnings

    def add(self, part: Part, names: Sequence[str], origin: str) -> None:
        """Add the curves of a part.

        Parameters
        ----------
        part : Part
            A part from `prepare`. It is not closed.
        names : sequence of str
            Names of its curves in the table.
        origin : str
            Name of its file, for messages.

        Raises
        ------
        GridError
            Its x is not that of the others, or is in another unit.
        TooLarge
            There are too many curves, rows or numbers.
        """
        self._labels.add(part, origin)
        self._x_name = self._x_name or part.curves.x_name
        self._names += names
        self._origins += [origin] * len(names)
        if len(self._names) > self._limits.max_curves:
            detail = f"There are more than {self._limits.max_curves} curves."
            raise error_from(TooLarge, Fact(detail, "too_many_columns"))
        if not self._curves.add(part, origin):
            detail = f"{quote(origin)}: no number of {quote(names[0])} is on the grid."
            self.warnings.append(TableWarning("outside_grid", detail, names[0]))

    def finish(self) -> Part:
        """Make the table, after at least one part.

        Returns
        -------
        Part
            To be closed by the caller.

        Raises
        ------
        InvalidTable
            Two curves have the same name.
        GridError
            The parts have no x in common.
        """
        x_name = self._x_name or "x"
        _check_names([x_name, *self._names], ["", *self._origins])
        x, file = self._curves.finish()
        columns = ColumnFile(file, x.size)
        table = SpooledTable(columns, tuple(self._names), None, (x_name, x))
        return Part(table, self._labels.finish())

    def close(self) -> None:
        """Free the disk; not after `finish`."""
        self._curves.close()


def _check_names(names: list[str], origins: list[str]) -> None:
    """Refuse names that cannot be stored, or that two columns have; x is the first."""
    seen: dict[str, str] = {}
    facts = []
    for name, origin in zip(names, origins, strict=True):
        fault = find_name_fault(name)
        if fault is None and name in seen:
            fault = _describe_repeated(name, seen[name], origin), "duplicate_name"
        elif fault is not None:
            fault = f"{quote(origin)}: {quote(name)}: {fault[0]}", fault[1]
        seen.setdefault(name, origin)
        if fault is not None:
            facts.append(Fact(*fault, column=name[:NAME_LENGTH]))
        if len(facts) == MOST_FACTS:
            break
    if facts:
        raise InvalidTable(facts[0].detail, facts)


def _describe_repeated(name: str, first: str, second: str) -> str:
    if not first:
        return f"{quote(second)}: a curve is called {quote(name)} as the x column is; rename it."
    if first == second:
        return f"{quote(first)} has two curves called {quote(name)}; rename one."
    return f"{quote(first)} and {quote(second)} both give a curve {quote(name)}; rename a file."


class _SomeRows:
    """Some rows of curves; see `Curves`.

    Parameters
    ----------
    curves : Curves
        The curves, closed with these.
    rows : ndarray of shape (m,)
        Positions of the rows that are kept, ascending.
    """

    def __init__(self, curves: Curves, rows: NDArray[np.intp]) -> None:
        self._curves = curves
        self._rows = rows
        self.x: FloatArray = curves.x[rows]
        self.x_name = curves.x_name
        self.names = curves.names

    def read_parts(self, most_bytes: int) -> Iterator[FloatArray]:
        """Read the rows of all curves, some curves at a time."""
        for values in self._curves.read_parts(most_bytes):
            yield np.ascontiguousarray(values[:, self._rows])

    def close(self) -> None:
        """Free memory and disk."""
        self._curves.close()


class _Labels:
    """Units and attributes of the parts."""

    def __init__(self, x_unit: str | None) -> None:
        self._given = x_unit
        self._x_unit: tuple[str, str] | None = None  # with the file that has it
        self._units: list[str | None] = []
        self._attributes: list[dict[str, Any]] = []

    def add(self, part: Part, origin: str) -> None:
        labels = part.labels
        x_unit = (labels.x_unit or "").strip()
        if x_unit and self._given is None:
            self._x_unit = self._x_unit or (x_unit, origin)
            first, first_origin = self._x_unit
            if not is_same_unit(first, x_unit):
                detail = (
                    f"Convert x to one unit: it is in {quote(x_unit)} in {quote(origin)}, but in"
                    f" {quote(first)} in {quote(first_origin)}. If both are the same, send x_unit."
                )
                raise error_from(GridError, Fact(detail, "other_unit", column=part.curves.x_name))
        for unit, attributes in islice(each_label(labels), len(part.curves.names)):
            self._units.append(unit)
            self._attributes.append(attributes)

    def finish(self) -> Labels:
        return Labels(
            self._x_unit[0] if self._x_unit else None,
            tuple(self._units) if any(self._units) else (),
            tuple(self._attributes) if any(self._attributes) else (),
        )
