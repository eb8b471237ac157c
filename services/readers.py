"""Bytes of CSV and TSV become a table, or an error that says where and why not.

The way of a file: bytes -> lines (`_Lines`) -> records (`_records`) -> cells (`_cells`) -> numbers
(`_Rows`). Each step holds one piece at a time; only the numbers stay, eight bytes each.

The cells are cut here and not by the csv module: its strict mode refuses ``"1" , "2"``, its
lenient mode reads ``"1"2`` as 12 and a quote that never closes as a cell, and its field limit is
one for the whole process.
"""

from __future__ import annotations

import codecs
import math
import re
from array import array
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import numpy as np

from services.errors import CurveError, Fact, InvalidTable, TooLarge, UnreadableFile
from services.tables import NAME_LENGTH, FloatArray, Table, canonical, clean_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DELIMITERS = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}
_GAPS = {"", "nan", "na", "null", "none"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
# Also 12%, 1_000, 1.234,5 and 1e999: no data row shall pass for a header because it is refused.
_LIKE_NUMBER = re.compile(r"[-+.,]*+(?:inf(?:inity)?|\d[-+.,e_%'\d\s]*+)")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Text mode on Windows writes \r\r\n for \r\n, so this too is one line end.
_LINE_END = re.compile(r"\r\r?\n|\r")
# Possessive, as all that repeats here: no line may make a pattern try again and again.
_BLANK = re.compile(r'\s*+(?:"\s*+")?+\s*+')
_CHUNK = 1 << 16
USUAL_X = ("x", "X")
"""Names of an x column that need not be said."""

_MOST_FACTS = 20
_SHOWN = 40
_Error = TypeVar("_Error", bound=CurveError)


@dataclass(frozen=True, slots=True)
class Source:
    """How a file was read.

    Parameters
    ----------
    format : str
        ``csv``, ``tsv`` or ``json``.
    encoding : str or None
        ``utf-8``, ``utf-8-sig`` (with a byte order mark), ``utf-16-le`` or ``utf-16-be``.
    delimiter : str or None
        What parts the cells.
    decimal : str or None
        The decimal mark, ``.`` or ``,``.
    header : str or None
        ``present`` or ``absent``.
    """

    format: str
    encoding: str | None
    delimiter: str | None
    decimal: str | None
    header: str | None


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How large a table may be.

    Parameters
    ----------
    max_columns : int
        Columns, x among them.
    max_rows : int
        Data rows. A blank line counts too, unless it is empty or of spaces alone.
    """

    max_columns: int = 10_000
    max_rows: int = 20_000_000


DEFAULT_LIMITS = ReadLimits()


def read_text(  # noqa: PLR0913 - what a caller may say of a file
    stream: BinaryIO,
    *,
    format: str,  # noqa: A002 - the word of the contract and of Source
    header: str = "present",
    x_column: str | None = None,
    usual_x: Sequence[str] = USUAL_X,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> tuple[Table, Source]:
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
    table : Table
        Curves with the bits that float() gives; a gap is NaN.
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
    longest = max(_CHUNK, limits.max_columns * (2 * NAME_LENGTH + 3))
    lines = _Lines(stream, longest)
    records = _records(lines, longest, limits.max_rows + (header != "absent"))
    candidates = _DELIMITERS[format]
    ahead = list(islice((r for r in records if not _is_blank(r.text, candidates)), 2))
    if not ahead:
        raise _alone(InvalidTable, Fact("The file is empty.", "no_rows"))
    delimiter = _find_delimiter(ahead[0], ahead[-1], candidates)
    names = _read_names(ahead[0], delimiter, header, limits)
    _x_position(names, x_column, usual_x)  # an unknown name is refused before a long file is read
    rows = _Rows(names, delimiter)
    body = ahead if header == "absent" else ahead[1:]
    values = rows.read_all(chain(body, records))
    source = Source(format, lines.encoding, delimiter, rows.decimal or ".", header)
    return pick_x(names, values, x_column, usual_x), source


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
    at = _x_position(columns, x_column, usual_x)
    if values.shape[1] == 0:
        raise _alone(InvalidTable, Fact("There are names, but no data rows.", "no_rows"))
    values = canonical(values)
    y = values[1:] if at == 0 else np.delete(values, at, axis=0)
    return Table(values[at], y, columns[:at] + columns[at + 1 :], columns[at])


def _x_position(columns: tuple[str, ...], x_column: str | None, usual_x: Sequence[str]) -> int:
    if len(columns) == 1:
        detail = "There is only one column; an x column and at least one curve are needed."
        raise _alone(InvalidTable, Fact(detail, "one_column", column=columns[0]))
    if x_column is None:
        return next((columns.index(name) for name in usual_x if name in columns), 0)
    if x_column.strip() not in columns:
        detail = f"There is no column {_shown(x_column)} to take x from."
        raise _alone(InvalidTable, Fact(detail, "unknown_column", parameter="x_column"))
    return columns.index(x_column.strip())


# Bytes to lines


class _Lines:
    """The lines of a stream without their ends; the stream is read once, a chunk at a time."""

    def __init__(self, stream: BinaryIO, longest: int) -> None:
        self._stream = stream
        self._longest = longest
        chunk = _read_full(stream, _CHUNK)
        mark, self.encoding = next(
            ((mark, name) for mark, name in _BOMS if chunk.startswith(mark)), (b"", "utf-8")
        )
        # Some tools put a mark before a mark; left there, it would be part of the first name.
        self._first = chunk.removeprefix(mark).removeprefix(mark)
        self._bytes = len(chunk) - len(self._first)  # read so far
        self._decoder = codecs.getincrementaldecoder(self.encoding.removesuffix("-sig"))()
        self._ended = 0  # lines so far
        self._held = ""  # carriage returns that may be the first half of a line end
        self._tail = ""  # the line that is not complete yet

    def __iter__(self) -> Iterator[str]:
        chunk = self._first
        while chunk:
            yield from self._split(self._decode(chunk))
            chunk = _read_full(self._stream, _CHUNK)
        # The line feed ends a last line that has no end of its own.
        yield from self._split(self._decode(b"", final=True) + "\n")

    def _decode(self, chunk: bytes, *, final: bool = False) -> str:
        self._bytes += len(chunk)
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            at = self._bytes - len(error.object) + error.start
            readable = error.object[: error.start].decode(error.encoding)
            what = f"byte {at} (from 0) is no {error.encoding.upper()}; save the file as UTF-8."
            raise self._unreadable(self._held + readable, what, "undecodable") from None

    def _split(self, text: str) -> list[str]:
        text = self._held + text
        if "\0" in text:
            what = "it holds a NUL byte; is it text, in UTF-8, or in UTF-16 with its mark?"
            raise self._unreadable(text[: text.index("\0")], what, "nul_byte")
        hold = 2 if text.endswith("\r\r") else int(text.endswith("\r"))
        self._held = text[len(text) - hold :]
        text = _LINE_END.sub("\n", text[: len(text) - hold])
        *lines, self._tail = (self._tail + text).split("\n")
        self._ended += len(lines)
        if len(self._tail) > self._longest:
            line = self._ended + 1
            detail = f"Line {line} is longer than {self._longest} characters."
            raise _alone(TooLarge, Fact(detail, "long_line", line=line))
        return lines

    def _unreadable(self, before: str, what: str, code: str) -> UnreadableFile:
        line = self._ended + _LINE_END.sub("\n", before).count("\n") + 1
        return _alone(UnreadableFile, Fact(f"Line {line} cannot be read: {what}", code, line=line))


def _read_full(stream: BinaryIO, size: int) -> bytes:
    """Read that many bytes, or all that are left, however small the pieces that come."""
    pieces = bytearray()
    while len(pieces) < size and (piece := stream.read(size - len(pieces))):
        pieces += piece
    return bytes(pieces)


# Lines to cells


class _Record(NamedTuple):
    """A row as text: one line, or several where quotes hold line breaks."""

    line: int
    text: str


def _records(lines: Iterable[str], longest: int, most: int) -> Iterator[_Record]:
    """Group lines: a record is complete when its quotes are even in number (RFC 4180)."""
    line, count = 1, 0
    source = iter(lines)
    for text in source:
        parts = [text]
        length, quotes = len(text), text.count('"')
        # A quote that never closes ends at the limit; cutting the cells then says so.
        while quotes % 2 and length <= longest and (more := next(source, None)) is not None:
            parts.append(more)
            length, quotes = length + 1 + len(more), quotes + more.count('"')
        if text.strip(" "):
            if count == most:
                detail = f"Line {line} is one row more than the limit of rows allows."
                raise _alone(TooLarge, Fact(detail, "too_many_rows", line=line))
            yield _Record(line, "\n".join(parts))
            count += 1
        line += len(parts)


def _is_blank(text: str, delimiters: Iterable[str]) -> bool:
    """Tell whether a line holds no cell; one with delimiters is a row of gaps."""
    return _BLANK.fullmatch(text) is not None and not any(d in text for d in delimiters)


@cache
def _cell_patterns(delimiter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns of a cell with its delimiter, and of a quoted one that never closes."""
    end = re.escape(delimiter)
    space = rf"[^\S\n{end}]*+"
    quoted = rf'{space}"([^"]*+(?:""[^"]*+)*+)'
    cell = re.compile(rf'(?:{quoted}"{space}|([^"{end}]*+))({end}|\Z)')
    return cell, re.compile(rf"{quoted}\Z")


def _cells(record: _Record, delimiter: str) -> list[str]:
    """Cut a record into its cells, without the quotes around them."""
    if '"' not in record.text:
        return record.text.split(delimiter)
    cell, unclosed = _cell_patterns(delimiter)
    cells, at = [], 0
    while match := cell.match(record.text, at):
        inside, plain, delimited = match.groups()
        cells.append(plain if inside is None else inside.replace('""', '"'))
        at = match.end()
        if not delimited:
            return cells
    line = record.line + record.text.count("\n", 0, at)
    detail, code = f"Line {line}: a quote opens a cell and is never closed.", "open_quote"
    if not unclosed.match(record.text, at):
        detail, code = f"Line {line}: cell {len(cells) + 1} is not quoted as a whole.", "bad_quote"
    raise _alone(InvalidTable, Fact(detail, code, line=line))


def _find_delimiter(first: _Record, sample: _Record, candidates: tuple[str, ...]) -> str:
    """Choose the delimiter by the rule that `read_text` states."""
    unquoted = re.sub(r'"[^"]*+"', "", first.text)
    found = [delimiter for delimiter in candidates if delimiter in unquoted]
    if not found:
        _cells(first, candidates[0])  # a quote that never closes may hide the delimiter
        known = " ".join(map(repr, candidates))
        detail = f"Line {first.line} has one cell only; cells are parted by one of {known}."
        raise _alone(InvalidTable, Fact(detail, "one_column", line=first.line))
    fitting = found if len(found) == 1 else [d for d in found if _reads(first, sample, d)]
    if len(fitting) != 1:
        shown = " and ".join(map(repr, found))
        detail = f"Line {first.line} holds {shown}; which one parts the cells is not clear."
        raise _alone(InvalidTable, Fact(detail, "ambiguous_delimiter", line=first.line))
    return fitting[0]


def _reads(first: _Record, sample: _Record, delimiter: str) -> bool:
    try:
        width, cells = len(_cells(first, delimiter)), _cells(sample, delimiter)
    except InvalidTable:
        return False
    return len(cells) == width and all(map(_is_numeric, cells))


def _is_numeric(cell: str) -> bool:
    """Tell whether a cell is a gap or was meant as a number, accepted or not."""
    text = cell.strip().lower()
    return text in _GAPS or _LIKE_NUMBER.fullmatch(text) is not None


def _read_names(first: _Record, delimiter: str, header: str, limits: ReadLimits) -> tuple[str, ...]:
    cells = _cells(first, delimiter)
    if len(cells) > limits.max_columns:
        detail = f"There are {len(cells)} columns; the limit is {limits.max_columns}."
        raise _alone(TooLarge, Fact(detail, "too_many_columns", line=first.line))
    if header == "absent":
        return ("x", *(f"y{position}" for position in range(1, len(cells))))
    if all(map(_is_numeric, cells)) and any(map(str.strip, cells)):
        detail = f"Line {first.line} holds numbers, not names; add names or say header=absent."
        raise _alone(InvalidTable, Fact(detail, "no_header", line=first.line))
    try:
        return tuple(clean_names(cells))
    except InvalidTable as error:
        raise _together([replace(fact, line=first.line) for fact in error.facts]) from None


# Cells to numbers


class _BadCellError(Exception):
    """A cell is no number; the arguments are what it is, and the code for that."""


class _Rows:
    """Reads data rows, and remembers their decimal mark and what was wrong."""

    def __init__(self, names: tuple[str, ...], delimiter: str) -> None:
        self._names = names
        self._delimiter = delimiter
        self._facts: list[Fact] = []
        self._settle("." if delimiter == "," else None)

    def _settle(self, decimal: str | None) -> None:
        """Fix the decimal mark; until then a row with a mark is not plain."""
        self.decimal = decimal
        self._plain_row = re.compile(f"[-+0-9eE {re.escape(self._delimiter)}{decimal or ''}]*+")

    def read_all(self, records: Iterable[_Record]) -> FloatArray:
        """Numbers of all rows, shape (c, n)."""
        values, row = array("d"), 0
        for record in records:
            numbers = self._plain(record.text)
            if numbers is None:
                if _is_blank(record.text, self._delimiter):
                    continue
                numbers = self._careful(row, record)
            values.extend(numbers)
            row += 1
        if self._facts:
            raise _together(self._facts)
        return np.asarray(values).reshape(-1, len(self._names)).T

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

    def _careful(self, row: int, record: _Record) -> list[float]:
        """Numbers of any row, cell by cell; what is wrong is noted."""
        try:
            cells = _cells(record, self._delimiter)
        except InvalidTable as error:
            # After a stray quote no later cell is sure.
            raise _together([*self._facts, replace(error.facts[0], row=row)]) from None
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
                detail = f"Line {line}, column {_shown(self._names[at])}: {_shown(cell)} {what}."
                self._note(Fact(detail, code, row, line, self._names[at]))
        return numbers

    def _number(self, cell: str) -> float:
        text = cell.strip()
        if text.lower() in _GAPS:
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
        if len(self._facts) == _MOST_FACTS:
            raise _together(self._facts)


def _what_is(text: str) -> tuple[str, str]:
    if text.lstrip("+-").lower() in {"inf", "infinity"}:
        return "is not finite", "not_finite"
    if "," in text and "." in text:
        return "is not a number; leave out thousands separators", "not_a_number"
    return "is not a number", "not_a_number"


# What went wrong


def _shown(text: str) -> str:
    shown = repr(text[:_SHOWN])
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."


def _alone(kind: type[_Error], fact: Fact) -> _Error:
    return kind(fact.detail, [fact])


def _together(facts: list[Fact]) -> InvalidTable:
    """Make one error of many facts; the first is the first in the file."""
    if len(facts) == 1:
        return _alone(InvalidTable, facts[0])
    count = f"at least {_MOST_FACTS}" if len(facts) >= _MOST_FACTS else str(len(facts))
    return InvalidTable(f"There are {count} errors, the first: {facts[0].detail}", facts)
