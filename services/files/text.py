"""CSV and TSV files as tables.

The way of a file: bytes -> pieces of whole lines (`text_pieces`) -> numbers. A piece of plain lines
is read all at once (`text_fast`); any other cell by cell: lines -> records and cells
(`text_records`) -> numbers (`_Rows`). Both ways give the same result. Memory holds a few pieces,
and the numbers go into a spool.

The cells are not cut by the csv module: its strict mode refuses ``"1" , "2"``, its lenient mode
reads ``"1"2`` as 12 and a quote that never closes as a cell, and its field limit is one for the
whole process.
"""

from __future__ import annotations

import math
import re
from array import array
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, assert_never

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
from services.files.common import (
    DEFAULT_OPTIONS,
    Part,
    ReadFile,
    ReadOptions,
    Source,
    find_x,
    require_rows,
)
from services.files.formats import TextFormat
from services.files.spool import Spool, SpooledTable, closed_on_error
from services.files.text_fast import Plain, read_plain
from services.files.text_pieces import CHUNK_BYTES, Piece, Pieces, read_ahead
from services.files.text_records import Record, Records, is_blank, split_cells
from services.tables import NAME_LENGTH, clean_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GAPS = {"", "nan", "na", "null", "none"}
"""Words for a gap, in any case."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
# Also 12%, 1_000, 1.234,5 and 1e999, so that a data row with a refused cell is not taken for names;
# but nothing with a tab inside, which separates cells.
_LIKE_NUMBER = re.compile(r"[-+.,]*+(?:inf(?:inity)?|\d[-+.,e_%'\d \u00a0\u2009\u202f]*+)")

_KEPT_VALUES = 1 << 16
"""Numbers that are read before they go into the spool."""


def delimiters_of(format: TextFormat) -> tuple[str, ...]:
    """Return the delimiters that a format allows.

    Parameters
    ----------
    format : TextFormat
        The format.

    Returns
    -------
    tuple of str
        The usual one first.
    """
    match format:
        case "csv":
            return ",", ";", "\t", "|"
        case "tsv":
            return ("\t",)
        case _:
            assert_never(format)


def read_text(
    stream: BinaryIO,
    format: TextFormat,
    options: ReadOptions = DEFAULT_OPTIONS,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> ReadFile:
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
    format : TextFormat
        Decides which delimiters are allowed.
    options : ReadOptions
        Options of the client, and the limits.
    chunk_bytes : int
        Size of the first piece; later ones may be four times as large. [bytes]

    Returns
    -------
    ReadFile
        Curves with the bits that float() gives; a gap is NaN. To be closed by the caller.

    Raises
    ------
    UnreadableFile
        The bytes are no text.
    InvalidTable
        The text is no table of curves.
    TooLarge
        It has more columns or rows than the limits allow.
    """
    limits = options.limits
    # The longest names allowed, each quoted, each character a doubled quote.
    longest = max(chunk_bytes, limits.max_columns * (2 * NAME_LENGTH + 3))
    file = Pieces(stream, longest, chunk_bytes)
    most_rows = limits.max_rows + (options.header != "absent")
    records = Records(file.codec, file.start, longest, most_rows)
    delimiters = delimiters_of(format)
    first_two, pieces = records.read_two(iter(file), delimiters)
    if not first_two:
        raise error_from(InvalidTable, Fact("The file is empty.", "no_rows"))
    delimiter = _find_delimiter(first_two[0], first_two[-1], delimiters)
    names = _read_names(first_two[0], delimiter, options)
    x = find_x(names, options.x_column, options.usual_x)
    with closed_on_error(Spool(len(names), limits.max_bytes)) as spool:
        rows = _Rows(names, delimiter, spool)
        rows.read_carefully(first_two if options.header == "absent" else first_two[1:])
        read = partial(read_plain, codec=file.codec, delimiter=delimiter, columns=len(names))
        with closing(read_ahead(pieces, read)) as ahead:
            rows.read(records, ahead)
        require_rows(spool.rows)
        header = "absent" if options.header == "absent" else "present"
        source = Source(format, file.encoding, delimiter, rows.decimal or ".", header)
        return ReadFile((Part(SpooledTable(spool, names, x)),), source)


def _find_delimiter(first: Record, sample: Record, candidates: tuple[str, ...]) -> str:
    """Choose the delimiter by the rule that `read_text` states."""
    unquoted = re.sub(r'"[^"]*+"', "", first.text)
    found = [delimiter for delimiter in candidates if delimiter in unquoted]
    if not found:
        split_cells(first, candidates[0])  # a quote that never closes may hide the delimiter
        known = " ".join(map(repr, candidates))
        detail = f"Line {first.line} has one cell only; cells are parted by one of {known}."
        raise error_from(InvalidTable, Fact(detail, "one_column", line=first.line))
    fitting = found if len(found) == 1 else [d for d in found if _fits(first, sample, d)]
    if len(fitting) != 1:
        shown = " and ".join(map(repr, found))
        detail = f"Line {first.line} holds {shown}; which one parts the cells is not clear."
        raise error_from(InvalidTable, Fact(detail, "ambiguous_delimiter", line=first.line))
    return fitting[0]


