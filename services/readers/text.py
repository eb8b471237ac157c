"""Bytes of CSV and TSV become a table, or an error that says where and why not.

The way of a file: bytes -> pieces of whole lines (`_Pieces`) -> numbers, all of a piece at once,
where every line of it is plain (`services.readers.plain`). Where one is not, with care: lines ->
records (`_Records`) -> cells (`_cells`) -> numbers (`_Rows`). Both ways give the same; memory holds
a few pieces, and the numbers go into a spool.

The cells are cut here and not by the csv module: its strict mode refuses ``"1" , "2"``, its
lenient mode reads ``"1"2`` as 12 and a quote that never closes as a cell, and its field limit is
one for the whole process.
"""

from __future__ import annotations

import codecs
import math
import re
from array import array
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from services.errors import Fact, InvalidTable, TooLarge, UnreadableFile
from services.readers.base import (
    DEFAULT_LIMITS,
    MOST_FACTS,
    USUAL_X,
    ReadLimits,
    Source,
    alone,
    shown,
    spooled_table,
    together,
    x_position,
)
from services.readers.plain import Plain, read_plain
from services.spool import Spool, SpooledTable, closed_on_error
from services.tables import NAME_LENGTH, clean_names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

_DELIMITERS = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}
GAPS = {"", "nan", "na", "null", "none"}
"""Words for a gap, in any case."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
# Also 12%, 1_000, 1.234,5 and 1e999: no data row shall pass for a header because it is refused.
# Not with a tab inside, which would part cells.
_LIKE_NUMBER = re.compile(r"[-+.,]*+(?:inf(?:inity)?|\d[-+.,e_%'\d \u00a0\u2009\u202f]*+)")
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
_LARGEST_CHUNK = 1 << 18
_VALUES = 1 << 16
_THREADS = 2


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
    longest = max(_CHUNK, limits.max_columns * (2 * NAME_LENGTH + 3))
    file = _Pieces(stream, longest)
    pieces = iter(file)
    records = _Records(file.codec, file.start, longest, limits.max_rows + (header != "absent"))
    candidates = _DELIMITERS[format]
    ahead, rest = _first_two(records, pieces, candidates)
    if not ahead:
        raise alone(InvalidTable, Fact("The file is empty.", "no_rows"))
    delimiter = _find_delimiter(ahead[0], ahead[-1], candidates)
    names = _read_names(ahead[0], delimiter, header, limits)
    x_position(names, x_column, usual_x)  # an unknown name is refused before a long file is read
    body = ahead if header == "absent" else ahead[1:]
    with closed_on_error(Spool(len(names), limits.max_bytes)) as spool:
        rows = _Rows(names, delimiter, spool)
        rows.read(chain(body, rest))
        plain = partial(read_plain, codec=file.codec, delimiter=delimiter, columns=len(names))
        with closing(_read_ahead(pieces, plain)) as waiting:
            rows.read_all(records, waiting)
        source = Source(format, file.encoding, delimiter, rows.decimal or ".", header)
        return spooled_table(names, spool, x_column, usual_x), source


def _first_two(
    records: _Records, pieces: Iterator[_Piece], delimiters: tuple[str, ...]
) -> tuple[list[_Record], Iterator[_Record]]:
    """Two records that are not blank, if there are two, and the rest of their piece."""
    found: list[_Record] = []
    rest: Iterator[_Record] = iter(())
    for piece in pieces:
        rest = records.of(piece, pieces)
        found += islice((r for r in rest if not _is_blank(r.text, delimiters)), 2 - len(found))
        if len(found) == 2:  # noqa: PLR2004
            break
    return found, rest


# Bytes to pieces of whole lines


class _Piece(NamedTuple):
    """Some lines as bytes."""

    data: bytes
    overlong: bool = False
    """It is the beginning of a line that is too long, and nothing follows."""


class _Pieces:
    """A stream in pieces, each of whole lines; it is read once."""

    def __init__(self, stream: BinaryIO, longest: int) -> None:
        self._stream = stream
        self._longest = longest
        chunk = _read_full(stream, _CHUNK)
        mark, self.encoding = next(
            ((mark, name) for mark, name in _BOMS if chunk.startswith(mark)), (b"", "utf-8")
        )
        # Some tools put a mark before a mark; left there, it would be part of the first name.
        self._first = chunk.removeprefix(mark).removeprefix(mark)
        self.start = len(chunk) - len(self._first)
        self.codec = self.encoding.removesuffix("-sig")
        self._feed, self._return = "\n".encode(self.codec), "\r".encode(self.codec)

    def __iter__(self) -> Iterator[_Piece]:
        chunk, tail, read = self._first, b"", 0
        while chunk:
            data = tail + chunk
            cut = self._cut(data)
            if cut:
                yield _Piece(data[:cut])
            tail = data[cut:]
            if self._is_overlong(tail):
                yield _Piece(tail, overlong=True)
                return
            read += len(chunk)
            # Large pieces are read faster, but a file that is refused early shall cost little.
            chunk = _read_full(self._stream, min(_LARGEST_CHUNK, max(_CHUNK, read // 4)))
        if tail:
            yield _Piece(tail)

    def _cut(self, data: bytes) -> int:
        """Where the last line ends that is known to have ended; 0 if none is."""
        # A return is an end by itself where the next two characters hold no line feed.
        for end, stop in ((self._feed, len(data)), (self._return, len(data) - 2 * len(self._feed))):
            at = data.rfind(end, 0, max(stop, 0))
            while at % len(end) and at > 0:  # halves of two UTF-16 characters that look like one
                at = data.rfind(end, 0, at + len(end) - 1)
            if at >= 0:
                return at + len(end)
        return 0

    def _is_overlong(self, tail: bytes) -> bool:
        if len(tail) <= self._longest:
            return False
        return len(tail.decode(self.codec, "replace")) > self._longest


def _read_full(stream: BinaryIO, size: int) -> bytes:
    """Read that many bytes, or all that are left, however small the pieces that come."""
    first = stream.read(size)
    if len(first) in (0, size):
        return first
    pieces = bytearray(first)
    while len(pieces) < size and (piece := stream.read(size - len(pieces))):
        pieces += piece
    return bytes(pieces)


def _read_ahead(
    pieces: Iterable[_Piece], read: Callable[[bytes], Plain | None]
) -> Generator[tuple[_Piece, Future[Plain | None]]]:
    """Each piece with its numbers, which are read on threads a little ahead."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[tuple[_Piece, Future[Plain | None]]] = deque()
        for piece in pieces:
            waiting.append((piece, pool.submit(read, piece.data)))
            if len(waiting) > _THREADS:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


