"""Binary files are read in a process of their own, because what reads them is not ours.

A workbook of 5 kB makes calamine ask for 512 GB, and Rust then ends the process; a page of
Parquet or a batch of Arrow says itself how much memory it needs. In a process of its own, with a
limit on memory and on time, none of that reaches the service (docs/adr/0012).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
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
from services.files.common import Found, ReadOptions, Source
from services.files.places import reading_place
from services.files.spool import ColumnFile, SpooledTable
from services.scratch import scratch
from services.tables import FloatArray

_ROOT = Path(__file__).parents[2]
_KINDS: dict[str, type[CurveError]] = {
    kind.__name__: kind for kind in (InvalidOption, InvalidTable, TooLarge, UnreadableFile)
}
_NOT_FOR_READERS = {"DATABASE_URL"}
_LENGTH_BYTES = 8
_LOOK_SECONDS = 0.1


def read_apart(
    file: BinaryIO,
    kind: str,
    options: ReadOptions,
    grid: tuple[str, FloatArray] | None = None,
) -> tuple[SpooledTable, Source]:
    """Read a binary file in a process of its own.

    Parameters
    ----------
    file : BinaryIO
        A file of the operating system, complete.
    kind : str
        ``parquet``, ``arrow`` or ``xlsx``.
    options : ReadOptions
        What the caller says of it, and how large it may be.
    grid : tuple of str and ndarray of shape (n,), or None
        Name and values of the x column, for a file of one curve a row that has no x.

    Returns
    -------
    table : SpooledTable
        To be closed by the caller.
    source : Source
        How the file was read.

    Raises
    ------
    UnreadableFile
        It is damaged.
    InvalidTable
        It is no table of curves.
    InvalidOption
        There is no such sheet.
    TooLarge
        It is larger than the limits allow, or reading it takes too much memory or time.
    Busy
        Too many files are being read on this machine.
    """
    numbers = scratch.file()  # closed with the table
    try:
        found = _found(_run(file, kind, options, numbers))
        spool = ColumnFile(numbers, found.rows)
        return SpooledTable(spool, found.columns, found.x, grid), found.source
    except BaseException:
        numbers.close()
        raise


def _run(file: BinaryIO, kind: str, options: ReadOptions, numbers: BinaryIO) -> dict[str, Any]:
    """What the process reports at the end of its output."""
    file.flush()
    file.seek(0)
    given = json.dumps({"kind": kind, "options": asdict(options)})
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_READERS}
    own = {
        "PYTHONPATH": str(_ROOT),
        # Each thread of it and each arena of another allocator would count as memory in use.
        "OPENBLAS_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
    command = [sys.executable, "-P", "-m", "services.files.sandbox_main", given]
    with reading_place(options.limits.processes) as lock:
        process = subprocess.Popen(  # noqa: S603 - our own module; what is given is data
            command,
            stdin=file,
            stdout=numbers,
            stderr=subprocess.DEVNULL,
            env=kept | own,
            pass_fds=(lock,),
        )
        try:
            code = _wait(process, 2 * options.limits.seconds)
        except subprocess.TimeoutExpired:
            detail = f"Reading the file took more than {options.limits.seconds} seconds."
            raise error_from(TooLarge, Fact(detail, "too_slow")) from None
        finally:
            process.kill()
            process.wait()
    return _report(numbers, code, options)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Its exit code; meanwhile the file that it writes is asked about."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return process.wait(timeout=min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                raise
            scratch.ask(0)


def _report(numbers: BinaryIO, code: int, options: ReadOptions) -> dict[str, Any]:
    if code < 0:
        # It died: its allocator gave up, its time was up, or the bytes broke it.
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


def _found(report: dict[str, Any]) -> Found:
    if "error" in report:
        facts = [Fact(**fact) for fact in report["facts"]]
        raise _KINDS[report["error"]](report["detail"], facts)
    if "system" in report:
        raise OSError(*report["system"])
    found = report["found"]
    return Found(tuple(found["columns"]), found["rows"], Source(**found["source"]), found["x"])
