"""A sheet of an XLSX workbook as columns of float64.

The archive is searched first (`sheet_xml`), then calamine reads a whole sheet into memory, with
room for every cell between the first and the last one. Its rows show where the table is
(`sheet_head`), and become numbers (`sheet_rows`).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO, NamedTuple

import numpy as np
import python_calamine as calamine
from numpy.typing import NDArray

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
from services.files.common import Part, ReadOptions, Source, TableHead
from services.files.finding import name_columns
from services.files.picking import Columns, check_columns, pick_parts
from services.files.sheet_curves import read_curve_rows, refuse_no_x
from services.files.sheet_head import MOST_SKIPPED, Row, SheetHead, find_head, refuse_empty
from services.files.sheet_rows import SheetRows
from services.files.sheet_xml import CHUNK_BYTES, MOST_CELLS, Marks, column_letters, search
from services.files.spool import ColumnFile, Spool
from services.tables import Table, TableWarning

_EXPLANATIONS = {
    "error_cell": "an error such as #DIV/0!, not a number",
    "formula_without_value": "a formula that was never computed; open and save the workbook in a"
    " spreadsheet program, or store numbers",
}


def read_sheet(
    file: BinaryIO, into: ColumnFile, options: ReadOptions, *, chunk_bytes: int = CHUNK_BYTES
) -> list[TableHead]:
    """Read one sheet of an XLSX workbook; docs/formats.md states the rules.

    Empty rows and columns around the cells do not count; an empty row between others is a row of
    gaps. A formula has the value that was stored with it; one without a value is refused.

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
    list of TableHead
        Everything else: one table, or one for each pair of columns.

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
        marks = search(file, options.limits, chunk_bytes)
        file.seek(0)
        with calamine.load_workbook(file) as workbook:
            chosen = _choose(workbook, options.sheet)
            # If the members cannot be assigned to sheets, a bad cell in any of them counts.
            is_known = len(marks) == len(workbook.sheets_metadata)
            own = marks[chosen.place] if is_known else marks[0]
            return _Sheet(chosen, own, options).read(into)
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


class _Chosen(NamedTuple):
    """A sheet, its position in the workbook, and the others."""

    sheet: calamine.CalamineSheet
    place: int
    others: list[str]
    warnings: tuple[TableWarning, ...]


def _choose(workbook: calamine.CalamineWorkbook, wanted: str | None) -> _Chosen:
    """Choose the sheet that is named, or the first visible one that is not empty."""
    sheets = {
        place: sheet
        for place, sheet in enumerate(workbook.sheets_metadata)
        if sheet.typ == calamine.SheetTypeEnum.WorkSheet
    }
    names = [sheet.name for sheet in sheets.values()]
    if wanted is not None and wanted not in names:
        known = ", ".join(map(quote, names[:MOST_FACTS]))
        detail = f"There is no sheet {quote(wanted)}; there are: {known}."
        raise error_from(InvalidOption, Fact(detail, "unknown_sheet", parameter="sheet"))
    passed: list[str] = []
    for place, sheet in sheets.items():
        is_hidden = sheet.visible != calamine.SheetVisibleEnum.Visible
        if is_hidden and wanted is None:
            passed.append(sheet.name)
        elif wanted in (None, sheet.name):
            opened = workbook.get_sheet_by_name(sheet.name)
            if opened.start is not None or wanted is not None:
                others = [name for name in names if name != sheet.name]
                hidden = [sheet.name] if is_hidden else passed
                return _Chosen(opened, place, others, _warn_of_hidden(hidden, wanted))
    if passed:
        shown = ", ".join(map(quote, passed[:MOST_FACTS]))
        detail = (
            f"Name a hidden sheet by sheet= if it holds the table ({shown}): no other has cells."
        )
        raise error_from(InvalidTable, Fact(detail, "no_rows", parameter="sheet"))
    raise error_from(InvalidTable, Fact("The workbook has no sheet with cells.", "no_rows"))


def _warn_of_hidden(names: Sequence[str], wanted: str | None) -> tuple[TableWarning, ...]:
    if not names:
        return ()
    if wanted is not None:
        detail = f"Sheet {quote(wanted)} is hidden in the workbook; it was read, as asked."
        return (TableWarning("hidden_sheet", detail),)
    detail = f"Sheet {quote(names[0])} comes first but is hidden, and was not read. Say"
    detail += f" sheet={names[0]} if it holds the table."
    return (TableWarning("hidden_sheet", detail, options={"sheet": names[0]}),)