# Pieces to lines, lines to cells


class _Record(NamedTuple):
    """A row as text: one line, or several where quotes hold line breaks."""

    line: int
    text: str


class _Records:
    """Cuts pieces into lines and puts these together to records; knows where it is in the file."""

    def __init__(self, codec: str, start: int, longest: int, most: int) -> None:
        self._codec = codec
        self._byte = start
        self._longest = longest
        self._left = most
        self._line = 1
        self._open = False

    def of(self, piece: _Piece, following: Iterator[_Piece]) -> Iterator[_Record]:
        """Records of a piece, and of those that follow until no quote is open.

        A record is complete when its quotes are even in number (RFC 4180).
        """
        lines = self._lines(piece, following)
        for line, text in lines:
            parts = [text]
            length, quotes = len(text), text.count('"')
            self._open = quotes % 2 == 1
            # A quote that never closes ends at the limit; cutting the cells then says so.
            while self._open and length <= self._longest and (more := next(lines, None)):
                parts.append(more[1])
                length, quotes = length + 1 + len(more[1]), quotes + more[1].count('"')
                self._open = quotes % 2 == 1
            if text.strip(" "):
                if not self._left:
                    detail = f"Line {line} is one row more than the limit of rows allows."
                    raise alone(TooLarge, Fact(detail, "too_many_rows", line=line))
                self._left -= 1
                yield _Record(line, "\n".join(parts))

    def passes(self, piece: _Piece, plain: Plain) -> bool:
        """Go on behind a piece whose numbers are known; tell if so many rows are allowed."""
        rows = plain.values.shape[1]
        if rows > self._left:
            return False
        self._left -= rows
        self._line += plain.lines
        self._byte += len(piece.data)
        return True

    def _lines(
        self, piece: _Piece | None, following: Iterator[_Piece]
    ) -> Iterator[tuple[int, str]]:
        while piece is not None:
            lines = self._split(piece)
            first = self._line
            self._line += len(lines)
            self._byte += len(piece.data)
            numbered = enumerate(lines, first)
            # Millions of blank lines are no rows, unless a quote is open around them.
            is_plain = not self._open and b'"' not in piece.data
            yield from (pair for pair in numbered if pair[1]) if is_plain else numbered
            piece = next(following, None) if self._open else None

    def _split(self, piece: _Piece) -> list[str]:
        text = self._decode(piece.data)
        if "\0" in text:
            what = "it holds a NUL byte; is it text, in UTF-8, or in UTF-16 with its mark?"
            raise self._unreadable(text[: text.index("\0")], what, "nul_byte")
        if "\r" in text:
            # As `_LINE_END`, but fast for millions of them; there is no NUL in the text.
            for end, sign in (("\r\r\n", "\0"), ("\r\n", "\0"), ("\r", "\n"), ("\0", "\n")):
                text = text.replace(end, sign)
        lines = text.removesuffix("\n").split("\n")
        if piece.overlong:
            line = self._line + len(lines) - 1
            detail = f"Line {line} is longer than {self._longest} characters."
            raise alone(TooLarge, Fact(detail, "long_line", line=line))
        return lines

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode(self._codec)
        except UnicodeDecodeError as error:
            at = self._byte + error.start
            what = f"byte {at} (from 0) is no {error.encoding.upper()}; save the file as UTF-8."
            raise self._unreadable(
                data[: error.start].decode(error.encoding), what, "undecodable"
            ) from None

    def _unreadable(self, before: str, what: str, code: str) -> UnreadableFile:
        line = self._line + _LINE_END.sub("\n", before).count("\n")
        return alone(UnreadableFile, Fact(f"Line {line} cannot be read: {what}", code, line=line))


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
    raise alone(InvalidTable, Fact(detail, code, line=line))


