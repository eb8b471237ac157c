"""Binary files are read in a process with limits, because the code that reads them is not ours.

A workbook of 5 kB makes calamine ask for 512 GB, and Rust then ends the process; a page of
Parquet or a batch of Arrow itself says how much memory it needs. In a separate process with a
limit on memory and time, none of that reaches the service (docs/adr/0012, 0025).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any, BinaryIO

from services.errors import (
    CurveError,
    Fact,
    InvalidOption,
    InvalidTable,
    TooLarge,
    UnreadableFile,
    error_from,
)
from services.files.common import Part, ReadFile, ReadOptions, Source, TableHead
from services.files.formats import SandboxedFormat
from services.files.places import hold_place
from services.files.spool import ColumnFile, SpooledTable
from services.files.template import TemplateGone, standing
from services.scratch import scratch
from services.tables import FloatArray, Labels, TableWarning

_ERRORS: dict[str, type[CurveError]] = {
    error.__name__: error for error in (InvalidOption, InvalidTable, TooLarge, UnreadableFile)
}
_LENGTH_BYTES = 8


def read_in_sandbox(
    file: BinaryIO,
    format: SandboxedFormat,
    options: ReadOptions,
    grid: tuple[str, FloatArray] | None = None,
) -> ReadFile:
    """Read a binary file in a process with limits.

    Parameters
    ----------
    file : BinaryIO
        A file of the operating system, complete.
    format : SandboxedFormat
        Format of the file.
    options : ReadOptions
        Options of the client, and the limits.
    grid : tuple of str and ndarray of shape (n,), or None
        Name and values of the x column, for a file of one curve a row that has no x.

    Returns
    -------
    ReadFile
        To be closed by the caller.

    Raises
    ------
    UnreadableFile
        The file is damaged.
    InvalidTable
        It is no table of curves.
    InvalidOption
        There is no such sheet.
    TooLarge
        It is larger than the limits allow, or reading it takes too much memory or time.
    Busy
        Too many files are being read on this machine.
    """
    try:
        return _read_once(file, format, options, grid)
    except TemplateGone:
        # It was killed. The file is as it was, and the next template gets another output.
        return _read_once(file, format, options, grid)


def _read_once(
    file: BinaryIO,
    format: SandboxedFormat,
    options: ReadOptions,
    grid: tuple[str, FloatArray] | None,
) -> ReadFile:
    numbers = scratch.file()  # closed with the table
    try:
        heads = _heads_from(_run(file, format, options, numbers))
        warnings = tuple(warning for head in heads for warning in head.warnings)
        parts = tuple(Part(_table_of(head, numbers, grid), head.labels) for head in heads)
        return ReadFile(parts, heads[0].source, warnings)
    except BaseException:
        numbers.close()
        raise


def _table_of(
    head: TableHead, numbers: BinaryIO, grid: tuple[str, FloatArray] | None
) -> SpooledTable:
    columns = ColumnFile(numbers, head.rows, head.offset)
    return SpooledTable(columns, head.columns, head.x, grid)


def _run(
    file: BinaryIO, format: SandboxedFormat, options: ReadOptions, numbers: BinaryIO
) -> dict[str, Any]:
    """Have a process read the file, and return the report at the end of its output."""
    file.flush()
    given = json.dumps({"format": format, "options": asdict(options)}).encode()
    limits = options.limits
    with hold_place(limits.processes, limits.wait_seconds) as lock:
        template = standing.get()
        try:
            reader = template.start_reader(given, file.fileno(), numbers.fileno(), lock)
            try:
                code = reader.wait(2 * limits.seconds)
            finally:
                reader.end()
        except TemplateGone:
            standing.drop(template)
            raise
        except TimeoutError:
            detail = f"Reading the file took more than {limits.seconds} seconds."
            raise error_from(TooLarge, Fact(detail, "too_slow")) from None
    return _read_report(numbers, code, options)


def _read_report(numbers: BinaryIO, code: int, options: ReadOptions) -> dict[str, Any]:
    if code < 0:
        # It was killed: by its allocator, by its limit of time, or by a crash.
        detail = f"Reading the file takes more than {options.limits.memory_bytes} bytes of memory"
        detail += f" or {options.limits.seconds} seconds, or the file is damaged."
        raise error_from(TooLarge, Fact(detail, "reader_died"))
    size = numbers.seek(0, os.SEEK_END)
    numbers.seek(max(0, size - _LENGTH_BYTES))
    length = int.from_bytes(numbers.read(_LENGTH_BYTES), "little")
    if code > 0 or not 0 < length <= size - _LENGTH_BYTES:
        raise OSError(f"The process that reads files ended with code {code}.")
    numbers.seek(size - _LENGTH_BYTES - length)
    report: dict[str, Any] = json.loads(numbers.read(length))
    return report


def _heads_from(report: dict[str, Any]) -> list[TableHead]:
    """Make the heads of the tables, or raise the error that the process reports."""
    if "error" in report:
        facts = [Fact(**fact) for fact in report["facts"]]
        raise _ERRORS[report["error"]](report["detail"], facts)
    if "system" in report:
        raise OSError(*report["system"])
    return [_head_from(head) for head in report["heads"]]


def _head_from(head: dict[str, Any]) -> TableHead:
    # JSON has lists for tuples.
    source = {name: _as_tuple(value) for name, value in head["source"].items()}
    labels = {name: _as_tuple(value) for name, value in head["labels"].items()}
    return TableHead(
        tuple(head["columns"]),
        head["rows"],
        Source(**source),
        head["x"],
        Labels(**labels),
        tuple(TableWarning(**warning) for warning in head["warnings"]),
        head["offset"],
    )


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
