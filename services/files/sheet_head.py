"""The rows of a sheet: where its table starts, and the names and units above."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.common import ReadOptions
from services.files.finding import X_AND_CURVE, find_titles, refuse_nameless
from services.files.words import Gaps, are_units, is_like_number
from services.tables import TableWarning

MOST_SKIPPED = 20
"""Most rows that are shown of those that were left out."""

_SKIPPED_CHARACTERS = 200

_TITLE_ROWS = 64
"""Rows above the numbers that may be names or units."""

Row = tuple[int, list[Any]]
"""Position of a row in the sheet, from 0, and its cells."""


@dataclass(frozen=True, slots=True)
class SheetHead:
    """The place where the numbers of a sheet start, and the rows above them.

    Parameters
    ----------
    first : int
        First row of numbers, from 0.
    names, units : tuple of str or None
        Cells of the rows of names and units, as many as the sheet is wide.
    names_row : int or None
        Row of the names, from 0.
    skipped : tuple of str
        The first rows that were left out.
    warnings : tuple of TableWarning
        Other readings.
    """

    first: int
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    names_row: int | None = None
    skipped: tuple[str, ...] = ()
    warnings: tuple[TableWarning, ...] = ()

    @property
    def top(self) -> int:
        """First row of the table, with its names."""
        return self.first if self.names_row is None else self.names_row


class Kind:
    """Numbers, words and gaps in a row.

    Parameters
    ----------
    cells : sequence
        Cells of the row.
    gaps : Gaps
        Words for a gap.
    """

    def __init__(self, cells: Sequence[Any], gaps: Gaps) -> None:
        self.numbers: list[int] = []
        self.words: list[int] = []
        for at, cell in enumerate(cells):
            if not isinstance(cell, str) or is_like_number(cell):
                # Dates and truth values belong to the rows of numbers, and are refused there.
                self.numbers.append(at)
            elif not gaps.has(cell):
                self.words.append(at)

    @property
    def begins_with_number(self) -> bool:
        return bool(self.numbers) and (not self.words or self.numbers[0] < self.words[0])


def as_text(cell: Any) -> str:
    """Write a cell as CSV would have it.

    Parameters
    ----------
    cell : object
        The cell.

    Returns
    -------
    str
    """
    if type(cell) is float:
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    return str(cell).strip()


def show_row(cells: Sequence[Any]) -> str:
    """Show a row that was left out.

    Parameters
    ----------
    cells : sequence
        Its cells.

    Returns
    -------
    str
    """
    texts = (as_text(cell) for cell in islice(cells, _SKIPPED_CHARACTERS))
    return " ".join(text for text in texts if text)[:_SKIPPED_CHARACTERS]


def find_head(rows: Iterable[Row], options: ReadOptions) -> SheetHead | None:
    """Find a row of numbers, and the names above it.

    Parameters
    ----------
    rows : iterable of tuple
        Positions and cells of the rows that are asked for.
    options : ReadOptions
        Options of the client.

    Returns
    -------
    SheetHead or None
        None if there is no number in the rows.

    Raises
    ------
    InvalidTable
        A row may be names, units or numbers.
    """
    gaps = Gaps(options.gap)
    above = _Above([], deque(maxlen=_TITLE_ROWS))
    possible: tuple[Row, _Above] | None = None
    for row, cells in rows:
        kind = Kind(cells, gaps)
        if len(kind.numbers) > 1 and not kind.words:
            return _describe((row, cells), above, options)
        if possible is None and kind.begins_with_number:
            possible = (row, cells), _Above(list(above.shown), above.recent.copy())
        above.add(row, cells)
    return None if possible is None else _describe(*possible, options)


class _Above(NamedTuple):
    """Rows above the numbers: the first ones as they are shown, and the last ones."""

    shown: list[tuple[int, str]]
    recent: deque[Row]

    def add(self, row: int, cells: list[Any]) -> None:
        if shown := show_row(cells):
            self.recent.append((row, cells))
            if len(self.shown) < MOST_SKIPPED:
                self.shown.append((row, shown))


def _describe(start: Row, above: _Above, options: ReadOptions) -> SheetHead:
    (first, cells), needed = _go_up(start, above.recent, Gaps(options.gap))
    titles = list(_titles(first, needed, above.recent))
    texts = [[as_text(cell) for cell in row] for _, row in titles]
    lines = [row + 1 for row, _ in titles]
    found = find_titles([[row[at] for at in needed] for row in texts], lines, options)
    head = SheetHead(first, warnings=found.warnings)
    kept = set()
    if found.names is not None:
        kept = {titles[at][0] for at in (found.names, found.units) if at is not None}
        units = None if found.units is None else tuple(texts[found.units])
        row = titles[found.names][0]
        head = replace(head, names=tuple(texts[found.names]), units=units, names_row=row)
    elif options.header == "present":
        names = tuple(as_text(cell) for cell in cells)
        head = replace(head, first=first + 1, names=names, names_row=first)
    elif options.header == "auto":
        _refuse_nameless(first, needed, above.recent)
    skipped = tuple(text for row, text in above.shown if row < first and row not in kept)
    return replace(head, skipped=skipped)


def _go_up(start: Row, recent: deque[Row], gaps: Gaps) -> tuple[Row, list[int]]:
    """Return the first row of the numbers, and the columns that have some."""
    needed = set(Kind(start[1], gaps).numbers)
    while recent and recent[-1][0] == start[0] - 1:
        kind = Kind(recent[-1][1], gaps)
        if not kind.begins_with_number:
            break
        # A row of numbers with a gap, or with a cell that is refused later.
        start = recent.pop()
        needed.update(kind.numbers)
    return start, sorted(needed)


def _refuse_nameless(first: int, needed: Sequence[int], recent: Sequence[Row]) -> None:
    """Refuse numbers without names, unless they are x and a curve."""
    if recent and recent[-1][0] == first - 1:
        raise _refuse_title(first, show_row(recent[-1][1]))
    if len(needed) != X_AND_CURVE:
        raise refuse_nameless(first + 1)


def _refuse_title(first: int, shown: str) -> InvalidTable:
    detail = f"Name each column in row {first}, or say header=absent if that row is a title"
    detail += f" ({quote(shown)}): it does not name all columns of the numbers below."
    return error_from(InvalidTable, Fact(detail, "empty_name", line=first))


def _titles(first: int, needed: Sequence[int], recent: Sequence[Row]) -> Iterator[Row]:
    """Yield rows that may be names or units, the nearest first."""
    below = first
    for at, (row, cells) in enumerate(reversed(recent)):
        texts = [as_text(cell) for cell in cells]
        empty = {position for position in needed if not texts[position]}
        is_full = empty <= {needed[0]} and len(empty) < len(needed)
        are_units_only = at == 0 and are_units([texts[position] for position in needed])
        if (at and row != below - 1) or not (is_full or are_units_only):
            return
        below = row
        yield row, cells


def refuse_empty(name: str, others: Sequence[str], options: ReadOptions) -> InvalidTable:
    """Make the error for a sheet without numbers.

    Parameters
    ----------
    name : str
        Its name.
    others : sequence of str
        Names of the other sheets.
    options : ReadOptions
        Options of the client.

    Returns
    -------
    InvalidTable
    """
    where = f"there are no data rows of numbers in {quote(name)}"
    if options.first_line or options.last_line:
        detail, parameter = (
            f"Say other first_line= and last_line=; {where} between them.",
            "first_line",
        )
    elif others:
        known = ", ".join(map(quote, others[:MOST_SKIPPED]))
        detail = f"Name another sheet by sheet=; {where}, and the others are {known}."
        parameter = "sheet"
    else:
        return error_from(InvalidTable, Fact(f"Store numbers in the sheet; {where}.", "no_rows"))
    return error_from(InvalidTable, Fact(detail, "no_rows", parameter=parameter))
