"""The process that forks a reader for each binary file.

Starting Python with the libraries that read files takes longer than reading most files; a fork of
a process that has loaded them takes two milliseconds. That process, the template, never opens a
file itself, so that each reader starts from the same memory (docs/adr/0025).
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from services.scratch import scratch

_ROOT = Path(__file__).parents[2]

_KEPT_VARIABLES = frozenset({"PATH", "LANG", "TZ", "TMPDIR"})
_KEPT_PREFIXES = ("LC_", "LD_", "PYTHON", "COVERAGE")
"""Parts of the environment that a template gets; the others may be secrets."""

NUMBER = struct.Struct("i")
"""A number that a template sends: of an error of the system, or the exit code of a reader."""

_START_SECONDS = 60
"""Seconds that a template has to start a reader, its own start included."""

_POLL_MILLISECONDS = 100
"""How often the room on the disk is checked while a reader writes."""


class TemplateGone(OSError):  # noqa: N818 - named for what it is
    """The end of the template before that of its reader."""


class Reader:
    """A process that reads one file.

    Parameters
    ----------
    answers : socket
        The connection to its template, which sends the exit code.
    process : int
        Descriptor of the process.
    """

    def __init__(self, answers: socket.socket, process: int) -> None:
        self._answers = answers
        self._process = process

    def wait(self, seconds: float) -> int:
        """Wait for the exit code, and check the room on the disk meanwhile.

        Parameters
        ----------
        seconds : float
            How long the reader may take.

        Returns
        -------
        int
            The exit code; minus the number of the signal that ended it, if one did.

        Raises
        ------
        TimeoutError
            The reader still runs.
        TemplateGone
            The template ended.
        """
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while not poll.poll(_POLL_MILLISECONDS):
            if time.monotonic() >= deadline:
                raise TimeoutError
            scratch.ask(0)
        return _receive_number(self._answers)[0]

    def end(self) -> None:
        """End the process, if it still runs."""
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
            poll = select.poll()
            poll.register(self._process, select.POLLIN)
            poll.poll()
        finally:
            os.close(self._process)
            self._answers.close()


class Template:
    """A process that has loaded the libraries; it ends with this process, however that ends."""

    def __init__(self) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
        }
        added = {
            "PYTHONPATH": str(_ROOT),
            # Each thread and each arena of another allocator would count as memory in use, and
            # only a process without other threads can be forked safely.
            "OPENBLAS_NUM_THREADS": "1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
        }
        self._orders, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "services.files.sandbox_main"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=kept | added,
                )
        except BaseException:
            self._orders.close()
            raise

    def start_reader(self, given: bytes, *descriptors: int) -> Reader:
        """Start a process that reads a file.

        Parameters
        ----------
        given : bytes
            Format and options.
        *descriptors : int
            The file, the file for the numbers, and the lock that the process keeps open.

        Returns
        -------
        Reader
            To be ended by the caller.

        Raises
        ------
        TemplateGone
            The template ended, or does not answer.
        OSError
            The system allows no more processes.
        """
        answers, theirs = socket.socketpair()
        try:
            answers.settimeout(_START_SECONDS)
            with theirs:
                socket.send_fds(self._orders, [b"r"], [theirs.fileno(), *descriptors])
            answers.sendall(given)
            answers.shutdown(socket.SHUT_WR)
            return Reader(answers, _receive_process(answers))
        except (ConnectionError, TimeoutError) as error:
            answers.close()
            raise TemplateGone(*error.args) from None
        except BaseException:
            answers.close()
            raise

    def end(self) -> None:
        """End the process, with which the system ends its readers."""
        self._orders.close()
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Leave the process to the parent of this one, in a fork of it."""
        self._orders.close()
        self.process.returncode = 0  # else Popen warns of a process that still runs


def _receive_number(answers: socket.socket) -> tuple[int, int | None]:
    """Receive a number, and the descriptor that comes with it."""
    data, descriptors, _, _ = socket.recv_fds(answers, NUMBER.size, 1)
    if len(data) != NUMBER.size:
        raise TemplateGone("The process that reads files ended.")
    return NUMBER.unpack(data)[0], descriptors[0] if descriptors else None


def _receive_process(answers: socket.socket) -> int:
    error, process = _receive_number(answers)
    if process is None:
        raise OSError(error, os.strerror(error))
    return process


class _Standing:
    """The template of this process, which starts with the first file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.template: Template | None = None

    def get(self) -> Template:
        """Return the template that runs, or a new one."""
        with self._lock:
            if self.template is not None and self.template.process.poll() is not None:
                self._end()
            self.template = self.template or Template()
            return self.template

    def drop(self, gone: Template | None = None) -> None:
        """End the template, unless it is another one than `gone`."""
        with self._lock:
            if gone in (None, self.template):
                self._end()

    def _end(self) -> None:
        if self.template is not None:
            self.template.end()
        self.template = None

    def forget(self) -> None:
        """Start anew in a fork of this process, whose template would serve two otherwise."""
        self._lock = threading.Lock()
        if self.template is not None:
            self.template.forget()
        self.template = None


standing = _Standing()
atexit.register(standing.drop)
os.register_at_fork(after_in_child=standing.forget)
