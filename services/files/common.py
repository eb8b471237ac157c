"""What the readers of all formats share: what they say of a file, and which column is x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.limits import DEFAULT_LIMITS, ReadLimits
from services.files.spool import Spool, SpooledTable
from services.fingerprint import canonicalize
from services.tables import FloatArray, Table

USUAL_X = ("x", "X")
"""Names of an x column that need not be said."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a file was read.

    Parameters
    ----------
    format : str
        ``csv``, ``tsv``, ``json``, ``parquet``, ``arrow`` or ``xlsx``.
    encoding : str or None
        ``utf-8``, ``utf-8-sig`` (with a byte order mark), ``utf-16-le`` or ``utf-16-be``.
    delimiter : str or None
        What parts the cells.
    decimal : str or None
        The decimal mark, ``.`` or ``,``.
    header : str or None
        ``present`` or ``absent``.
    compression : str or None
        ``gzip`` or ``zstd``, of the body or of the file.
    sheet : str or None
        Name of the sheet that was read.
    """

    format: str
    encoding: str | None
    delimiter: str | None
    decimal: str | None
    header: str | None
    compression: str | None = None
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a caller says of a binary file.

    Parameters
    ----------
    header : str
        ``present`` or ``absent``; of sheets only.
    sheet : str or None
        Name of the sheet; by default the first.
    x_column : str or None
        Name of the x column.
    usual_x : sequence of str
        Names of an x column that need not be said.
    n_points : int or None
        Numbers of a curve, where the dataset is there already.
    limits : ReadLimits
        How large the table may be.
    """

    header: str = "present"
    sheet: str | None = None
    x_column: str | None = None
    usual_x: Sequence[str] = USUAL_X
    n_points: int | None = None
    limits: ReadLimits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class Found:
    """What was in a binary file, beside its numbers.

    Parameters
    ----------
    columns : tuple of str
        Names of all columns, cleaned, in their order.
    rows : int
        How long each is.
    source : Source
        How the file was read.
    x : int or None
        Position of the x column; None where the file has none, in a file of one curve a row.
    """

    columns: tuple[str, ...]
    rows: int
    source: Source
    x: int | None = None


def pick_x(
    columns: tuple[str, ...],
    values: FloatArray,
    x_column: str | None,
    usual_x: Sequence[str] = USUAL_X,
) -> Table:
    """Part the x column from the curves.

    Parameters
    ----------
    columns : tuple of c str
        Names of all columns, cleaned, in their order.
    values : ndarray of shape (c, n)
        Their numbers; NaN is a gap.
    x_column : str or None
        Name of the x column; by default the one called x, else X, else the first.
    usual_x : sequence of str
        Names to look for by default.

    Returns
    -------
    Table
        With canonical values.

    Raises
    ------
    InvalidTable
        There is no such column, no curve beside it, or no row.
    """
    at = x_position(columns, x_column, usual_x)
    _check_rows(values.shape[1])
    values = canonicalize(values)
    y = values[1:] if at == 0 else np.delete(values, at, axis=0)
    return Table(values[at], y, columns[:at] + columns[at + 1 :], columns[at])


def spooled_table(
    columns: tuple[str, ...],
    spool: Spool,
    x_column: str | None,
    usual_x: Sequence[str] = USUAL_X,
) -> SpooledTable:
    """Part the x column from the curves of a file.

    Parameters
    ----------
    columns : tuple of c str
        Names of all columns, cleaned, in their order.
    spool : Spool
        Their numbers; it belongs to the table from here on.
    x_column : str or None
        Name of the x column; by default the one called x, else X, else the first.
    usual_x : sequence of str
        Names to look for by default.

    Returns
    -------
    SpooledTable
        To be closed by the caller.

    Raises
    ------
    InvalidTable
        There is no such column, no curve beside it, or no row.
    """
    at = x_position(columns, x_column, usual_x)
    _check_rows(spool.rows)
    return SpooledTable(spool, columns, at)


def _check_rows(rows: int) -> None:
    if rows == 0:
        raise error_from(InvalidTable, Fact("There are names, but no data rows.", "no_rows"))


def x_position(
    columns: tuple[str, ...], x_column: str | None, usual_x: Sequence[str] = USUAL_X
) -> int:
    """Position of the x column.

    Parameters
    ----------
    columns : tuple of c str
        Names of all columns, cleaned, in their order.
    x_column : str or None
        Name of the x column; by default the one called x, else X, else the first.
    usual_x : sequence of str
        Names to look for by default.

    Returns
    -------
    int
        From 0.

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
