"""Shared by the readers of all formats: their options, what they report, and the x column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.formats import Compression, Format
from services.files.limits import DEFAULT_LIMITS, ReadLimits
from services.fingerprint import canonicalize
from services.tables import NO_LABELS, Curves, FloatArray, Labels, Table, TableWarning

USUAL_X = ("x", "X")
"""Names of an x column that need not be said."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a file was read; None where the format has no such thing.

    Parameters
    ----------
    format : Format or str
        Format of the file; ``mixed`` of many files that have several.
    encoding : str or None
        ``utf-8``, ``utf-8-sig`` (with a byte order mark), ``utf-16-le``, ``utf-16-be``,
        ``latin-1`` or ``windows-1252``.
    delimiter : str or None
        Character between the cells, or ``space``.
    decimal, thousands : str or None
        Decimal mark, ``.`` or ``,``, and the mark of thousands.
    header : str or None
        ``present`` or ``absent``.
    compression : Compression or None
        Compression of the body or of the file.
    sheet : str or None
        Name of the sheet.
    first_line, last_line : int or None
        Lines of the table, from 1; rows of a sheet.
    skipped : tuple of str
        The first of the lines that were left out.
    comment : str or None
        Characters with which lines begin that were left out.
    gap : tuple of str
        Words for a gap that the client named.
    layout : str or None
        ``columns``, ``rows`` or ``pairs``.
    units : str or None
        ``present`` if a row of units was read, else ``absent``.
    x_column : str or None
        The x column, if the client named it.
    columns : tuple of str or None
        The columns that the client named.
    """

    format: Format | Literal["mixed"]
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header: str | None = None
    compression: Compression | None = None
    sheet: str | None = None
    thousands: str | None = None
    first_line: int | None = None
    last_line: int | None = None
    skipped: tuple[str, ...] = ()
    comment: str | None = None
    gap: tuple[str, ...] = ()
    layout: str | None = None
    units: str | None = None
    x_column: str | None = None
    columns: tuple[str, ...] | None = None


Header = Literal["auto", "present", "absent"]
Layout = Literal["columns", "rows", "pairs"]
Units = Literal["auto", "present", "absent"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of the client for reading a file, and the limits.

    Parameters
    ----------
    header : Header
        ``present``: the first row of text or of a sheet holds the names. ``absent``: they are x,
        y1, y2, ...; a single curve is called by `stem`. ``auto``: found.
    first_line, last_line : int or None
        Lines of the table, from 1; rows of a sheet. Found if None.
    comment : str or None
        Characters with which lines begin that are left out; usual ones if None.
    delimiter : str or None
        Character between the cells, or ``space`` for any run of blanks. Found if None.
    decimal : str or None
        Decimal mark, ``.`` or ``,``. Found if None.
    thousands : str or None
        Mark of thousands; None if there are none.
    encoding, charset : str or None
        Encoding that the client asks for, and the one that it declared.
    gap : tuple of str
        More words or numbers that stand for a gap.
    sheet : str or None
        Name of the sheet. Found if None.
    x_column : str or None
        Name of the x column, or ``#`` and its position from 1; by default the first of `usual_x`
        that there is, else the first column.
    columns : tuple of str
        Columns to read, as `x_column`; all if there are none.
    layout : Layout
        How curves lie in the table.
    units : Units
        Whether a row of units follows the names.
    stem : str or None
        Name of a single curve that has none.
    usual_x : sequence of str
        Names to look for by default.
    n_points : int or None
        Length of each curve, if the curves are appended to a dataset.
    limits : ReadLimits
        How large the table may be.
    """

    header: Header = "auto"
    first_line: int | None = None
    last_line: int | None = None
    comment: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    charset: str | None = None
    gap: Sequence[str] = ()
    sheet: str | None = None
    x_column: str | None = None
    columns: Sequence[str] = ()
    layout: Layout = "columns"
    units: Units = "auto"
    stem: str | None = None
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
    labels : Labels
        Units and attributes.
    warnings : tuple of TableWarning
        Readings that may be wrong.
    offset : int
        Numbers before the first one of this table in the file of columns.
    """

    columns: tuple[str, ...]
    rows: int
    source: Source
    x: int | None = None
    labels: Labels = NO_LABELS
    warnings: tuple[TableWarning, ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One x column and its curves.

    Parameters
    ----------
    curves : Curves
        The numbers, to be closed by the owner.
    labels : Labels
        Units and attributes.
    """

    curves: Curves
    labels: Labels = NO_LABELS


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was read.

    Parameters
    ----------
    parts : tuple of Part
        One for each x column of the file, which nearly always is one.
    source : Source
        How the file was read.
    warnings : tuple of TableWarning
        Readings that may be wrong.
    """

    parts: tuple[Part, ...]
    source: Source
    warnings: tuple[TableWarning, ...] = ()

    def close(self) -> None:
        """Free memory and disk."""
        for part in self.parts:
            part.curves.close()


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
    if not columns:
        detail = "There is no column; an x column and at least one curve are needed."
        raise error_from(InvalidTable, Fact(detail, "no_columns"))
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
