"""A look at a text: its first lines, and the other ways in which it could be read."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from api.limits import limits_in_force
from services.errors import CurveError, Fact, InvalidOption, TooLarge, error_from
from services.files import ReadOptions, read_text
from services.files.formats import TEXT_FORMATS, Format, TextFormat
from services.files.text import first_lines
from services.files.text_pieces import read_full
from services.fingerprint import table_sha256
from services.tables import Curves, FloatArray, TableWarning

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LINES = 40
"""Most lines of the text that are shown."""

ROWS = 20
"""Most rows of the table that are shown."""

_LINE_CHARACTERS = 1000
_HEAD_BYTES = 1 << 15
"""Bytes of a text that are kept."""

_TRIED_BYTES = 1 << 13
"""Bytes of a text that are read in other ways."""

_MOST_CURVES = 50
"""Most cells of the first row of a reading."""


class Look:
    """The beginning of a text, kept while it is read.

    If `is_partial` the text may end within a line, which is then left out.
    """

    def __init__(self) -> None:
        self.is_partial = False
        self._head = b""
        self._format: TextFormat | None = None
        self._options = ReadOptions()

    def start(self, format: Format, *, is_partial: bool) -> None:
        """Note whether the file is whole; only a text need not be."""
        self.is_partial = is_partial
        if is_partial and format not in TEXT_FORMATS:
            detail = "Leave out partial=true: a file of this format can only be read whole."
            raise InvalidOption(detail, [Fact(detail, "invalid", parameter="partial")])

    def watch(self, stream: BinaryIO, format: TextFormat, options: ReadOptions) -> BinaryIO:
        """Return the same stream; its beginning is kept."""
        self._format, self._options = format, options
        if self.is_partial:
            most = limits_in_force().json_body_bytes
            data = read_full(stream, most + 1)
            if len(data) > most:
                detail = f"Send less of the text: partial=true takes {most} bytes."
                raise error_from(TooLarge, Fact(detail, "too_many_bytes", parameter="partial"))
            stream = io.BytesIO(_whole_lines(data) or data)
        return cast("BinaryIO", io.BufferedReader(_Watched(stream, self)))

    def keep(self, data: bytes) -> None:
        """Keep bytes, as long as they belong to the beginning."""
        self._head += data[: _HEAD_BYTES - len(self._head)]

    def lines(self) -> list[str]:
        """Return the first lines of the text."""
        if not self._head:
            return []
        lines = first_lines(_whole_lines(self._head, _HEAD_BYTES), self._options)
        return [line[:_LINE_CHARACTERS] for line in lines[:LINES]]

    def readings(
        self, warnings: tuple[TableWarning, ...] = (), error: CurveError | None = None
    ) -> list[dict[str, Any]]:
        """Read the beginning in other ways; return those that give another table."""
        if self._format is None:
            return []
        found: list[dict[str, Any]] = []
        seen = {None, self._try({})[0]}
        for options in self._alternatives(warnings, error):
            table, reading = self._try(options)
            if table not in seen:
                seen.add(table)
                found.append({"options": options} | reading)
        return found

    def _alternatives(
        self, warnings: tuple[TableWarning, ...], error: CurveError | None
    ) -> Iterator[dict[str, Any]]:
        """Yield options that a person would choose between, the likely ones first."""
        yield from (warning.options for warning in warnings if warning.options)
        for fact in error.facts[:1] if error else ():
            if fact.code == "two_tables" and fact.line:
                yield {"last_line": fact.line - 1}
                yield {"first_line": fact.line - 1}
                yield {"first_line": fact.line}
        yield {"header": "absent"}
        yield {"header": "present"}
        yield {"decimal": ","}
        yield {"thousands": ","}
        yield {"thousands": "space"}
        yield {"layout": "rows"}
        yield {"layout": "pairs"}
        yield {"units": "present"}
        yield from ({"delimiter": mark} for mark in (",", ";", "tab", "space"))

    def _try(self, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Read the beginning with other options; return what tells tables apart, None if none."""
        data = _whole_lines(self._head, _TRIED_BYTES)
        format = self._format or "csv"
        try:
            read = read_text(io.BytesIO(data), format, replace(self._options, **options))
        except CurveError:
            return None, {}
        with closing(read):
            curves = [part.curves for part in read.parts]
            table = tuple(table_sha256(some) for some in curves)
            return table, {"x_column": curves[0].x_name, "first_row": _first_row(curves)}


def _whole_lines(data: bytes, most: int = 0) -> bytes:
    """Return the first `most` bytes, without a line that is cut; all of a text that is shorter."""
    if len(data) < most:
        return data
    data = data[: most or None]
    return data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]


def _first_row(parts: list[Curves]) -> dict[str, float | None]:
    """Return the first row of a table, by column, as far as it is shown."""
    row: dict[str, float | None] = {}
    for curves in parts[:_MOST_CURVES]:
        names, values = first_rows(curves, 1, _MOST_CURVES)
        row |= dict(zip(names, values[0] if values else [], strict=False))
    return row


def first_rows(
    curves: Curves, count: int, most: int | None = None
) -> tuple[list[str], list[list[float | None]]]:
    """Return the names of the columns, x first, and the first rows."""
    names = [curves.x_name, *curves.names[:most]]
    columns = [_as_json(curves.x[:count])]
    for part in curves.read_parts(1 << 20):
        columns += [_as_json(curve[:count]) for curve in part]
        if len(columns) >= len(names):
            break
    return names, [list(row) for row in zip(*columns[: len(names)], strict=True)]


def _as_json(values: FloatArray) -> list[float | None]:
    """Return numbers as JSON has them: null where there is none."""
    return [None if math.isnan(value) else value for value in values.tolist()]


class _Watched(io.RawIOBase):
    """A stream whose beginning is kept."""

    def __init__(self, stream: BinaryIO, look: Look) -> None:
        super().__init__()
        self._stream = stream
        self._look = look

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        data = self._stream.read(len(target))
        target[: len(data)] = data
        self._look.keep(data)
        return len(data)
