"""A sheet of an XLSX workbook as columns of float64.

calamine reads a whole sheet into memory, with room for every cell between the first and the last
one. It reads cells that hold an error such as #DIV/0!, and formulas that no program has computed,
as empty. So the archive is searched first: its sizes are checked, and these cells are found.
"""

from __future__ import annotations

import math
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import python_calamine as calamine

from services.errors import (
    MOST_FACTS,
    CurveError,
    Fact,
    InvalidOption,
    InvalidTable,
    TooLarge,
    UnreadableFile,
    error_from,
    error_from_all,
    quote,
)
from services.files.common import ReadOptions, Source, TableHead, find_x
from services.files.limits import ReadLimits
from services.files.spool import ColumnFile
from services.files.words import GAPS
from services.tables import FloatArray, clean_names

_WORKBOOK, _RELATIONS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
_DIRECTORY_BYTES = 1 << 20
"""Size of the workbook's list of sheets, which is read at once."""

CHUNK_BYTES = 1 << 20
"""Bytes that are searched at once."""

_MOST_MEMBERS = 10_000

_LONGEST_CELL = 1 << 16
"""Bytes of a cell with a formula; longer ones are not searched."""

# No attribute and no text holds "<", so each match ends at the next one.
_ERROR = re.compile(rb"""<(?:\w+:)?c\b[^<>]*?\st\s*=\s*["']e["'][^<>]*>""")
_FORMULA = re.compile(
    rb"""<(?:\w+:)?c\b(?![^<>]*\st\s*=\s*["']str["'])[^<>]*>\s*"""
    rb"""<(?:\w+:)?f\b[^<>]*(?:/>|>[^<>]*</(?:\w+:)?f\s*>)\s*"""
    rb"""(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v\s*>\s*</(?:\w+:)?v\s*>)?\s*</(?:\w+:)?c\s*>"""
)
_EXPLANATIONS = {
    "error_cell": "an error such as #DIV/0!, not a number",
    "formula_without_value": "a formula that was never computed; open and save the workbook in a"
    " spreadsheet program, or store numbers",
}
_PLACE = re.compile(rb"""\sr=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_SHEET = re.compile(rb"""<(?:\w+:)?sheet\b[^>]*?\s\w+:id=["']([^"']*)["']""")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\b[^>]*>")
_ID, _TARGET = re.compile(rb"""\sId=["']([^"']*)["']"""), re.compile(rb"""\sTarget=["']([^"']*)""")


def read_sheet(
    file: BinaryIO, into: ColumnFile, options: ReadOptions, *, chunk_bytes: int = CHUNK_BYTES
) -> TableHead:
    """Read one sheet of an XLSX workbook.

    The first row holds the names. Empty rows and columns around the cells do not count; an empty
    row between others is a row of gaps. A formula has the value that was stored with it; one
    without a value is refused.

    Parameters
    ----------
    file : BinaryIO
        The workbook; seekable.
    into : ColumnFile
        Gets the numbers.
    options : ReadOptions
        Options of the client, and the limits.
    chunk_bytes : int
        Bytes of XML that are searched at once.

    Returns
    -------
    TableHead
        Everything else.

    Raises
    ------
    UnreadableFile
        The file is no workbook, or damaged.
    InvalidTable
        The sheet is no table of curves.
    InvalidOption
        There is no such sheet.
    TooLarge
        The workbook or the sheet is larger than the limits allow.
    """
    try:
        return _read(file, into, options, chunk_bytes)
    except CurveError:
        raise
    except (
        calamine.CalamineError,
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
    ) as error:
        why = " ".join(str(error).split())[:200]
        detail = f"The workbook cannot be read: {why or 'it is damaged'}"
        raise error_from(UnreadableFile, Fact(detail, "damaged")) from None


# Before it is read


class _BadCell(NamedTuple):
    """XML of a cell that is refused, from its opening tag on, and the code of the reason."""

    xml: bytes
    code: str


def _search(file: BinaryIO, limits: ReadLimits, chunk_bytes: int) -> list[list[_BadCell]]:
    """Check the sizes, and find the cells of each sheet that are refused."""
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if len(members) > _MOST_MEMBERS or max(size, unpacked) > limits.max_sheet_bytes:
            detail = f"Unpacked, the workbook has more than {limits.max_sheet_bytes} bytes."
            raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
        limits.check_expansion(size, unpacked)
        # Everything is unpacked here once, in chunks, because the directory may understate the
        # sizes; the module then refuses the member.
        bad = {m.filename: _search_member(archive, m, chunk_bytes) for m in members}
        targets = _list_targets(archive, set(bad))
    anywhere = [cell for cells in bad.values() for cell in cells]
    return [bad.get(target, anywhere) for target in targets] or [anywhere]


def _search_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, chunk_bytes: int
) -> list[_BadCell]:
    found: list[_BadCell] = []
    with archive.open(member) as stream:
        for cell in _find_bad_cells(iter(lambda: stream.read(chunk_bytes), b"")):
            if len(found) < MOST_FACTS:
                found.append(cell)
    return found


def _find_bad_cells(chunks: Iterator[bytes]) -> Iterator[_BadCell]:
    """Yield cells that hold an error, or a formula without a value."""
    held = b""
    for chunk in chunks:
        text = held + chunk
        # The last cell may go on in the next chunk; those before it are complete.
        last = max(text.rfind(b"<c"), text.rfind(b":c"))
        cut = max(text.rfind(b"<", 0, last + 1), len(text) - _LONGEST_CELL, 0)
        yield from _match_bad_cells(text[:cut])
        held = text[cut:]
    yield from _match_bad_cells(held)


def _match_bad_cells(text: bytes) -> Iterator[_BadCell]:
    if b'"e"' in text or b"'e'" in text:
        yield from (_BadCell(match[0], "error_cell") for match in _ERROR.finditer(text))
    if b"<f" in text or b":f" in text:
        found = _FORMULA.finditer(text)
        yield from (_BadCell(match[0], "formula_without_value") for match in found)


def _list_targets(archive: zipfile.ZipFile, names: set[str]) -> list[str]:
    """Return the member of each sheet, in the order of the workbook."""
    if not names >= {_WORKBOOK, _RELATIONS}:
        detail = "The file is a ZIP archive, but no XLSX workbook."
        raise error_from(UnreadableFile, Fact(detail, "damaged"))
    directory = [archive.getinfo(name) for name in (_WORKBOOK, _RELATIONS)]
    if any(member.file_size > _DIRECTORY_BYTES for member in directory):
        detail = f"The list of sheets has more than {_DIRECTORY_BYTES} bytes."
        raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
    workbook, relations = (archive.read(member) for member in directory)
    target_of = {}
    for match in _RELATION.finditer(relations):
        identifier, target = _ID.search(match[0]), _TARGET.search(match[0])
        if identifier and target:
            path = posixpath.join("/xl", target[1].decode("utf-8", "replace"))
            target_of[identifier[1]] = posixpath.normpath(path).lstrip("/")
    return [target_of.get(identifier, "") for identifier in _SHEET.findall(workbook)]


# Cells to numbers


def _read(file: BinaryIO, into: ColumnFile, options: ReadOptions, chunk_bytes: int) -> TableHead:
    bad = _search(file, options.limits, chunk_bytes)
    file.seek(0)
    with calamine.load_workbook(file) as workbook:
        sheets = workbook.sheets_metadata
        places = [at for at, s in enumerate(sheets) if s.typ == calamine.SheetTypeEnum.WorkSheet]
        at = _choose([sheets[place].name for place in places], options.sheet)
        name = sheets[places[at]].name
        # If the members cannot be assigned to sheets, a bad cell in any of them counts.
        own = bad[places[at] : places[at] + 1] if len(bad) == len(sheets) else bad
        sheet = workbook.get_sheet_by_name(name)
        return _Sheet(sheet, options).read(into, [cell for cells in own for cell in cells])


def _choose(names: list[str], wanted: str | None) -> int:
    if wanted is None:
        if not names:
            raise error_from(InvalidTable, Fact("The workbook has no sheet with cells.", "no_rows"))
        return 0
    if wanted not in names:
        known = ", ".join(map(quote, names[:MOST_FACTS]))
        detail = f"There is no sheet {quote(wanted)}; there are: {known}."
        raise error_from(InvalidOption, Fact(detail, "unknown_sheet", parameter="sheet"))
    return names.index(wanted)


class _Sheet:
    """Reads the cells of one sheet."""

    def __init__(self, sheet: calamine.CalamineSheet, options: ReadOptions) -> None:
        self._sheet = sheet
        self._options = options
        self._first_row, self._first_column = sheet.start or (0, 0)
        self._facts: list[Fact] = []

    def read(self, into: ColumnFile, bad: list[_BadCell]) -> TableHead:
        """Read names from the first row and numbers from the others."""
        header, limits = self._options.header, self._options.limits
        columns, rows = self._sheet.width, self._sheet.height - (header != "absent")
        if columns > limits.max_columns:
            detail = f"There are {columns} columns; the limit is {limits.max_columns}."
            raise error_from(TooLarge, Fact(detail, "too_many_columns"))
        if rows > limits.max_rows or 8 * rows * columns > limits.max_sheet_bytes:
            detail = (
                f"The cells span {rows} rows and {columns} columns, more than the limits allow."
            )
            raise error_from(TooLarge, Fact(detail, "too_many_rows"))
        if rows < 0:
            raise error_from(InvalidTable, Fact("The sheet is empty.", "no_rows"))
        # calamine leaves out empty columns before the cells, but not empty rows.
        cells = islice(self._sheet.iter_rows(), self._first_row, None)
        names = self._read_names(next(cells) if header != "absent" else None, columns)
        x = find_x(tuple(names), self._options.x_column, self._options.usual_x)
        self._refuse_bad_cells(bad, names)
        values = np.empty((rows, columns))
        for row, line in enumerate(cells):
            # Types are compared, because NumPy would take the text '1' and True for numbers.
            is_plain = set(map(type, line)) == {float}
            values[row] = np.array(line) if is_plain else self._read_row(row, line, names)
        if not self._facts:
            self._note_infinite(values, names)
        if self._facts:
            raise error_from_all(self._facts[:MOST_FACTS])
        into.rows = rows
        into.write(0, 0, values.T)
        name = self._sheet.name
        found = "absent" if header == "absent" else "present"
        source = Source("xlsx", header=found, sheet=name)
        return TableHead(tuple(names), rows, source, x)

    def _read_names(self, cells: list[Any] | None, columns: int) -> list[str]:
        if cells is None:
            return ["x", *(f"y{position}" for position in range(1, columns))]
        if all(type(cell) is float or _is_gap(cell) for cell in cells):
            detail = "The first row holds numbers, not names; add names or say header=absent."
            raise error_from(InvalidTable, Fact(detail, "no_header"))
        return clean_names([_as_name(cell) for cell in cells])

    def _refuse_bad_cells(self, bad: list[_BadCell], names: list[str]) -> None:
        for xml, code in bad:
            place = _PLACE.search(xml)
            row, column = -1, -1
            if place:
                row = int(place[2]) - 1 - self._first_row
                column = _column_number(place[1].decode()) - self._first_column
            where = f"Cell {place[1].decode()}{place[2].decode()}" if place else "A cell"
            self._facts.append(
                Fact(
                    f"{where} holds {_EXPLANATIONS[code]}.",
                    code,
                    self._data_row(row) if row >= 0 else None,
                    column=names[column] if 0 <= column < len(names) else None,
                )
            )
        if self._facts:
            raise error_from_all(self._facts)

    def _data_row(self, row: int) -> int | None:
        row -= self._options.header != "absent"
        return row if row >= 0 else None

    def _read_row(self, row: int, line: list[Any], names: list[str]) -> list[float]:
        numbers = []
        for column, cell in enumerate(line):
            if type(cell) in (float, int):
                numbers.append(float(cell))
            elif _is_gap(cell):
                numbers.append(math.nan)
            else:
                self._note(row, column, names[column], f"{_describe(cell)}, not a number")
                numbers.append(math.nan)
        return numbers

    def _note_infinite(self, values: FloatArray, names: list[str]) -> None:
        for row, column in np.argwhere(np.isinf(values))[:MOST_FACTS].tolist():
            self._note(row, column, names[column], "too large for float64", "not_finite")

    def _note(
        self, row: int, column: int, name: str, content: str, code: str = "not_a_number"
    ) -> None:
        place = row + self._first_row + (self._options.header != "absent") + 1
        cell = f"{_column_letters(column + self._first_column)}{place}"
        detail = f"Cell {cell}, column {quote(name)}: it holds {content}."
        self._facts.append(Fact(detail, code, row, column=name))
        if len(self._facts) == MOST_FACTS:
            raise error_from_all(self._facts)


def _is_gap(cell: Any) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in GAPS


def _as_name(cell: Any) -> str:
    if type(cell) is float:
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    return str(cell)


def _describe(cell: Any) -> str:
    if isinstance(cell, str):
        return f"the text {quote(cell)}"
    return "true or false" if isinstance(cell, bool) else f"the date or time {cell}"


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _column_letters(number: int) -> str:
    letters, number = "", number + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