class _Sheet:
    """Reads the cells of one sheet."""

    def __init__(self, chosen: _Chosen, marks: Marks, options: ReadOptions) -> None:
        self._sheet = chosen.sheet
        self._others = chosen.others
        self._warnings = chosen.warnings
        self._marks = marks
        self._options = options
        self._first_row, self._first_column = chosen.sheet.start or (0, 0)

    def read(self, into: ColumnFile) -> list[TableHead]:
        """Read names and numbers."""
        self._check_size()
        if self._options.layout == "rows":
            return self._read_curve_rows(into)
        head = find_head(self._rows(0), self._options)
        if head is None:
            self._refuse_bad_cells(None, None, None)
            raise refuse_empty(self._sheet.name, self._others, self._options)
        names = head.names or ("",) * self._sheet.width
        line = None if head.names_row is None else head.names_row + 1
        read = None
        if self._options.columns:
            read = check_columns(Columns(names, head.units, line), self._options)
        most = self._options.limits.max_sheet_bytes
        spool = Spool(len(names), most + 8 * len(names), memory_bytes=most)
        rows = SheetRows(
            head, names, spool, self._options, first_column=self._first_column, read=read
        )
        try:
            rows.read(self._rows(head.first))
        finally:
            self._refuse_bad_cells(head, rows.ended, read)
        if not spool.rows:
            detail = "There are names, but no data rows."
            raise error_from(InvalidTable, Fact(detail, "no_rows"))
        return self._write(self._make_parts(spool, head, rows), head, rows, into)

    def _read_curve_rows(self, into: ColumnFile) -> list[TableHead]:
        width = self._sheet.width
        found = read_curve_rows(self._rows(0), width, self._options, self._first_column)
        self._refuse_bad_cells(found and found.head, found and found.rows.ended, None)
        if found is None:
            raise refuse_no_x()
        table = Table(found.values[0], found.values[1:], found.names[1:], found.names[0])
        return self._write(((Part(table),), ()), found.head, found.rows, into)

    def _check_size(self) -> None:
        limits, columns, rows = self._options.limits, self._sheet.width, self._sheet.height
        if columns > limits.max_columns:
            detail = f"There are {columns} columns; the limit is {limits.max_columns}."
            raise error_from(TooLarge, Fact(detail, "too_many_columns"))
        if rows - 1 > limits.max_rows or 8 * (rows - 1) * columns > limits.max_sheet_bytes:
            detail = (
                f"The cells span {rows} rows and {columns} columns, more than the limits allow."
            )
            raise error_from(TooLarge, Fact(detail, "too_many_rows"))

    def _rows(self, start: int) -> Iterator[Row]:
        """Yield the rows that are asked for, from one of them on."""
        first = max(start, self._first_row, (self._options.first_line or 1) - 1)
        # calamine leaves out empty columns before the cells, but not empty rows.
        return islice(enumerate(self._sheet.iter_rows()), first, self._options.last_line)

    def _refuse_bad_cells(
        self, head: SheetHead | None, end: int | None, read: set[int] | None
    ) -> None:
        """Refuse errors and formulas without a value in the rows and columns of the table."""
        facts = []
        top = 0 if head is None else head.top
        last = self._options.last_line if end is None else end
        is_cut_off = len(self._marks.bad) >= MOST_CELLS
        for cell in self._marks.bad:
            where, row, name = "A cell", None, None
            if cell.row is not None and cell.column is not None:
                at = cell.column - self._first_column
                is_inside = cell.row >= top and (last is None or cell.row < last)
                if not is_cut_off and not (is_inside and (read is None or at in read)):
                    continue
                where = f"Cell {column_letters(cell.column)}{cell.row + 1}"
                if head is not None:
                    row = cell.row - head.first if cell.row >= head.first else None
                    known = head.names or ()
                    name = known[at] if 0 <= at < len(known) else None
            facts.append(
                Fact(f"{where} holds {_EXPLANATIONS[cell.code]}.", cell.code, row, column=name)
            )
        if facts:
            raise error_from_all(facts[:MOST_FACTS])

    def _make_parts(
        self, spool: Spool, head: SheetHead, rows: SheetRows
    ) -> tuple[tuple[Part, ...], tuple[TableWarning, ...]]:
        columns = (spool.read(at, at + 1)[0] for at in range(spool.columns))
        filled = np.array([not np.isnan(column).all() for column in columns])
        names = head.names
        if names is None:
            given = iter(name_columns(int(filled.sum()), self._options.stem))
            names = tuple(next(given) if is_filled else "" for is_filled in filled)
        used = np.array([bool(name.strip()) for name in names]) | filled
        if not self._options.columns and self._options.layout != "pairs":
            self._refuse_side_by_side(used, head, rows)
        line = None if head.names_row is None else head.names_row + 1
        if self._options.layout == "pairs":
            values = spool.read(0, spool.columns)[used]
            spool = Spool(len(values), values.nbytes, memory_bytes=values.nbytes)
            spool.append(values)
            units = None if head.units is None else _only(head.units, used)
            return pick_parts(spool, Columns(_only(names, used), units, line), self._options)
        return pick_parts(spool, Columns(names, head.units, line), self._options)

    def _refuse_side_by_side(
        self, used: NDArray[np.bool_], head: SheetHead, rows: SheetRows
    ) -> None:
        """Refuse two tables with an empty column between them."""
        edges = np.flatnonzero(np.diff(np.concatenate(([False], used, [False]))))
        blocks = [(a, b) for a, b in edges.reshape(-1, 2).tolist() if b - a > 1]
        if len(blocks) <= 1:
            return
        ranges = [
            f"{column_letters(a + self._first_column)}{head.top + 1}:"
            f"{column_letters(b - 1 + self._first_column)}{rows.last + 1}"
            for a, b in blocks
        ]
        a, _ = blocks[1]
        detail = f"Choose one table by x_column= and columns=, such as x_column=#{a + 1} and"
        detail += f" columns=#{a + 2}, or say layout=pairs if each curve has its own x:"
        detail += f" {' and '.join(ranges[:MOST_FACTS])} have an empty column between them."
        raise error_from(InvalidTable, Fact(detail, "two_tables", line=head.top + 1))

    def _write(
        self,
        picked: tuple[tuple[Part, ...], tuple[TableWarning, ...]],
        head: SheetHead,
        rows: SheetRows,
        into: ColumnFile,
    ) -> list[TableHead]:
        parts, warnings = picked
        every = (*self._warnings, *head.warnings, *warnings, *self._warn_of_rows(head, rows))
        source = self._source(head, rows)
        heads = []
        for part in parts:
            curves = part.curves
            offset, into.rows = into.offset, curves.x.size
            into.write(0, 0, curves.x)
            at = 1
            for piece in curves.read_parts(1 << 20):
                into.write(at, 0, piece)
                at += len(piece)
            columns = (curves.x_name, *curves.names)
            heads.append(TableHead(columns, into.rows, source, 0, part.labels, every, offset))
            into.offset += at * into.rows
            every = ()
        into.offset = 0
        return heads

    def _warn_of_rows(self, head: SheetHead, rows: SheetRows) -> Iterator[TableWarning]:
        hidden = [row + 1 for row in self._marks.hidden if head.first <= row <= rows.last]
        if hidden:
            detail = f"Hidden rows were read as all others: {len(hidden)}, the first is row"
            detail += (
                f" {hidden[0]}. Delete them in the workbook if they do not belong to the table."
            )
            yield TableWarning("hidden_rows", detail, row=hidden[0] - 1 - head.first)
        first, end = self._first_column, self._first_column + self._sheet.width
        shut = [max(a, first) for a, b in self._marks.hidden_columns if a < end and b >= first]
        if shut:
            detail = "Hidden columns were read as all others; the first is column"
            detail += f" {column_letters(min(shut))}. Say columns= to name those that are read."
            yield TableWarning("hidden_columns", detail)

    def _source(self, head: SheetHead, rows: SheetRows) -> Source:
        options = self._options
        return Source(
            "xlsx",
            header="absent" if head.names is None else "present",
            sheet=self._sheet.name,
            first_line=head.top + 1,
            last_line=rows.last + 1,
            skipped=(*head.skipped, *rows.skipped)[:MOST_SKIPPED],
            gap=tuple(options.gap),
            layout=options.layout,
            units="absent" if head.units is None else "present",
            x_column=options.x_column,
            columns=tuple(options.columns) or None,
        )


def _only(cells: Sequence[str], used: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(cell for cell, is_used in zip(cells, used, strict=True) if is_used)
