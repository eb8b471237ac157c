"""Bytes of CSV and TSV become a table, or an error that says where and why not.

The way of a file: bytes -> pieces of whole lines (`text_pieces`) -> numbers, all of a piece at
once, where every line of it is plain (`text_fast`). Where one is not, with care: lines -> records
and cells (`text_records`) -> numbers (`_Rows`). Both ways give the same; memory holds a few
pieces, and the numbers go into a spool.

The cells are cut here and not by the csv module: its strict mode refuses ``"1" , "2"``, its
lenient mode reads ``"1"2`` as 12 and a quote that never closes as a cell, and its field limit is
one for the whole process.
"""

from __future__ import annotations

import math
import re
from array import array
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from services.errors import (
    MOST_FACTS,
    Fact,
    InvalidTable,
    TooLarge,
    error_from,
    error_from_all,
    quote,
)
from services.files import text_pieces
from services.files.common import USUAL_X, Source, spooled_table, x_position
from services.files.limits import DEFAULT_LIMITS, ReadLimits
from services.files.spool import Spool, SpooledTable, closed_on_error
from services.files.text_fast import Plain, read_plain
from services.files.text_pieces import Piece, Pieces, read_ahead
from services.files.text_records import Record, Records, first_two, is_blank, split_cells
from services.tables import NAME_LENGTH, clean_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DELIMITERS = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}
GAPS = {"", "nan", "na", "null", "none"}
"""Words for a gap, in any case."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
# Also 12%, 1_000, 1.234,5 and 1e999: no data row shall pass for a header because it is refused.
# Not with a tab inside, which would part cells.
_LIKE_NUMBER = re.compile(r"[-+.,]*+(?:inf(?:inity)?|\d[-+.,e_%'\d \u00a0\u2009\u202f]*+)")
_VALUES = 1 << 16


def read_text(  # noqa: PLR0913 - what a caller may say of a file
    stream: BinaryIO,
    *,
    format: str,  # noqa: A002 - the word of the contract and of Source
    header: str = "present",
    x_column: str | None = None,
    usual_x: Sequence[str] = USUAL_X,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> tuple[SpooledTable, Source]:
    """Read a CSV or TSV file, once and from front to back.

    Nothing is guessed: where two readings are possible the file is refused.

    *Encoding.* What the byte order mark says (UTF-8, UTF-16), else UTF-8.

    *Delimiter.* TSV: the tab. CSV: the one of ``,`` ``;`` tab ``|`` that stands in the first row
    outside quotes. If several do, the one with which the first data row reads as numbers and gaps,
    as many as the first row has cells; if that is not exactly one, the file is refused.

    *Decimal mark.* A point where the comma is the delimiter. Otherwise the mark of the first
    number that has one; a number with the other mark, or with two marks as in ``1.234,5``, is
    refused. So ``1,234`` between semicolons is a little more than one, never a thousand.

    *Header.* A first row of nothing but numbers (also such as are refused) and gaps is none.

    Parameters
    ----------
    stream : BinaryIO
        The bytes.
    format : str
        ``csv`` or ``tsv``.
    header : str
        ``present``: the first row holds the names. ``absent``: they are x, y1, y2, ...
    x_column : str or None
        Name of the x column; by default the one called x, else the first.
    usual_x : sequence of str
        Names to look for by default.
    limits : ReadLimits
        How large the table may be.

    Returns
    -------
    table : SpooledTable
        Curves with the bits that float() gives; a gap is NaN. To be closed by the caller.
    source : Source
        How the file was read.

    Raises
    ------
    UnreadableFile
        The bytes are no text.
    InvalidTable
        The text is no table of curves.
    TooLarge
        It has more columns or rows than the limits allow.
    """
    # The longest names there may be, quoted, and every character a doubled quote.
    longest = max(text_pieces.CHUNK, limits.max_columns * (2 * NAME_LENGTH + 3))
    file = Pieces(stream, longest)
    pieces = iter(file)
    records = Records(file.codec, file.start, longest, limits.max_rows + (header != "absent"))
    candidates = _DELIMITERS[format]
    ahead, rest = first_two(records, pieces, candidates)
    if not ahead:
        raise error_from(InvalidTable, Fact("The file is empty.", "no_rows"))
    delimiter = _find_delimiter(ahead[0], ahead[-1], candidates)
    names = _read_names(ahead[0], delimiter, header, limits)
    x_position(names, x_column, usual_x)  # an unknown name is refused before a long file is read
    body = ahead if header == "absent" else ahead[1:]
    with closed_on_error(Spool(len(names), limits.max_bytes)) as spool:
        rows = _Rows(names, delimiter, spool)
        rows.read(chain(body, rest))
        plain = partial(read_plain, codec=file.codec, delimiter=delimiter, columns=len(names))
        with closing(read_ahead(pieces, plain)) as waiting:
            rows.read_all(records, waiting)
        source = Source(format, file.encoding, delimiter, rows.decimal or ".", header)
        return spooled_table(names, spool, x_column, usual_x), source


# Bytes to pieces of whole lines


# Pieces to lines, lines to cells


def _find_delimiter(first: Record, sample: Record, candidates: tuple[str, ...]) -> str:
    """Choose the delimiter by the rule that `read_text` states."""
    unquoted = re.sub(r'"[^"]*+"', "", first.text)
    found = [delimiter for delimiter in candidates if delimiter in unquoted]
    if not found:
        split_cells(first, candidates[0])  # a quote that never closes may hide the delimiter
        known = " ".join(map(repr, candidates))
        detail = f"Line {first.line} has one cell only; cells are parted by one of {known}."
        raise error_from(InvalidTable, Fact(detail, "one_column", line=first.line))
    fitting = found if len(found) == 1 else [d for d in found if _reads(first, sample, d)]
    if len(fitting) != 1:
        quote = " and ".join(map(repr, found))
        detail = f"Line {first.line} holds {quote}; which one parts the cells is not clear."
        raise error_from(InvalidTable, Fact(detail, "ambiguous_delimiter", line=first.line))
    return fitting[0]


def _reads(first: Record, sample: Record, delimiter: str) -> bool:
    try:
        width, cells = len(split_cells(first, delimiter)), split_cells(sample, delimiter)
    except InvalidTable:
        return False
    return len(cells) == width and all(map(_is_numeric, cells))


def _is_numeric(cell: str) -> bool:
    """Tell whether a cell is a gap or was meant as a number, accepted or not."""
    text = cell.strip().lower()
    return text in GAPS or _LIKE_NUMBER.fullmatch(text) is not None


def _read_names(first: Record, delimiter: str, header: str, limits: ReadLimits) -> tuple[str, ...]:
    cells = split_cells(first, delimiter)
    if len(cells) > limits.max_columns:
        detail = f"There are {len(cells)} columns; the limit is {limits.max_columns}."
        raise error_from(TooLarge, Fact(detail, "too_many_columns", line=first.line))
    if header == "absent":
        return ("x", *(f"y{position}" for position in range(1, len(cells))))
    if all(map(_is_numeric, cells)) and any(map(str.strip, cells)):
        detail = f"Line {first.line} holds numbers, not names; add names or say header=absent."
        raise error_from(InvalidTable, Fact(detail, "no_header", line=first.line))
    try:
        return tuple(clean_names(cells))
    except InvalidTable as error:
        raise error_from_all([replace(fact, line=first.line) for fact in error.facts]) from None


# Cells to numbers


class _BadCellError(Exception):
    """A cell is no number; the arguments are what it is, and the code for that."""


class _Rows:
    """Reads data rows, and remembers their decimal mark and what was wrong."""

    def __init__(self, names: tuple[str, ...], delimiter: str, spool: Spool) -> None:
        self._names = names
        self._delimiter = delimiter
        self._spool = spool
        self._row = 0
        self._facts: list[Fact] = []
        self._settle("." if delimiter == "," else None)

    def _settle(self, decimal: str | None) -> None:
        """Fix the decimal mark; until then a row with a mark is not plain."""
        self.decimal = decimal
        self._plain_row = re.compile(f"[-+0-9eE {re.escape(self._delimiter)}{decimal or ''}]*+")

    def read_all(
        self, records: Records, waiting: Iterator[tuple[Piece, Future[Plain | None]]]
    ) -> None:
        """Read the pieces; where one is not plain, with care."""
        # Where a quote stays open, what was read ahead of the pieces behind it does not count.
        following = (piece for piece, _ in waiting)
        for piece, ahead in waiting:
            plain = None if piece.overlong else ahead.result()
            if plain is None or not self._agrees(plain) or not records.passes(piece, plain):
                self.read(records.of(piece, following))
            else:
                self._settle(self.decimal or plain.decimal)
                self._row += plain.values.shape[1]
                self._spool.append(plain.values)
        if self._facts:
            raise error_from_all(self._facts)

    def _agrees(self, plain: Plain) -> bool:
        return None in (plain.decimal, self.decimal) or plain.decimal == self.decimal

    def read(self, records: Iterable[Record]) -> None:
        """Read rows with care."""
        values = array("d")
        for record in records:
            numbers = self._plain(record.text)
            if numbers is None:
                if is_blank(record.text, self._delimiter):
                    continue
                numbers = self._careful(self._row, record)
            values.extend(numbers)
            self._row += 1
            if len(values) >= _VALUES:
                self._keep(values)
                values = array("d")
        self._keep(values)

    def _keep(self, values: array[float]) -> None:
        if not self._facts:
            self._spool.append(np.asarray(values).reshape(-1, len(self._names)).T)

    def _plain(self, text: str) -> list[float] | None:
        """Numbers of a row that needs no closer look, else None.

        Of these characters float() takes what `_number` takes, and nothing else: no ``1_000``,
        no ``nan``, no digits of other scripts.
        """
        if not self._plain_row.fullmatch(text):
            return None
        if self.decimal == ",":
            text = text.replace(",", ".")
        cells = text.split(self._delimiter)
        if len(cells) != len(self._names):
            return None
        try:
            numbers = list(map(float, cells))
        except ValueError:
            return None
        # A sum that is not finite may hold an overflow.
        return numbers if math.isfinite(sum(numbers)) else None

    def _careful(self, row: int, record: Record) -> list[float]:
        """Numbers of any row, cell by cell; what is wrong is noted."""
        try:
            cells = split_cells(record, self._delimiter)
        except InvalidTable as error:
            # After a stray quote no later cell is sure.
            raise error_from_all([*self._facts, replace(error.facts[0], row=row)]) from None
        width = len(self._names)
        if len(cells) != width:
            detail = f"Line {record.line}: the number of cells is {len(cells)} instead of {width}."
            self._note(Fact(detail, "ragged_row", row, record.line))
            return []
        numbers = []
        for at, cell in enumerate(cells):
            try:
                numbers.append(self._number(cell))
            except _BadCellError as error:
                what, code = error.args
                line = record.line + "".join(cells[:at]).count("\n")
                detail = f"Line {line}, column {quote(self._names[at])}: {quote(cell)} {what}."
                self._note(Fact(detail, code, row, line, self._names[at]))
        return numbers

    def _number(self, cell: str) -> float:
        text = cell.strip()
        if text.lower() in GAPS:
            return math.nan
        if not _NUMBER.fullmatch(text):
            raise _BadCellError(*_what_is(text))
        mark = "," if "," in text else "." if "." in text else self.decimal
        if mark != self.decimal:
            if self.decimal is not None:
                what = f"has {mark!r} where the decimal mark is {self.decimal!r}"
                raise _BadCellError(what, "decimal_mark")
            self._settle(mark)
        number = float(text.replace(",", "."))
        if math.isinf(number):
            raise _BadCellError("is too large for float64", "not_finite")
        return number

    def _note(self, fact: Fact) -> None:
        self._facts.append(fact)
        if len(self._facts) == MOST_FACTS:
            raise error_from_all(self._facts)


def _what_is(text: str) -> tuple[str, str]:
    if text.lstrip("+-").lower() in {"inf", "infinity"}:
        return "is not finite", "not_finite"
    if "," in text and "." in text:
        return "is not a number; leave out thousands separators", "not_a_number"
    return "is not a number", "not_a_number"
