"""The process that reads one binary file, for `services.files.sandbox`.

It receives the file over a socket, and writes columns of float64, one after the other, then a
report as JSON and the length of the report in eight bytes.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import socket
import sys
from dataclasses import asdict
from typing import Any, assert_never

from services.errors import CurveError, Fact, TooLarge
from services.files.common import ReadOptions, require_rows
from services.files.formats import SandboxedFormat
from services.files.limits import ReadLimits
from services.files.spool import ColumnFile


def main() -> None:
    """Wait for a file, read it, and report."""
    # pyarrow imports pandas if it is installed, which takes longer than reading most files.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    import services.files.columnar  # noqa: F401, PLC0415 - loaded while there is time

    given = _receive()
    limits = ReadLimits(**given["options"].pop("limits"))
    options = ReadOptions(**given["options"], limits=limits)
    numbers = ColumnFile(open(1, "r+b", closefd=False), 0)  # noqa: SIM115 - a descriptor
    try:
        report = _read(given["format"], options, numbers)
    except CurveError as error:
        facts = [asdict(fact) for fact in error.facts]
        report = {"error": type(error).__name__, "detail": error.detail, "facts": facts}
    except MemoryError:
        detail = f"Reading the file takes more than {limits.memory_bytes} bytes of memory."
        fact = asdict(Fact(detail, "too_much_memory"))
        report = {"error": TooLarge.__name__, "detail": detail, "facts": [fact]}
    except OSError as error:
        report = {"system": [error.errno, error.strerror]}
    numbers.append_report(json.dumps(report).encode())


def _receive() -> dict[str, Any]:
    """Receive options and files over the socket that is standard input.

    The file becomes standard input, and the file for the numbers standard output. A lock stays
    open as long as this process lives.
    """
    with socket.socket(fileno=os.dup(0)) as sender:
        data, descriptors, _, _ = socket.recv_fds(sender, 1, 3)
        if not data:  # The service ended, or needs no reader.
            sys.exit()
        while more := sender.recv(1 << 16):
            data += more
    for descriptor, standard in zip(descriptors, (0, 1), strict=False):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    given: dict[str, Any] = json.loads(data)
    return given


def _read(format: SandboxedFormat, options: ReadOptions, numbers: ColumnFile) -> dict[str, Any]:
    # All libraries are loaded before memory is limited.
    with open(0, "rb", closefd=False) as file:
        size = os.fstat(0).st_size
        match format:
            case "xlsx":
                from services.files.sheets import read_sheet  # noqa: PLC0415

                limit_process(options.limits, 0)
                heads = [read_sheet(file, numbers, options)]
            case "parquet" | "arrow":
                from services.files.columnar import read_columnar  # noqa: PLC0415

                limit_process(options.limits, size)
                heads = [read_columnar(_map(size), format, numbers, options)]
            case "jcamp":
                from services.files.jcamp import read_jcamp  # noqa: PLC0415

                limit_process(options.limits, size)
                heads = read_jcamp(_map(size), numbers, options)
            case "spc":
                from services.files.spc import read_spc  # noqa: PLC0415

                limit_process(options.limits, size)
                heads = read_spc(_map(size), numbers, options)
            case _:
                assert_never(format)
    for head in heads:
        require_rows(head.rows)
    return {"heads": [asdict(head) for head in heads]}


def _map(size: int) -> mmap.mmap | bytes:
    """Map the file into memory, unless it is empty, which no system maps."""
    return mmap.mmap(0, size, access=mmap.ACCESS_READ) if size else b""


_PROGRAM_BYTES = 512 << 20
"""Address space of the process before it reads anything, rounded up."""


def limit_process(limits: ReadLimits, mapped: int) -> None:
    """Have the system refuse more memory, time and disk than one file may take.

    Parameters
    ----------
    limits : ReadLimits
        How much that is.
    mapped : int
        Size of the file if it is mapped into memory, else 0. [bytes]
    """
    for resource_, most in (
        (resource.RLIMIT_AS, _PROGRAM_BYTES + mapped + limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.max_bytes + _PROGRAM_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(resource_)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)  # noqa: PLW2901 - the lesser of both
        resource.setrlimit(resource_, (most, most))


if __name__ == "__main__":
    main()
