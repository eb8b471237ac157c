"""Shared by the readers of all formats: their options, what they report, and the x column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.formats import Compression, Format
from services.files.limits import DEFAULT_LIMITS, ReadLimits
from services.fingerprint import canonicalize
from services.tables import FloatArray, Table

USUAL_X = ("x", "X")
"""Names of an x column that need not be said."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a file was read.

    Parameters
    ----------
    format : Format
        Format of the file.
    encoding : str or None
        ``utf-8``, ``utf-8-sig`` (with a byte order mark), ``utf-16-le`` or ``utf-16-be``.
    delimiter : str or None
        Character between the cells.
    decimal : str or None
        Decimal mark, ``.`` or ``,``.
    header : str or None
        ``present`` or ``absent``.
    compression : Compression or None
        Compression of the body or of the file.
    sheet : str or None
        Name of the sheet.
    """

    format: Format
    encoding: str | None
    delimiter: str | None
    decimal: str | None
    header: str | None
    compression: Compression | None = None
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of the client for reading a file, and the limits.

    Parameters
    ----------
    header : str
        ``present``: the first row of text or of a sheet holds the names. ``absent``: they are x,
        y1, y2, ...
    sheet : str or None
        Name of the sheet; by default the first.
    x_column : str or None
        Name of the x column; by default the first of `usual_x` that there is, else the first
        column.
    usual_x : sequence of str
        Names to look for by default.
    n_points : int or None
        Length of each curve, if the curves are appended to a dataset.
    limits : ReadLimits
        How large the table may be.
    """

    header: str = "present"
    sheet: str | None = None
    x_column: str | None = None
    usual_x: Sequence[str] = USUAL_X
    n_points: int | None = None
    limits: ReadLimits = DEFAULT_LIMITS


DEFAULT_OPTIONS = ReadOptions()
"""Options of a client that says nothing."""


@dataclass(frozen=True, slots=True)
class TableHead:
    """Everything about a table but its numbers.

    Parameters
    ----------
    columns : tuple of str
        Names of all columns, cleaned, in their order.
    rows : int
        Length of each column.
    source : Source
        How the file was read.
    x : int or None
        Position of the x column; None in a file of one curve a row that has none.
    """

    columns: tuple[str, ...]
    rows: int
    source: Source
    x: int | None = None


def find_x(columns: tuple[str, ...], x_column: str | None, usual_x: Sequence[str] = USUAL_X) -> int:
    """Find the x column.

    Parameters
    ----------
    columns : tuple of c str
        Names of all columns, cleaned, in their order.
    x_column, usual_x
        As in `ReadOptions`.

    Returns
    -------
    int
        Position of the x column.

    Raises
    ------
    InvalidTable
        There is no such column, or no curve beside it.
    """
    if len(columns) == 1:
        detail = "There is only one column; an x column and at least one curve are needed."
        raise error_from(InvalidTable, Fact(detail, "one_column", column=columns[0]))
    if x_column is None:
        return next((columns.index(name) for name in usual_x if name in columns), 0)
    if x_column.strip() not in columns:
        detail = f"There is no column {quote(x_column)} to take x from."
        raise error_from(InvalidTable, Fact(detail, "unknown_column", parameter="x_column"))
    return columns.index(x_column.strip())


def pick_x(
    columns: tuple[str, ...],
    values: FloatArray,
    x_column: str | None,
    usual_x: Sequence[str] = USUAL_X,
) -> Table:
    """Make a table of columns, one of which is x.

    Parameters
    ----------
    columns : tuple of c str
        Names of all columns, cleaned, in their order.
    values : ndarray of shape (c, n)
        Their numbers; NaN is a gap.
    x_column, usual_x
        As in `ReadOptions`.

    Returns
    -------
    Table
        With canonical values.

    Raises
    ------
    InvalidTable
        There is no such column, no curve beside it, or no row.
    """
    at = find_x(columns, x_column, usual_x)
    require_rows(values.shape[1])
    values = canonicalize(values)
    y = values[1:] if at == 0 else np.delete(values, at, axis=0)
    return Table(values[at], y, columns[:at] + columns[at + 1 :], columns[at])


def require_rows(rows: int) -> None:
    """Refuse a table without rows.

    Parameters
    ----------
    rows : int
        Number of its rows.

    Raises
    ------
    InvalidTable
        There are none.
    """
    if rows == 0:
        raise error_from(InvalidTable, Fact("There are names, but no data rows.", "no_rows"))
