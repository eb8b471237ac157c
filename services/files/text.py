"""Text of any delimiter as tables.

The way of a file: its beginning shows where the table starts (`text_head`). From there, bytes ->
pieces of whole lines (`text_pieces`) -> numbers. A piece of plain lines is read all at once
(`text_fast`); any other cell by cell: lines -> records and cells (`text_records`) -> numbers
(`text_rows`). Both ways give the same result. Memory holds a few pieces, and the numbers go into a
spool.

The cells are not cut by the csv module: its strict mode refuses ``"1" , "2"``, its lenient mode
reads ``"1"2`` as 12 and a quote that never closes as a cell, and its field limit is one for the
whole process.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, assert_never

import numpy as np

from services.errors import (
    Fact,
    InvalidOption,
    InvalidTable,
    TooLarge,
    UnreadableFile,
    error_from,
    quote,
)
from services.files.common import (
    DEFAULT_OPTIONS,
    Part,
    ReadFile,
    ReadOptions,
    Source,
    require_rows,
)
from services.files.finding import X_AND_CURVE, name_columns, refuse_nameless
from services.files.formats import TextFormat
from services.files.picking import Columns, check_columns, pick_parts
from services.files.spool import Spool, closed_on_error
from services.files.text_curves import read_curve_rows
from services.files.text_fast import read_plain
from services.files.text_head import Head, comment_marks
from services.files.text_lines import TableStart
from services.files.text_pieces import CHUNK_BYTES, Piece, Pieces, read_ahead
from services.files.text_records import LINE_END, SKIPPED_LINES, Records, find_marks
from services.files.text_rows import Rows
from services.tables import NAME_LENGTH, TableWarning

if TYPE_CHECKING:
    pass

_DELIMITERS = {"tab": "\t", "space": " "}
"""Characters of delimiters that are given as words."""

_SURROGATE = re.compile("[\udc80-\udcff]")
"""A byte that is no UTF-8."""

_LARGEST_HEAD = 1 << 20
"""Bytes that are searched for the table before the first line is taken for its names."""

_FEW_LINES = 2
"""Lines that are too few to show a table."""

ENCODINGS = ("utf-8", "utf-16", "latin-1", "windows-1252")
"""Encodings by the names that clients give them, and Python too."""

_CHARSETS = {
    "iso-8859-1": "windows-1252",  # as browsers read it
    "latin1": "windows-1252",
    "latin-1": "windows-1252",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "utf8": "utf-8",
    "cp1252": "windows-1252",
}
"""Other names of encodings in a media type."""


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
    """Read a table in a text, once and from front to back; docs/formats.md states the rules.

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
        The text is no table of curves, or could be read in two ways.
    InvalidOption
        Options contradict each other.
    TooLarge
        It has more columns or rows than the limits allow.
    """
    try:
        return _read(stream, format, options, chunk_bytes)
    except UnreadableFile as error:
        if options.encoding is None:
            raise
        detail = f"Leave out encoding=, or name another one: {error.facts[0].detail}"
        fact = replace(error.facts[0], detail=detail, parameter="encoding")
        raise error_from(InvalidOption, fact) from None


def _read(stream: BinaryIO, format: TextFormat, options: ReadOptions, chunk_bytes: int) -> ReadFile:
    limits = options.limits
    # The longest names allowed, each quoted, each character a doubled quote.
    longest = max(chunk_bytes, limits.max_columns * (2 * NAME_LENGTH + 3))
    file = Pieces(stream, _encoding_of(options), longest, chunk_bytes)
    start, text = _find_start(file, format, options, longest)
    options = replace(options, decimal=_decimal_of(start.delimiter, options))
    before = len(text[: start.place].encode(file.codec, "surrogateescape"))
    file.take(before)
    marks = comment_marks(options, start.delimiter)
    place = start.line, file.start + before
    records = Records(file.codec, place, marks, longest, limits.max_rows)
    read = read_curve_rows if options.layout == "rows" else _read_columns
    parts, warnings, rows = read(start, file, records, options)
    source = Source(
        format,
        encoding=file.encoding,
        delimiter="space" if start.delimiter == " " else start.delimiter,
        decimal=rows.decimal or ".",
        header="absent" if start.names is None else "present",
        thousands=options.thousands,
        first_line=start.first_line,
        last_line=rows.last_line,
        skipped=(*start.skipped, *records.comments, *rows.skipped)[:SKIPPED_LINES],
        comment=options.comment or start.comment or find_marks(records.comments, marks),
        gap=tuple(options.gap),
        layout=options.layout,
        units="absent" if start.units is None else "present",
        x_column=options.x_column,
        columns=tuple(options.columns) or None,
    )
    return ReadFile(parts, source, (*start.warnings, *warnings))


def first_lines(data: bytes, options: ReadOptions = DEFAULT_OPTIONS) -> list[str]:
    """Decode the first lines of a text, to be shown.

    Parameters
    ----------
    data : bytes
        Whole lines, at most `HEAD_BYTES`; other bytes than text are shown as they can be.
    options : ReadOptions
        Its encoding and charset.

    Returns
    -------
    list of str
        The lines, without their ends.
    """
    file = Pieces(BytesIO(data), _encoding_of(options), len(data), CHUNK_BYTES)
    errors = "surrogateescape" if file.codec == "utf-8" else "replace"
    text = file.peek().data.decode(file.codec, errors)
    return [_repaired(line) for line in LINE_END.split(text)]


def _encoding_of(options: ReadOptions) -> str | None:
    """Return the encoding that the client asks for or declares, None for none."""
    if options.encoding:
        return options.encoding
    if options.charset is None:
        return None
    declared = options.charset.strip().lower().replace("_", "-")
    name = _CHARSETS.get(declared, declared)
    if name not in ENCODINGS:
        detail = f"Say encoding=: the charset {quote(options.charset)} is none of"
        detail += f" {', '.join(ENCODINGS)}."
        raise error_from(InvalidOption, Fact(detail, "unknown_charset", parameter="Content-Type"))
    return name


def _decimal_of(delimiter: str, options: ReadOptions) -> str | None:
    """Return the decimal mark if it is known before any number is read."""
    implied = {",": ".", ".": ","}.get(options.thousands or "")
    decimal = options.decimal or implied or ("." if delimiter == "," else None)
    if options.decimal and options.decimal in (delimiter, options.thousands):
        other = "delimiter" if options.decimal == delimiter else "mark of thousands"
        detail = f"Say another decimal=: {options.decimal!r} is the {other}."
        raise error_from(InvalidOption, Fact(detail, "invalid", parameter="decimal"))
    return decimal


def _find_start(
    file: Pieces, format: TextFormat, options: ReadOptions, longest: int
) -> tuple[TableStart, str]:
    """Find the table; return its start, and the beginning of the text."""
    candidates = delimiters_of(format)
    if options.delimiter:
        candidates = (_DELIMITERS.get(options.delimiter, options.delimiter),)
    may_be_blanks = format != "tsv"
    while True:
        piece = file.peek()
        text = _decode(piece, file, longest)
        head = Head(text, options, candidates, may_be_blanks=may_be_blanks)
        start = head.find()
        if start is None and (len(piece.data) >= _LARGEST_HEAD or not file.widen()):
            start = head.start_plainly()
        if start is not None:
            return _repair(start), text


def _decode(piece: Piece, file: Pieces, longest: int) -> str:
    """Decode the beginning of a text; bytes that are no UTF-8 become surrogates."""
    errors = "surrogateescape" if file.codec == "utf-8" else "replace"
    text = piece.data.decode(file.codec, errors)
    if piece.is_overlong or "\0" in text or (errors == "replace" and "\ufffd" in text):
        # This says where and why, unless the sign was in the text.
        Records(file.codec, (1, file.start), (), longest, 0).split(piece)
    return text


def _repair(start: TableStart) -> TableStart:
    """Read names and lines above that are no UTF-8 as windows-1252."""
    names = [_repaired(cell) for cell in start.names or ()]
    units = [_repaired(cell) for cell in start.units or ()]
    skipped = tuple(map(_repaired, start.skipped))
    if (names, units, skipped) == (start.names or [], start.units or [], start.skipped):
        return start
    detail = "The lines above the numbers are no UTF-8; they were read as windows-1252."
    detail += " Say encoding= if that is wrong."
    return replace(
        start,
        names=names or None,
        units=units or None,
        skipped=skipped,
        warnings=(
            *start.warnings,
            TableWarning("encoding", detail, options={"encoding": "latin-1"}),
        ),
    )


def _repaired(text: str) -> str:
    if not _SURROGATE.search(text):
        return text
    data = text.encode("utf-8", "surrogateescape")
    try:
        return data.decode("windows-1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read_columns(
    start: TableStart, file: Pieces, records: Records, options: ReadOptions
) -> tuple[tuple[Part, ...], tuple[TableWarning, ...], Rows]:
    """Read a table whose columns are curves."""
    width, limits = start.width, options.limits
    if width > limits.max_columns:
        detail = f"There are {width} columns; the limit is {limits.max_columns}."
        raise error_from(TooLarge, Fact(detail, "too_many_columns", line=start.first_line))
    # Spreadsheets break long names into lines.
    titles = [" ".join(name.split("\n")) for name in start.names or ()]
    names = titles or name_columns(width, options.stem)
    units = None if start.units is None else tuple(start.units)
    columns = Columns(tuple(names), units, start.first_line)
    chosen = check_columns(columns, options)
    with closed_on_error(Spool(width, limits.max_bytes)) as spool:
        rows = Rows(start, columns.names, spool, options, read=chosen)
        read = partial(read_plain, codec=file.codec, delimiter=start.delimiter, columns=width)
        with closing(read_ahead(file, read)) as ahead:
            rows.read(records, ahead)
        if not spool.rows and len(records.comments) + start.line <= _FEW_LINES:
            detail = "There are names, but no data rows. If the file has rows, its line ends were"
            detail += " lost on the way: send it with curl --data-binary, not -d."
            raise error_from(InvalidTable, Fact(detail, "no_rows"))
        require_rows(spool.rows)
        if start.names is None and options.layout == "columns":
            columns = _name_filled(spool, start, options)
        parts, warnings = pick_parts(spool, columns, options)
    return parts, warnings, rows


def _name_filled(spool: Spool, start: TableStart, options: ReadOptions) -> Columns:
    """Name the columns of a table without names, but for empty ones behind all numbers."""
    filled = start.width
    while filled > X_AND_CURVE and np.isnan(spool.read(filled - 1, filled)).all():
        filled -= 1
    if filled != X_AND_CURVE and options.header == "auto":
        raise refuse_nameless(start.line)
    names = name_columns(filled, options.stem)
    return Columns((*names, *[""] * (start.width - filled)), None, start.first_line)
