"""A table of curves on one grid, and its fingerprint."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.errors import Fact, InvalidTable

FloatArray = NDArray[np.float64]

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, lone surrogates, line and paragraph separators."""

NAME_LENGTH = 200
"""Characters that the name of a dataset or a curve may have."""

PIECE_BYTES = 8 << 20
"""Bytes of curves that are copied at a time."""


class Curves(Protocol):
    """Curves that share one x column, wherever they lie; the largest do not lie in memory."""

    @property
    def x(self) -> FloatArray:
        """Abscissae in their order, shape (n,), [unit of x]; NaN is a gap."""

    @property
    def x_name(self) -> str:
        """Name of the x column."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the curves."""

    def pieces(self, most_bytes: int) -> Iterator[FloatArray]:
        """All curves in their order, some at a time; may be called again.

        Parameters
        ----------
        most_bytes : int
            Size of a piece, unless a single curve is longer.

        Yields
        ------
        ndarray of shape (m, n)
            One curve a row, C-contiguous, as `canonical` gives them. [unit of y]
        """

    def close(self) -> None:
        """Give memory and disk back; nothing can be read any more."""


@dataclass(frozen=True, slots=True)
class Table:
    """Curves that share one x column, in memory; see `Curves`.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Abscissae in the order in which they came; NaN is a gap. [unit of x]
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

    def pieces(self, most_bytes: int) -> Iterator[FloatArray]:
        """All curves in their order, some at a time.

        Parameters
        ----------
        most_bytes : int
            Size of a piece, unless a single curve is longer.

        Yields
        ------
        ndarray of shape (m, n)
            Views of y.
        """
        step = max(1, most_bytes // self.x.nbytes)
        for start in range(0, len(self.names), step):
            yield self.y[start : start + step]

    def close(self) -> None:
        """Nothing to give back."""


def whole(curves: Curves) -> Table:
    """All curves in memory.

    Parameters
    ----------
    curves : Curves
        Not closed yet.

    Returns
    -------
    Table
        The same curves.
    """
    y = np.empty((len(curves.names), curves.x.size))
    filled = 0
    for piece in curves.pieces(PIECE_BYTES):
        y[filled : filled + len(piece)] = piece
        filled += len(piece)
    return Table(curves.x, y, curves.names, curves.x_name)


def clean_names(names: list[str]) -> list[str]:
    """Column names without the spaces around them.

    Parameters
    ----------
    names : list of str
        Names as they came.

    Returns
    -------
    list of str
        The same names, stripped.

    Raises
    ------
    InvalidTable
        A name is empty, too long, holds a control character, or stands twice.
    """
    cleaned = [name.strip() for name in names]
    seen: dict[str, int] = {}
    facts = []
    for position, name in enumerate(cleaned):
        problem = _name_problem(name)
        if problem is None and name in seen:
            both = f"Columns {seen[name] + 1} and {position + 1} are both called {name!r}"
            problem = (f"{both}; give each column a name of its own.", "duplicate_name")
        seen.setdefault(name, position)
        if problem is not None:
            detail, code = problem
            facts.append(Fact(f"Column {position + 1}: {detail}", code, column=name[:NAME_LENGTH]))
    if facts:
        raise InvalidTable("The column names cannot be used.", facts[:20])
    return cleaned


def _name_problem(name: str) -> tuple[str, str] | None:
    if not name:
        return "The name is empty; every column needs one.", "empty_name"
    if len(name) > NAME_LENGTH:
        return f"The name is longer than {NAME_LENGTH} characters.", "long_name"
    # All of them are unprintable in the sense of `str`, which is asked much faster.
    if not name.isprintable() and any(unicodedata.category(c) in _UNPRINTABLE for c in name):
        return "The name holds a control character or a line break.", "bad_name"
    return None