def _find_delimiter(first: _Record, sample: _Record, candidates: tuple[str, ...]) -> str:
    """Choose the delimiter by the rule that `read_text` states."""
    unquoted = re.sub(r'"[^"]*+"', "", first.text)
    found = [delimiter for delimiter in candidates if delimiter in unquoted]
    if not found:
        _cells(first, candidates[0])  # a quote that never closes may hide the delimiter
        known = " ".join(map(repr, candidates))
        detail = f"Line {first.line} has one cell only; cells are parted by one of {known}."
        raise alone(InvalidTable, Fact(detail, "one_column", line=first.line))
    fitting = found if len(found) == 1 else [d for d in found if _reads(first, sample, d)]
    if len(fitting) != 1:
        shown = " and ".join(map(repr, found))
        detail = f"Line {first.line} holds {shown}; which one parts the cells is not clear."
        raise alone(InvalidTable, Fact(detail, "ambiguous_delimiter", line=first.line))
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
    return text in GAPS or _LIKE_NUMBER.fullmatch(text) is not None


def _read_names(first: _Record, delimiter: str, header: str, limits: ReadLimits) -> tuple[str, ...]:
    cells = _cells(first, delimiter)
    if len(cells) > limits.max_columns:
        detail = f"There are {len(cells)} columns; the limit is {limits.max_columns}."
        raise alone(TooLarge, Fact(detail, "too_many_columns", line=first.line))
    if header == "absent":
        return ("x", *(f"y{position}" for position in range(1, len(cells))))
    if all(map(_is_numeric, cells)) and any(map(str.strip, cells)):
        detail = f"Line {first.line} holds numbers, not names; add names or say header=absent."
        raise alone(InvalidTable, Fact(detail, "no_header", line=first.line))
    try:
        return tuple(clean_names(cells))
    except InvalidTable as error:
        raise together([replace(fact, line=first.line) for fact in error.facts]) from None


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
        self, records: _Records, waiting: Iterator[tuple[_Piece, Future[Plain | None]]]
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
            raise together(self._facts)

    def _agrees(self, plain: Plain) -> bool:
        return None in (plain.decimal, self.decimal) or plain.decimal == self.decimal

    def read(self, records: Iterable[_Record]) -> None:
        """Read rows with care."""
        values = array("d")
        for record in records:
            numbers = self._plain(record.text)
            if numbers is None:
                if _is_blank(record.text, self._delimiter):
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

    def _careful(self, row: int, record: _Record) -> list[float]:
        """Numbers of any row, cell by cell; what is wrong is noted."""
        try:
            cells = _cells(record, self._delimiter)
        except InvalidTable as error:
            # After a stray quote no later cell is sure.
            raise together([*self._facts, replace(error.facts[0], row=row)]) from None
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
                detail = f"Line {line}, column {shown(self._names[at])}: {shown(cell)} {what}."
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
            raise together(self._facts)


def _what_is(text: str) -> tuple[str, str]:
    if text.lstrip("+-").lower() in {"inf", "infinity"}:
        return "is not finite", "not_finite"
    if "," in text and "." in text:
        return "is not a number; leave out thousands separators", "not_a_number"
    return "is not a number", "not_a_number"
