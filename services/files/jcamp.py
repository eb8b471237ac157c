"""JCAMP-DX files as spectra.

Read as published: version 4.24 (Applied Spectroscopy 42, 1988, 151), and 5.01 for NTUPLES (Pure and
Applied Chemistry 71, 1999, 1549).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from services.errors import (
    MOST_FACTS,
    CurveError,
    Fact,
    InvalidTable,
    UnreadableFile,
    error_from,
    quote,
)
from services.files.common import ReadOptions, Source, TableHead
from services.files.jcamp_labels import Labels, TableLabels, shorten
from services.files.jcamp_numbers import Line
from services.files.jcamp_records import Lines, Record
from services.files.jcamp_tables import Header, read_table
from services.files.spectra import Room, Spectrum, write_spectra
from services.files.spool import ColumnFile
from services.tables import TableWarning

_TABLES = {"XYDATA", "XYPOINTS", "PEAKTABLE", "DATATABLE", "PEAKASSIGNMENTS", "RADATA"}
_FORM = re.compile(r"\((\w)(?:\+\+\((\w)\.\.\2\){0,2}|(\w)\.\.\1\3\))")
"""``(X++(Y..Y))`` or ``(XY..XY)``, without blanks; some writers forget a bracket at the end."""


def read_jcamp(data: Any, into: ColumnFile, options: ReadOptions) -> list[TableHead]:
    """Read a JCAMP-DX file.

    Parameters
    ----------
    data : bytes-like
        The file.
    into : ColumnFile
        Gets the numbers.
    options : ReadOptions
        Options of the client, and the limits.

    Returns
    -------
    list of TableHead
        Everything else, for each table of the file.

    Raises
    ------
    UnreadableFile
        The file is no JCAMP-DX.
    InvalidTable
        It holds no table that is read, or a damaged one.
    TooLarge
        It holds more than the limits allow.
    """
    reader = _Reader(data, options)
    with np.errstate(all="ignore"):
        heads = write_spectra(reader.read(), into, Source("jcamp"), options)
    source = Source("jcamp", decimal=reader.decimal)
    first, *others = (replace(head, source=source) for head in heads)
    return [replace(first, warnings=(*first.warnings, *reader.warnings)), *others]


@dataclass(slots=True)
class _Block:
    """The part of a file from ``##TITLE=`` to ``##END=``."""

    labels: Labels = field(default_factory=Labels)
    spectra: list[Spectrum] = field(default_factory=list)


class _Reader:
    """Reads the spectra of a file; `decimal` and `warnings` get what concerns all of them."""

    def __init__(self, data: Any, options: ReadOptions) -> None:
        self.warnings: list[TableWarning] = []
        self.decimal = options.decimal
        self._lines = Lines(data)
        self._room = Room(options.limits, len(data))
        self._asked_decimal = options.decimal
        self._left_out: list[str] = []
        self._count = 0

    def read(self) -> Iterator[Spectrum]:
        """Yield the spectra of each block once all of its labels are known."""
        block, is_known, is_ended = _Block(), False, False
        for record in self._lines.records():
            if record.label in ("TITLE", "END"):
                yield from self._finish(block)
                block, is_ended = _Block(), record.label == "END"
            is_known |= record.label in ("TITLE", "JCAMPDX")
            if record.label in _TABLES:
                self._read_table(record, block)
            else:
                block.labels.note(record, self._lines.read_value(record))
        yield from self._finish(block)
        if not self._count:
            raise self._find_reason(is_known=is_known)
        if not is_ended:
            detail = "The file may be cut: it does not end with ##END=."
            self.warnings.append(TableWarning("no_end", detail))
        if self._left_out:
            detail = f"Tables that are not read are left out: {', '.join(self._left_out)}."
            self.warnings.append(TableWarning("left_out", detail))

    def _finish(self, block: _Block) -> Iterator[Spectrum]:
        """Yield the spectra of a block with its attributes."""
        attributes, left_out = shorten(block.labels.attributes)
        told: tuple[TableWarning, ...] = ()
        if left_out:
            detail = "Labels are left out, the longest first, because all of them are too long:"
            detail += f" {', '.join(map(quote, left_out[:MOST_FACTS]))}."
            told = (TableWarning("label_left_out", detail),)
        for spectrum in block.spectra:
            self._count += 1
            all_attributes = attributes | spectrum.attributes[0]
            warnings = (*spectrum.warnings, *told)
            yield replace(spectrum, attributes=(all_attributes,), warnings=warnings)

    def _read_table(self, record: Record, block: _Block) -> None:
        start, _, rest = record.value.rpartition(")")
        form = _FORM.fullmatch(f"{start})".replace(" ", "").upper())
        table = form and _find_labels(record, block, form)
        if form is None or table is None:
            self._leave_out(record)
            return
        header = Header(table.header, self._asked_decimal, record.line)
        self.decimal = header.find_decimal() or "."
        lines: Iterable[Line] = self._lines.body()
        if rest and not rest.startswith(","):
            lines = chain([(record.line, rest)], lines)
        x, y = read_table(lines, header, self._room, is_paired=form[3] is not None)
        if not y.size:
            self._leave_out(record)
            return
        attributes = ({"PAGE": table.page} if table.page else {},)
        names, warnings = (table.name,), tuple(header.warnings)
        y = y[np.newaxis]
        found = Spectrum(x, y, names, table.x_unit, table.unit, attributes, warnings)
        block.spectra.append(found)

    def _leave_out(self, record: Record) -> None:
        if len(self._left_out) < MOST_FACTS:
            name = quote(f"{record.name}={record.value}")
            self._left_out.append(f"{name} in line {record.line}")

    def _find_reason(self, *, is_known: bool) -> CurveError:
        """Make the error for a file without spectra."""
        if not is_known:
            detail = "The file is no JCAMP-DX: it has no label ##TITLE=."
            return error_from(UnreadableFile, Fact(detail, "damaged"))
        detail = "Store x and y as XYDATA, XYPOINTS or PEAK TABLE; the file holds none of these"
        detail += f", but {', '.join(self._left_out)}." if self._left_out else "."
        return error_from(InvalidTable, Fact(detail, "no_rows"))


def _find_labels(record: Record, block: _Block, form: re.Match[str]) -> TableLabels | None:
    x_symbol, y_symbol = form[1], form[2] or form[3]
    if record.label == "DATATABLE":
        return block.labels.describe_page(x_symbol, y_symbol)
    return block.labels.describe_table(x_symbol, y_symbol)
