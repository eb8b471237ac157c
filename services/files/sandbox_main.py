"""The template: a process that forks a reader for each binary file, for `services.files.template`.

A reader receives one file, and writes columns of float64, one after the other, then a report as
JSON and the length of the report in eight bytes. The template itself opens no file.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, assert_never

from services.errors import CurveError, Fact, TooLarge
from services.files.common import ReadOptions, require_rows
from services.files.formats import SandboxedFormat
from services.files.limits import ReadLimits
from services.files.spool import ColumnFile
from services.files.template import NUMBER


def main() -> None:
    """Load the libraries, and start readers until the service is gone."""
    # A signal to the group of the service is not for readers; they end with the service.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.meta_path.insert(0, _WithoutPandas())
    from services.files import columnar, jcamp, sheets, spc  # noqa: F401, PLC0415 - after that

    # A collection in a reader would otherwise write to every object, and copy its memory.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=0) as orders:
        _Template(orders).serve()


class _WithoutPandas(MetaPathFinder):
    """Hides pandas, which pyarrow imports if it is installed: longer than reading most files."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuse pandas; leave other modules to the other finders."""
        if fullname == "pandas":
            # None in sys.modules would not do: pyarrow takes it for the module.
            raise ModuleNotFoundError(name=fullname)


# The template

_SIGNAL_AT_DEATH_OF_PARENT = 1
"""``PR_SET_PDEATHSIG`` of prctl."""


class _Running(NamedTuple):
    """A reader and its connection to the service."""

    pid: int
    answers: socket.socket


class _Template:
    """Starts readers, and tells the service how they ended."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._pid = os.getpid()
        self._system = ctypes.CDLL(None)
        self._running: dict[int, _Running] = {}  # by the descriptor of the process
        self._poll = select.poll()
        self._poll.register(orders, select.POLLIN)

    def serve(self) -> None:
        """Work until the service closes its end of the connection, or is gone."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._running:
                    self._finish(descriptor)
                elif not self._start():
                    return

    def _start(self) -> bool:
        """Start the reader that the service asks for; False if the service is gone."""
        most = 4  # the connection, the file, the file for the numbers, and a lock
        try:
            data, descriptors, _, _ = socket.recv_fds(self._orders, 1, most)
        except ConnectionError:
            return False
        if len(descriptors) == most:
            self._fork(socket.socket(fileno=descriptors.pop(0)), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(data)

    def _fork(self, answers: socket.socket, descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            with answers, suppress(OSError):
                answers.sendall(NUMBER.pack(error.errno or 0))
            return
        if not pid:
            self._become_reader(answers, descriptors)
        process = os.pidfd_open(pid)
        self._running[process] = _Running(pid, answers)
        self._poll.register(process, select.POLLIN)
        with suppress(OSError):
            socket.send_fds(answers, [NUMBER.pack(0)], [process])

    def _become_reader(self, answers: socket.socket, descriptors: list[int]) -> NoReturn:
        """Read one file in this process, a fork of the template, and end it."""
        code = 1
        try:
            self._system.prctl(_SIGNAL_AT_DEATH_OF_PARENT, signal.SIGKILL)
            if os.getppid() == self._pid:  # else it ended before that
                _close_all_but(1, 2, answers.fileno(), *descriptors)
                with answers:
                    given = _receive(answers)
                file, numbers, _ = descriptors
                _report(given, file, numbers)
                code = 0
        finally:
            os._exit(code)

    def _finish(self, process: int) -> None:
        """Tell the service the exit code of a reader that ended."""
        self._poll.unregister(process)
        reader = self._running.pop(process)
        os.close(process)
        _, status = os.waitpid(reader.pid, 0)
        with reader.answers, suppress(OSError):
            reader.answers.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _close_all_but(*kept: int) -> None:
    """Close what the template has open: its own connection, and those of other readers."""
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) not in kept:
            with suppress(OSError):  # the listing itself
                os.close(int(path.name))


# A reader


def _receive(answers: socket.socket) -> dict[str, Any]:
    data = b""
    while more := answers.recv(1 << 16):
        data += more
    given: dict[str, Any] = json.loads(data)
    return given


def _report(given: dict[str, Any], file: int, output: int) -> None:
    """Read the file, and report."""
    limits = ReadLimits(**given["options"].pop("limits"))
    options = ReadOptions(**given["options"], limits=limits)
    numbers = ColumnFile(open(output, "r+b", closefd=False), 0)  # noqa: SIM115 - a descriptor
    try:
        report = _read(given["format"], options, file, numbers)
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


def _read(
    format: SandboxedFormat, options: ReadOptions, descriptor: int, numbers: ColumnFile
) -> dict[str, Any]:
    from services.files import columnar, jcamp, sheets, spc  # noqa: PLC0415 - `main` loaded them

    size = os.fstat(descriptor).st_size
    limit_process(options.limits, 0 if format == "xlsx" else size)
    match format:
        case "xlsx":
            with open(descriptor, "rb", closefd=False) as file:
                heads = sheets.read_sheet(file, numbers, options)
        case "parquet" | "arrow":
            data = _map(descriptor, size)
            heads = [columnar.read_columnar(data, format, numbers, options)]
        case "jcamp":
            heads = jcamp.read_jcamp(_map(descriptor, size), numbers, options)
        case "spc":
            heads = spc.read_spc(_map(descriptor, size), numbers, options)
        case _:
            assert_never(format)
    for head in heads:
        require_rows(head.rows)
    return {"heads": [asdict(head) for head in heads]}


def _map(descriptor: int, size: int) -> mmap.mmap | bytes:
    """Map the file into memory, unless it is empty, which no system maps."""
    return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""


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
