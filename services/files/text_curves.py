"""Text with one curve a row: the first row is x."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from services.errors import Fact, InvalidTable, TooLarge, error_from, error_from_all
from services.files.common import Part, ReadOptions
from services.files.spool import ColumnFile, SpooledTable
from services.files.text_fast import Plain, read_plain
from services.files.text_lines import TableStart
from services.files.text_pieces import Pieces, read_ahead
from services.files.text_records import Records
from services.files.text_rows import Rows
from services.scratch import scratch
from services.tables import FloatArray, TableWarning, clean_names

if TYPE_CHECKING:
    from typing import BinaryIO


def read_curve_rows(
    start: TableStart, file: Pieces, records: Records, options: ReadOptions
) -> tuple[tuple[Part, ...], tuple[TableWarning, ...], Rows]:
    """Read a table whose rows are curves.

    Parameters
    ----------
    start : TableStart
        The first row, which holds x. Its `names` are the first cells of the rows: None if they
        are numbers.
    file : Pieces
        The text from there on.
    records : Records
        Cuts it into rows.
    options : ReadOptions
        Options of the client, and the limits.

    Returns
    -------
    tuple of Part
        One part.
    tuple of TableWarning
        None.
    Rows
        How the rows were read.
    """
    labels: list[str] | None = None if start.names is None else []
    width = start.width - (labels is not None)
    if width > options.limits.max_rows:
        detail = f"There are {width} points; the limit is {options.limits.max_rows}."
        raise error_from(TooLarge, Fact(detail, "too_many_rows", line=start.line))
    numbers = scratch.file()  # closed with the table
    try:
        sink = _RowFile(numbers, width, options)
        names = [f"#{at}" for at in range(start.width - width + 1, start.width + 1)]
        rows = Rows(start, names, sink, options, labels=labels)
        read = partial(read_plain, codec=file.codec, delimiter=start.delimiter, columns=width)
        with closing(read_ahead(file, read if labels is None else _nothing)) as ahead:
            rows.read(records, ahead)
        numbers.flush()
        columns = clean_labels(labels or ["x", *(f"y{at}" for at in range(1, sink.rows))])
        table = SpooledTable(ColumnFile(numbers, width), columns, 0)
    except BaseException:
        numbers.close()
        raise
    return (Part(table),), (), rows


def _nothing(_piece: bytes) -> Plain | None:
    """Take no piece for plain: rows begin with names."""
    return None


def clean_labels(names: list[str]) -> tuple[str, ...]:
    """Clean the name of x and those of the curves.

    Parameters
    ----------
    names : list of str
        The first cells of the rows.

    Returns
    -------
    tuple of str

    Raises
    ------
    InvalidTable
        There is no curve, or a name cannot be used.
    """
    if len(names) <= 1:
        detail = "There is a row of x, but no row with a curve."
        raise error_from(InvalidTable, Fact(detail, "no_rows"))
    try:
        return tuple(clean_names([names[0].strip() or "x", *names[1:]]))
    except InvalidTable as error:
        facts = [
            replace(fact, detail=fact.detail.replace("Column", "Row").replace("column", "row"))
            for fact in error.facts
        ]
        raise error_from_all(facts) from None


class _RowFile:
    """A file of rows, one after the other.

    Parameters
    ----------
    file : BinaryIO
        The file.
    width : int
        Numbers of each row.
    options : ReadOptions
        The limits.
    """

    def __init__(self, file: BinaryIO, width: int, options: ReadOptions) -> None:
        self._columns = ColumnFile(file, width)
        self._limits = options.limits
        self.rows = 0

    def append(self, values: FloatArray) -> None:
        """Append rows, shape (width, rows)."""
        width, more = values.shape
        if self.rows + more - 1 > self._limits.max_curves:
            detail = f"There are more than {self._limits.max_curves} curves, which is the limit."
            raise error_from(TooLarge, Fact(detail, "too_many_columns"))
        if 8 * width * (self.rows + more) > self._limits.max_bytes:
            detail = f"The numbers take more than {self._limits.max_bytes} bytes, eight bytes each."
            raise error_from(TooLarge, Fact(detail, "too_many_values"))
        self._columns.write(self.rows, 0, values.T)
        self.rows += more
