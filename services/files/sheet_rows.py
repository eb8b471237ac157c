"""The rows of a sheet as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from services.errors import MOST_FACTS, Fact, InvalidTable, error_from, error_from_all, quote
from services.files.common import ReadOptions
from services.files.sheet_head import MOST_SKIPPED, Kind, Row, SheetHead, show_row
from services.files.sheet_xml import column_letters
from services.files.spool import Spool
from services.files.words import Gaps, is_summary
from services.tables import FloatArray

_ROWS = 4096
"""Rows that are read before they go into the spool."""


class SheetRows:
    """Reads rows of numbers, and remembers their errors and where they end.

    Parameters
    ----------
    head : SheetHead
        Where the numbers start.
    names : sequence of str
        Names of all columns for messages.
    spool : Spool
        Gets the numbers.
    options : ReadOptions
        Options of the client.
    first_column : int
        Position in the sheet of the first column of the rows.
    read : set of int or None
        Positions of the columns to read; the others are gaps. All if None.
    """

    def __init__(  # noqa: PLR0913 - a table, its options, and where rows go
        self,
        head: SheetHead,
        names: Sequence[str],
        spool: Spool,
        options: ReadOptions,
        *,
        first_column: int,
        read: set[int] | None,
    ) -> None:
        self._head = head
        self._names = [name.strip() or f"#{at}" for at, name in enumerate(names, 1)]
        self._spool = spool
        self._gaps = Gaps(options.gap)
        self._first_column = first_column
        self._read_only = read
        self._kept: list[list[float]] = []
        self._empty = 0  # rows without a cell that wait for another row behind them
        self._facts: list[Fact] = []
        self._row = 0
        self.last = head.first
        self.ended: int | None = None
        self.skipped: list[str] = []

    def read(self, rows: Iterable[Row]) -> None:
        """Read the rows of the table, and look at those behind it."""
        for row, cells in rows:
            # Types are compared, because True and the text '1' are no numbers.
            is_plain = self._read_only is None and set(map(type, cells)) == {float}
            if self.ended is not None or not (is_plain or self._takes(row, cells)):
                self._look_behind(row, cells)
                continue
            self._take_empty()
            self._keep(list(cells) if is_plain else self._numbers(row, cells))
            self.last = row
        self._write()
        if self._facts:
            raise error_from_all(self._facts)

    def _takes(self, row: int, cells: Sequence[Any]) -> bool:
        """Tell whether a row belongs to the table; note an empty one and the end of the table."""
        chosen = self._read_only
        kind = Kind(
            [c if chosen is None or at in chosen else "" for at, c in enumerate(cells)], self._gaps
        )
        if not kind.numbers and not kind.words:
            if show_row(cells) and self._row and chosen is None:
                return True  # words for gaps
            self._empty += 1
            return False
        if not kind.words or kind.begins_with_number or not self._row:
            return True
        # A number beside a word that stands for no figure may belong to a row that is wrong.
        if kind.numbers and not is_summary(cells[kind.words[0]]):
            return True
        self.ended = row
        return False

    def _look_behind(self, row: int, cells: Sequence[Any]) -> None:
        """Note a row behind the table; refuse a second table."""
        if self.ended is None:
            return
        kind = Kind(cells, self._gaps)
        if kind.numbers and not kind.words:
            top, last = self._head.top + 1, self.last + 1
            detail = f"Choose one of two tables by first_line={top} and last_line={last}, or by"
            detail += f" first_line={self.ended + 1}: rows {top} to {last} and rows from"
            detail += f" {row + 1} on hold numbers, and row {self.ended + 1} between them words."
            raise error_from(InvalidTable, Fact(detail, "two_tables", self._row, row + 1))
        if len(self.skipped) < MOST_SKIPPED and (shown := show_row(cells)):
            self.skipped.append(shown)

    def _take_empty(self) -> None:
        """Keep the empty rows that waited, now that a row follows."""
        for _ in range(self._empty):
            self._keep([math.nan] * len(self._names))
        self._empty = 0

    def _keep(self, numbers: list[float]) -> None:
        self._kept.append(numbers)
        self._row += 1
        if len(self._kept) * len(self._names) >= _ROWS * 16 or len(self._kept) == _ROWS:
            self._write()

    def _write(self) -> None:
        if not self._kept:
            return
        values = np.array(self._kept)
        first = self._row - len(self._kept)
        self._kept = []
        if not self._facts:
            self._note_infinite(values, first)
            if self._gaps.numbers:
                values[np.isin(values, self._gaps.numbers)] = np.nan
            self._spool.append(values.T)

    def _numbers(self, row: int, cells: Sequence[Any]) -> list[float]:
        numbers = []
        for at, cell in enumerate(cells):
            number = math.nan
            if self._read_only is not None and at not in self._read_only:
                pass
            elif type(cell) in (float, int):
                number = float(cell)
            elif not (isinstance(cell, str) and self._gaps.has(cell)):
                detail = _describe(cell, self._where(row, at))
                if isinstance(cell, str) and self._row and not at:
                    detail += f" Say last_line={row} if the table ends above."
                self._note(self._row, at, detail, "not_a_number")
            numbers.append(number)
        return numbers

    def _where(self, row: int, at: int) -> str:
        place = f"{column_letters(at + self._first_column)}{row + 1}"
        return f"Cell {place}, column {quote(self._names[at])}"

    def _note_infinite(self, values: FloatArray, first: int) -> None:
        for row, at in np.argwhere(np.isinf(values))[:MOST_FACTS].tolist():
            where = self._where(self._head.first + first + row, at)
            self._note(
                first + row, at, f"{where}: it holds a number too large for float64.", "not_finite"
            )

    def _note(self, row: int, at: int, detail: str, code: str) -> None:
        self._facts.append(Fact(detail, code, row, column=self._names[at]))
        if len(self._facts) == MOST_FACTS:
            raise error_from_all(self._facts)


def _describe(cell: Any, where: str) -> str:
    if isinstance(cell, str):
        return f"{where}: it holds the text {quote(cell)}, not a number."
    if isinstance(cell, bool):
        return f"{where}: it holds true or false, not a number."
    detail = f"Write numbers such as seconds since the start. {where}: it holds the date or time"
    return f"{detail} {cell}, not a number."
