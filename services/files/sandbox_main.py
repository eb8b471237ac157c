"""The process that reads one binary file: standard input is the file, standard output the numbers.

Columns of float64, one after the other; then a report as JSON, and its length in eight bytes.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import sys
from dataclasses import asdict
from typing import Any

from services.errors import CurveError, Fact, InvalidTable, TooLarge, error_from
from services.files.common import ReadOptions
from services.files.limits import ReadLimits
from services.files.spool import ColumnFile


def main() -> None:
    """Read the file as the one argument says, and report."""
    given = json.loads(sys.argv[1])
    limits = ReadLimits(**given["options"].pop("limits"))
    options = ReadOptions(**given["options"], limits=limits)
    numbers = ColumnFile(open(1, "r+b", closefd=False), 0)  # noqa: SIM115 - a descriptor
    try:
        report = _read(given["kind"], options, numbers)
    except CurveError as error:
        facts = [asdict(fact) for fact in error.facts]
        report = {"error": type(error).__name__, "detail": error.detail, "facts": facts}
    except MemoryError:
        detail = f"Reading the file takes more than {limits.memory_bytes} bytes of memory."
        fact = asdict(Fact(detail, "too_much_memory"))
        report = {"error": TooLarge.__name__, "detail": detail, "facts": [fact]}
    except OSError as error:
        report = {"system": [error.errno, error.strerror]}
    numbers.report(json.dumps(report).encode())


def _read(kind: str, options: ReadOptions, numbers: ColumnFile) -> dict[str, Any]:
    with open(0, "rb", closefd=False) as file:
        size = os.fstat(0).st_size
        if kind == "xlsx":
            from services.files.sheets import read_sheet  # noqa: PLC0415 - only what is needed

            limit_process(options.limits, 0)
            found = read_sheet(file, numbers, options)
        else:
            from services.files import columnar  # noqa: PLC0415

            limit_process(options.limits, size)
            read = columnar.read_parquet if kind == "parquet" else columnar.read_arrow
            found = read(mmap.mmap(0, size, access=mmap.ACCESS_READ), numbers, options)
    if found.rows == 0:
        raise error_from(InvalidTable, Fact("There are names, but no data rows.", "no_rows"))
    return {"found": asdict(found)}


_PROGRAM_BYTES = 512 << 20
"""Address space of the process before it reads anything, with room to spare."""


def limit_process(limits: ReadLimits, mapped: int) -> None:
    """Have the system refuse more memory, time and disk than one file may take.

    Parameters
    ----------
    limits : ReadLimits
        How much that is.
    mapped : int
        Size of the file, where it is mapped into memory. [bytes]
    """
    for what, most in (
        (resource.RLIMIT_AS, _PROGRAM_BYTES + mapped + limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.max_bytes + _PROGRAM_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)  # noqa: PLW2901 - the least of both
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main()
