"""Tables of curves on one grid, and the names of their columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.errors import MOST_FACTS, Fact, InvalidTable

FloatArray = NDArray[np.float64]

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, lone surrogates, line and paragraph separators."""

NAME_LENGTH = 200
"""Most characters of the name of a dataset or a curve."""


class Curves(Protocol):
    """Curves that share one x column, in memory or, if they are large, on disk."""

    @property
    def x(self) -> FloatArray:
        """Abscissae in the order of the rows, shape (n,), [unit of x]; NaN is a gap."""

    @property
    def x_name(self) -> str:
        """Name of the x column."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the curves."""

    def read_parts(self, most_bytes: int) -> Iterator[FloatArray]:
        """Read all curves in order, some at a time; may be called again.

        Parameters
        ----------
        most_bytes : int
            Most bytes of a part, unless a single curve is longer.

        Yields
        ------
        ndarray of shape (m, n)
            One curve a row, C-contiguous, as from `canonicalize`. [unit of y]
        """

    def close(self) -> None:
        """Free memory and disk; nothing can be read any more."""


@dataclass(frozen=True, slots=True)
class Table:
    """Curves that share one x column, in memory; see `Curves`.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Abscissae in the order of the rows; NaN is a gap. [unit of x]
    y : ndarray of shape (m, n)
        One curve a row, C-contiguous; NaN is a gap. [unit of y]
    names : tuple of m str
        Names of the curves.
    x_name : str
        Name of the x column.
    """

    x: FloatArray
    y: FloatArray
    names: tuple[str, ...]
    x_name: str = "x"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, x first."""
        return (self.x_name, *self.names)

    def read_parts(self, most_bytes: int) -> Iterator[FloatArray]:
        """Yield views of y; see `Curves`."""
        step = max(1, most_bytes // self.x.nbytes)
        for start in range(0, len(self.names), step):
            yield self.y[start : start + step]

    def close(self) -> None:
        """Do nothing: the table is in memory."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Units and attributes of the columns of a table.

    Parameters
    ----------
    x_unit : str or None
        Unit of x.
    units : tuple of str or None
        Unit of each curve, in the order of the curves; empty if no curve has one.
    attributes : tuple of dict
        Attributes of each curve, as JSON objects; empty if no curve has any.
    """

    x_unit: str | None = None
    units: tuple[str | None, ...] = ()
    attributes: tuple[dict[str, Any], ...] = ()


NO_LABELS = Labels()
"""Labels of a table that has none."""


@dataclass(frozen=True, slots=True)
class TableWarning:
    """A reading of a table that may be wrong.

    Parameters
    ----------
    code : str
        The kind of fault, as a word for programs.
    detail : str
        The fault, as a sentence.
    column : str or None
        Name of the column.
    row : int or None
        Row of the table, from 0.
    options : dict or None
        Options of the request that would read it in the other way.
    """

    code: str
    detail: str
    column: str | None = None
    row: int | None = None
    options: dict[str, Any] | None = None


def clean_names(names: list[str]) -> list[str]:
    """Strip column names of the spaces around them, and check them.

    Parameters
    ----------
    names : list of str

    Raises
    ------
    InvalidTable
        A name is empty, too long, repeated, or has a control character.
    """
    cleaned = [name.strip() for name in names]
    seen: dict[str, int] = {}
    facts = []
    for position, name in enumerate(cleaned):
        problem = find_name_fault(name)
        if problem is None and name in seen:
            both = f"Columns {seen[name] + 1} and {position + 1} are both called {name!r}"
            problem = (f"{both}; give each column a different name.", "duplicate_name")
        seen.setdefault(name, position)
        if problem is not None:
            detail, code = problem
            facts.append(Fact(f"Column {position + 1}: {detail}", code, column=name[:NAME_LENGTH]))
    if facts:
        raise InvalidTable("The column names cannot be used.", facts[:MOST_FACTS])
    return cleaned


def find_name_fault(name: str) -> tuple[str, str] | None:
    """Find out why a column cannot have a name.

    Parameters
    ----------
    name : str
        A name without spaces around it.

    Returns
    -------
    tuple of two str, or None
        A sentence and a code; None if it can.
    """
    if not name:
        return "The name is empty; every column needs one.", "empty_name"
    if len(name) > NAME_LENGTH:
        return f"The name is longer than {NAME_LENGTH} characters.", "long_name"
    if has_control(name):
        return "The name holds a control character or a line break.", "bad_name"
    return None


def has_control(text: str) -> bool:
    """Tell if a text holds a control character or a line break.

    Parameters
    ----------
    text : str
        A name or a unit.
    """
    # All these characters are unprintable, too, which is much faster to find out.
    return not text.isprintable() and any(unicodedata.category(c) in _UNPRINTABLE for c in text)
