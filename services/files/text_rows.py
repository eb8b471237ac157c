"""Rows of text as numbers, cell by cell where they are not plain."""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.errors import MOST_FACTS, Fact, InvalidTable, error_from, error_from_all, quote
from services.files.common import ReadOptions
from services.files.text_fast import Plain
from services.files.text_lines import TableStart
from services.files.text_pieces import Piece
from services.files.text_records import (
    LINE_END,
    SKIPPED_LINES,
    Record,
    Records,
    is_blank,
    split_cells,
)
from services.files.words import (
    NUMBER,
    Gaps,
    Thousands,
    are_numbers,
    as_plain,
    explain,
    is_like_number,
    is_summary,
)
from services.tables import FloatArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_KEPT_VALUES = 1 << 16
"""Numbers that are read before they go into the spool."""

_COMMA_NUMBER = re.compile(r"[+-]?[0-9]*,[0-9]*(?:[eE][+-]?[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
"""A number with a comma that may be the mark of thousands."""


class Sink(Protocol):
    """The place where rows go."""

    def append(self, values: FloatArray) -> None:
        """Append rows, shape (columns, rows)."""


class _BadCellError(Exception):
    """A cell that is no number; the arguments are the reason and its code."""


class Rows:
    """Reads data rows, and remembers their decimal mark and their errors.

    Parameters
    ----------
    start : TableStart
        Where the table starts.
    names : sequence of str
        Names of the columns for messages.
    sink : Sink
        Gets the numbers.
    options : ReadOptions
        Options of the client.
    read : set of int or None
        Positions of the columns to read; the others are gaps. All if None.
    labels : list of str or None
        Gets the first cell of each row, if that is its name.
    """

    def __init__(  # noqa: PLR0913 - a table, its options, and where rows go
        self,
        start: TableStart,
        names: Sequence[str],
        sink: Sink,
        options: ReadOptions,
        *,
        read: set[int] | None = None,
        labels: list[str] | None = None,
    ) -> None:
        self._names = names
        self._delimiter = start.delimiter
        self._sink = sink
        self._read = read
        self._labels = labels
        self._gaps = Gaps(options.gap)
        self._thousands = Thousands(options.thousands) if options.thousands else None
        self._last = options.last_line or math.inf
        self._first_line = start.first_line
        self._row = 0
        self._facts: list[Fact] = []
        self._empty = 0  # rows without a cell that wait for another row behind them
        self._ended: Record | None = None  # the last line behind the table
        self._guess: tuple[int, str] | None = None
        self._is_settled = start.delimiter == "," or bool(options.decimal or options.thousands)
        self.decimal = options.decimal
        self.last_line = start.first_line
        self.skipped: list[str] = []

    def read(self, records: Records, ahead: Iterator[tuple[Piece, Plain | None]]) -> None:
        """Read all pieces: plain ones at once, the others cell by cell."""
        # While a quote is open, the following pieces are no lines; their numbers do not count.
        following = (piece for piece, _ in ahead)
        for piece, plain in ahead:
            if records.line > self._last:
                break
            line = records.line
            if plain is None or not self._takes(plain, line) or not records.skip(piece, plain):
                self._read_carefully(records.read(piece, following))
            else:
                self._take(piece, plain, line, records.codec)
        if self._facts:
            raise error_from_all(self._facts)
        if self.decimal == "," and not self._is_settled and self._guess:
            raise _unsettled(*self._guess)

    def _takes(self, plain: Plain, line: int) -> bool:
        return (
            self._ended is None
            and self._thousands is None
            and (None in (plain.decimal, self.decimal) or plain.decimal == self.decimal)
            and line + plain.lines - 1 <= self._last
            # Empty rows at the end of a table do not count, so they are looked at one by one.
            and not np.isnan(plain.values[:, -1]).all()
        )

    def _take(self, piece: Piece, plain: Plain, line: int, codec: str) -> None:
        """Take the numbers of a plain piece."""
        self.decimal = self.decimal or plain.decimal
        text = piece.data.decode(codec)
        if plain.decimal == "," and not self._is_settled:
            for match in _COMMA_NUMBER.finditer(text):
                self._note_comma(match[0], line + text.count("\n", 0, match.start()))
                if self._is_settled:
                    break
        self._write_empty()
        self._row += plain.values.shape[1]
        blank = sum(1 for _ in LINE_END.finditer(text, len(text.rstrip())))
        self.last_line = line + plain.lines - max(blank, 1)
        self._append(plain.values)

    def _append(self, values: FloatArray) -> None:
        if self._gaps.numbers:
            values = np.where(np.isin(values, self._gaps.numbers), np.nan, values)
        self._sink.append(values)

    def _read_carefully(self, found: Iterable[Record]) -> None:
        """Read rows cell by cell."""
        values = array("d")
        for record in found:
            if record.line > self._last:
                break
            cells = self._find_row(record)
            if cells is None:
                continue
            if self._empty or len(values) >= _KEPT_VALUES:
                self._keep(values)
                values = array("d")
                self._write_empty()
            if self._labels is not None:
                self._labels.append(cells.pop(0))
            values.extend(self._read_row(record, cells))
            self._row += 1
            self.last_line = record.line + record.text.count("\n")
        self._keep(values)

    def _find_row(self, record: Record) -> list[str] | None:
        """Return the cells of a row, None for a line that holds no row."""
        if is_blank(record.text, (self._delimiter,)):
            return None
        cells = self._cut(record)
        if not any(cell.strip() for cell in cells):
            self._empty += 1
            return None
        return None if self._leave_out(record, cells) else cells

    def _write_empty(self) -> None:
        """Write the empty rows that waited, now that a row follows."""
        if self._empty and not self._facts:
            self._sink.append(np.full((len(self._names), self._empty), np.nan))
        self._row += self._empty
        self._empty = 0

    def _keep(self, values: array[float]) -> None:
        if not self._facts and len(values):
            self._append(np.asarray(values).reshape(-1, len(self._names)).T)

    def _cut(self, record: Record) -> list[str]:
        try:
            return split_cells(record, self._delimiter)
        except InvalidTable as error:
            # After a stray quote no later cell is certain.
            facts = [*self._facts, replace(error.facts[0], row=self._row)]
            raise error_from_all(facts) from None

    def _leave_out(self, record: Record, cells: list[str]) -> bool:
        """Tell whether a line is no row of the table; refuse a second table."""
        numbers = sum(map(is_like_number, cells))
        words = sum(not self._gaps.has(cell) for cell in cells) - numbers
        is_as_wide = len(cells) == len(self._names) + (self._labels is not None)
        is_row = is_as_wide and numbers and not (self._labels is None and is_summary(cells[0]))
        if self._ended is not None:
            if is_row or are_numbers(record.text):
                raise self._second_table(record)
        elif not self._row or not words or is_row:
            return False
        self._ended = record
        if len(self.skipped) < SKIPPED_LINES:
            self.skipped.append(record.text)
        return True

    def _second_table(self, record: Record) -> InvalidTable:
        before = self._ended or record
        width = len(split_cells(before, self._delimiter))
        second = before.line if width == len(self._names) else record.line
        first, last = self._first_line, self.last_line
        detail = f"Choose one of two tables by first_line={first} and last_line={last}, or by"
        detail += f" first_line={second}: lines {first} to {last} and lines from {second} on hold"
        detail += f" numbers, and line {before.line} ({quote(before.text)}) none."
        return error_from(InvalidTable, Fact(detail, "two_tables", self._row, record.line))

    def _read_row(self, record: Record, cells: list[str]) -> list[float]:
        """Read the numbers of a row, and note its errors."""
        width = len(self._names)
        if len(cells) != width:
            detail = f"Line {record.line}: the number of cells is {len(cells)} instead of {width}."
            if not self._row:
                detail += f" If line {self._first_line} is no row of names, say"
                detail += f" first_line={record.line}."
            self._note(Fact(detail, "ragged_row", self._row, record.line))
            return []
        numbers = []
        for at, cell in enumerate(cells):
            if self._read is not None and at not in self._read:
                numbers.append(math.nan)
                continue
            try:
                numbers.append(self._read_number(cell, record.line))
            except _BadCellError as error:
                reason, code = error.args
                line = record.line + "".join(cells[:at]).count("\n")
                reason += self._advise(at, cell)
                detail = f"Line {line}, column {quote(self._names[at])}: {quote(cell)} {reason}."
                self._note(Fact(detail, code, self._row, line, self._names[at]))
        return numbers

    def _advise(self, at: int, cell: str) -> str:
        """Say what helps where a word stands in the place of x."""
        if at or is_like_number(cell):
            return ""
        if self._row:
            return "; if the table ends above, say so by last_line="
        are_numbers = all(is_like_number(name) for name in self._names[1:])
        return "; if each row is one curve, say layout=rows" if are_numbers else ""

    def _read_number(self, cell: str, line: int) -> float:
        text = cell.strip()
        if self._gaps.has(text):
            return math.nan
        if self._thousands:
            text = self._thousands.remove(text)
        if not NUMBER.fullmatch(text) and not NUMBER.fullmatch(text := as_plain(text)):
            raise _BadCellError(*explain(text))
        self._agree(text, line)
        number = float(text.replace(",", "."))
        if math.isinf(number):
            raise _BadCellError("is too large for float64", "not_finite")
        return number

    def _agree(self, text: str, line: int) -> None:
        """Take the decimal mark of a number, or refuse one that differs."""
        mark = "," if "," in text else "." if "." in text else self.decimal
        if mark != self.decimal:
            if self.decimal is not None:
                reason = f"has {mark!r} where the decimal mark is {self.decimal!r}"
                if _GROUPED.fullmatch(text):
                    reason += "; if it is a mark of thousands, say thousands=,"
                raise _BadCellError(reason, "decimal_mark")
            self.decimal = mark
        if mark == "," and not self._is_settled:
            self._note_comma(text, line)

    def _note_comma(self, text: str, line: int) -> None:
        """Note a number with a comma that may be a mark of thousands, or cannot be one."""
        if "," in text and not _GROUPED.fullmatch(text):
            self._is_settled = True
        elif "," in text:
            self._guess = self._guess or (line, text)

    def _note(self, fact: Fact) -> None:
        self._facts.append(fact)
        if len(self._facts) == MOST_FACTS:
            raise error_from_all(self._facts)


def _unsettled(line: int, text: str) -> InvalidTable:
    detail = "Say decimal=',' or thousands=',' with decimal='.': every number with a comma, such as"
    detail += f" {quote(text)} from line {line} on, may be {text.replace(',', '.')} or"
    detail += f" {text.replace(',', '')}."
    return error_from(InvalidTable, Fact(detail, "ambiguous_thousands", line=line))