def _fits(first: Record, sample: Record, delimiter: str) -> bool:
    """Tell whether a delimiter makes the sample as many numbers and gaps as there are names."""
    try:
        width, cells = len(split_cells(first, delimiter)), split_cells(sample, delimiter)
    except InvalidTable:
        return False
    return len(cells) == width and all(map(_is_numeric, cells))


def _is_numeric(cell: str) -> bool:
    """Tell whether a cell is a gap or was meant as a number, accepted or not."""
    text = cell.strip().lower()
    return text in GAPS or _LIKE_NUMBER.fullmatch(text) is not None


def _read_names(first: Record, delimiter: str, options: ReadOptions) -> tuple[str, ...]:
    cells = split_cells(first, delimiter)
    most = options.limits.max_columns
    if len(cells) > most:
        detail = f"There are {len(cells)} columns; the limit is {most}."
        raise error_from(TooLarge, Fact(detail, "too_many_columns", line=first.line))
    if options.header == "absent":
        return ("x", *(f"y{position}" for position in range(1, len(cells))))
    if all(map(_is_numeric, cells)) and any(map(str.strip, cells)):
        detail = f"Line {first.line} holds numbers, not names; add names or say header=absent."
        raise error_from(InvalidTable, Fact(detail, "no_header", line=first.line))
    try:
        return tuple(clean_names(cells))
    except InvalidTable as error:
        raise error_from_all([replace(fact, line=first.line) for fact in error.facts]) from None


class _BadCellError(Exception):
    """A cell that is no number; the arguments are the reason and its code."""


class _Rows:
    """Reads data rows, and remembers their decimal mark and their errors."""

    def __init__(self, names: tuple[str, ...], delimiter: str, spool: Spool) -> None:
        self._names = names
        self._delimiter = delimiter
        self._spool = spool
        self._row = 0
        self._facts: list[Fact] = []
        self.decimal = "." if delimiter == "," else None

    def read(self, records: Records, ahead: Iterator[tuple[Piece, Plain | None]]) -> None:
        """Read all pieces: plain ones at once, the others cell by cell."""
        # While a quote is open, the following pieces are no lines; their numbers do not count.
        following = (piece for piece, _ in ahead)
        for piece, plain in ahead:
            if plain is None or not self._agrees(plain) or not records.skip(piece, plain):
                self.read_carefully(records.read(piece, following))
            else:
                self.decimal = self.decimal or plain.decimal
                self._row += plain.values.shape[1]
                self._spool.append(plain.values)
        if self._facts:
            raise error_from_all(self._facts)

    def _agrees(self, plain: Plain) -> bool:
        return None in (plain.decimal, self.decimal) or plain.decimal == self.decimal

    def read_carefully(self, records: Iterable[Record]) -> None:
        """Read rows cell by cell."""
        values = array("d")
        for record in records:
            if is_blank(record.text, self._delimiter):
                continue
            values.extend(self._read_row(self._row, record))
            self._row += 1
            if len(values) >= _KEPT_VALUES:
                self._keep(values)
                values = array("d")
        self._keep(values)

    def _keep(self, values: array[float]) -> None:
        if not self._facts:
            self._spool.append(np.asarray(values).reshape(-1, len(self._names)).T)

    def _read_row(self, row: int, record: Record) -> list[float]:
        """Read the numbers of a row, and note its errors."""
        try:
            cells = split_cells(record, self._delimiter)
        except InvalidTable as error:
            # After a stray quote no later cell is certain.
            raise error_from_all([*self._facts, replace(error.facts[0], row=row)]) from None
        width = len(self._names)
        if len(cells) != width:
            detail = f"Line {record.line}: the number of cells is {len(cells)} instead of {width}."
            self._note(Fact(detail, "ragged_row", row, record.line))
            return []
        numbers = []
        for at, cell in enumerate(cells):
            try:
                numbers.append(self._read_number(cell))
            except _BadCellError as error:
                reason, code = error.args
                line = record.line + "".join(cells[:at]).count("\n")
                detail = f"Line {line}, column {quote(self._names[at])}: {quote(cell)} {reason}."
                self._note(Fact(detail, code, row, line, self._names[at]))
        return numbers

    def _read_number(self, cell: str) -> float:
        text = cell.strip()
        if text.lower() in GAPS:
            return math.nan
        if not _NUMBER.fullmatch(text):
            raise _BadCellError(*_explain(text))
        mark = "," if "," in text else "." if "." in text else self.decimal
        if mark != self.decimal:
            if self.decimal is not None:
                reason = f"has {mark!r} where the decimal mark is {self.decimal!r}"
                raise _BadCellError(reason, "decimal_mark")
            self.decimal = mark
        number = float(text.replace(",", "."))
        if math.isinf(number):
            raise _BadCellError("is too large for float64", "not_finite")
        return number

    def _note(self, fact: Fact) -> None:
        self._facts.append(fact)
        if len(self._facts) == MOST_FACTS:
            raise error_from_all(self._facts)


def _explain(text: str) -> tuple[str, str]:
    """Say why a text is no number, and the code for that."""
    if text.lstrip("+-").lower() in {"inf", "infinity"}:
        return "is not finite", "not_finite"
    if "," in text and "." in text:
        return "is not a number; leave out thousands separators", "not_a_number"
    return "is not a number", "not_a_number"
