"""The names and units of a table, found among the rows above its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.common import ReadOptions
from services.files.words import are_units, is_number
from services.tables import TableWarning

X_AND_CURVE = 2
"""Columns of a table that needs no names."""


@dataclass(frozen=True, slots=True)
class Titles:
    """Rows above the numbers of a table.

    Parameters
    ----------
    names : int or None
        Position of the row of names; None if there is none.
    units : int or None
        Position of the row of units.
    warnings : tuple of TableWarning
        Other readings.
    """

    names: int | None
    units: int | None = None
    warnings: tuple[TableWarning, ...] = ()


def find_titles(
    above: Sequence[Sequence[str]], lines: Sequence[int], options: ReadOptions
) -> Titles:
    """Find the rows of names and of units.

    The row directly above the numbers holds the names, unless it looks like units and there is
    another one above. A row between the units and the numbers holds comments.

    Parameters
    ----------
    above : sequence of sequence of str
        Cells of the rows above the numbers that are as wide as the table, the nearest first.
    lines : sequence of int
        Their lines, from 1.
    options : ReadOptions
        Options of the client: `header` and `units`.

    Returns
    -------
    Titles

    Raises
    ------
    InvalidTable
        A row may be names, units or numbers.
    """
    if options.header == "absent" or not above:
        return Titles(None)
    names, units = _pick(above, options)
    row = above[names]
    numbers = [cell for cell in row[1:] if is_number(cell)]
    if names == 0 and len(above) > 1 and numbers and options.header != "present":
        line = lines[0]
        detail = f"Say first_line={line} if line {line} ({quote(_shown(row))}) holds the names, or"
        detail += f" first_line={line + 1} and header=absent: it holds words and numbers."
        raise error_from(InvalidTable, Fact(detail, "unclear_row", line=line))
    warnings = []
    if numbers and len(numbers) == len(row) - 1 > 1:
        detail = f"The names in line {lines[names]}, such as {quote(numbers[0])}, are numbers."
        detail += " Say layout=rows if each row is one curve."
        warnings.append(TableWarning("layout", detail, options={"layout": "rows"}))
    elif units is None and len(above) > 1 and _is_full(above[names + 1]):
        line = lines[names + 1]
        detail = f"The names were taken from line {lines[names]}, not from line {line}"
        detail += f" ({quote(_shown(above[names + 1]))}). Say units=present if these are its units."
        warnings.append(TableWarning("header", detail, options={"units": "present"}))
    return Titles(names, units, tuple(warnings))


def _pick(above: Sequence[Sequence[str]], options: ReadOptions) -> tuple[int, int | None]:
    """Return the positions of the names and of the units."""
    if options.units == "absent" or len(above) == 1:
        return 0, None
    if options.units == "present" or are_units(above[0]):
        return 1, 0
    if len(above) > 2 and are_units(above[1]):  # noqa: PLR2004 - comments, units, names
        return 2, 1
    return 0, None


def _is_full(row: Sequence[str]) -> bool:
    return all(cell.strip() for cell in row)


def _shown(row: Sequence[str]) -> str:
    return " ".join(cell.strip() for cell in row if cell.strip())


def name_columns(count: int, stem: str | None) -> tuple[str, ...]:
    """Name the columns of a table that has no names.

    Parameters
    ----------
    count : int
        Number of columns.
    stem : str or None
        Name for the curve if there is only one.

    Returns
    -------
    tuple of str
        x, y1, y2, ...
    """
    if count == X_AND_CURVE and stem:
        return "x", stem if stem != "x" else "y1"
    return ("x", *(f"y{position}" for position in range(1, count)))


def refuse_nameless(line: int | None) -> InvalidTable:
    """Make the error for a first row of numbers that may be names or data.

    Parameters
    ----------
    line : int or None
        Line of the row.

    Returns
    -------
    InvalidTable
    """
    where = "The first row" if line is None else f"Line {line}"
    detail = f"Say header=absent if {where[0].lower()}{where[1:]} is data, or header=present if its"
    detail += " numbers are names: it holds numbers, and there is no row of names above."
    return error_from(InvalidTable, Fact(detail, "no_header", line=line, parameter="header"))


def trim(cells: Sequence[str], row: Sequence[str]) -> list[str]:
    """Make a row of titles as wide as a row of numbers, if only empty cells differ.

    Parameters
    ----------
    cells : sequence of str
        The titles.
    row : sequence of str
        The row of numbers.

    Returns
    -------
    list of str
        The titles, of another width if there are too many, or not one for each number.
    """
    titles = list(cells)
    while len(titles) > len(row) and not titles[-1].strip():
        titles.pop()
    if count_filled(row) <= len(titles) and len(titles) > 1:
        titles += [""] * (len(row) - len(titles))
    return titles


def count_filled(row: Sequence[str]) -> int:
    """Count the cells of a row up to the last one that is not empty.

    Parameters
    ----------
    row : sequence of str
        Its cells.

    Returns
    -------
    int
    """
    return max((at for at, cell in enumerate(row, 1) if cell.strip()), default=0)
