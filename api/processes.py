"""A supervisor that starts child processes, and starts them again when they end."""

from __future__ import annotations

import gc
import logging
import math
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from typing import NoReturn

from api import logs

log = logging.getLogger(__name__)

STOP = (signal.SIGTERM, signal.SIGINT)

GRACE_SECONDS = 30
"""Seconds that running requests have to end when the service is told to stop."""

PARENT_SECONDS = 0.5
"""Seconds between two checks of a child whether its parent is alive."""

STEADY_SECONDS = 10
"""Seconds of life after which a child is started again at once; after a shorter life it waits,
longer each time."""

LONGEST_PAUSE = 10.0

SILENCE_SECONDS = 60.0
"""Seconds without a report after which a child is killed and started again."""

_BOOT_FAILED = frozenset({3, 4})
"""Exit codes of gunicorn when the application cannot be loaded; another start would not help."""


def cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def web_processes() -> int:
    """Choose the number of web processes for this machine; they often wait, and have priority."""
    return max(2, min(8, cores() // 4))


def worker_processes() -> int:
    """Choose the number of workers for this machine."""
    return max(2, cores() // 2)


def is_orphaned(parent: int) -> bool:
    """Tell whether the process that started this one is gone."""
    return os.getppid() != parent


def stop_when_told(
    stop: threading.Event,
    parent: int,
    report: Callable[[], None],
    is_well: Callable[[], bool] = lambda: True,
) -> None:
    """Set `stop` at SIGTERM, SIGINT or the death of the parent; `report` while all `is_well`.

    A thread waits for the byte that is written at the signal, since a Python handler would have to
    wait until the main thread returns from NumPy.
    """
    told, tell = socket.socketpair()
    _write_at_signals(tell, lambda: None)
    # It stays open as long as the process.
    tell.detach()

    def wait() -> None:
        while not is_orphaned(parent) and not select.select([told], [], [], PARENT_SECONDS)[0]:
            if is_well():
                report()
        stop.set()

    threading.Thread(target=wait, daemon=True, name="stop").start()


def _write_at_signals(tell: socket.socket, handle: Callable[[], None]) -> None:
    tell.setblocking(False)  # noqa: FBT003 - the standard library's own way
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    for number in STOP:
        signal.signal(number, lambda *_: handle())


Run = Callable[[str, int, Callable[[], None]], object]
"""A child, which gets its name, the pid of its parent, and a function to report with."""

LOOKS = 10
"""Checks of the supervisor in the time that a child may be silent."""


class Supervisor:
    """Runs children until it is told to stop, and restarts those that end before.

    A child gets its name, the pid of its parent, and a function to report with. It has to end at
    SIGTERM, and when its parent is gone. One that does not report for `silence` seconds is killed.
    """

    def __init__(self, children: Mapping[str, Run], silence: float = SILENCE_SECONDS) -> None:
        self._children = [_Child(name, run, silence) for name, run in children.items()]
        self._look_seconds = silence / LOOKS
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        told, tell = socket.socketpair()
        # A collection in a child would otherwise write to every object, and copy its memory.
        gc.freeze()
        with told, tell:
            _write_at_signals(tell, self._stop)
            code = self._watch(told)
            for child in self._children:
                child.end()
            deadline = time.monotonic() + GRACE_SECONDS + 5
            for child in self._children:
                child.join(deadline)
            signal.set_wakeup_fd(-1)
        return code

    def _watch(self, told: socket.socket) -> int:
        """Start children that are due until told to stop; return the exit code."""
        while not self._stopping:
            now = time.monotonic()
            codes = [child.look(now) for child in self._children]
            if failed := _BOOT_FAILED.intersection(codes):
                return min(failed)
            due = min(child.due for child in self._children)
            pause = max(0.0, min(due - now, self._look_seconds))
            connection.wait([told, *(s for c in self._children for s in c.sentinels)], pause)
        return 0

    def _stop(self) -> None:
        self._stopping = True


class _Child:
    """A child process that is replaced when it ends."""

    def __init__(self, name: str, run: Run, silence: float) -> None:
        self._name = name
        self._run = run
        self._reports = _Reports(silence)
        self._process: ForkProcess | None = None
        self._started = self._due = 0.0
        self._pause = 0.0

    @property
    def due(self) -> float:
        """Time of the next start, infinite while the process lives."""
        return math.inf if self._process else self._due

    @property
    def sentinels(self) -> list[int]:
        """Handles that become ready when the process ends."""
        return [self._process.sentinel] if self._process else []

    def look(self, now: float) -> int:
        """Start the process if it is due; return the exit code of one that has ended, or 0."""
        code = 0
        if self._process and self._process.exitcode is not None:
            code, pid = self._process.exitcode, self._process.pid
            self._process.close()
            logs.log_event(log, "process ended", name=self._name, child=pid, code=code)
            self._process = None
            if code == 0:
                self._pause, self._due = 0.0, now
            else:
                reason = f"ended by signal {-code}" if code < 0 else f"ended by code {code}"
                self._start_later(now, reason, steady=now - self._started > STEADY_SECONDS)
        if self._process is None and now >= self._due:
            self._start(now)
        elif self._process and self._reports.have_stopped(now):
            log.warning("%s does not report any more and is killed", self._name)
            # SIGTERM would not reach one that is stopped.
            self._process.kill()
        return code

    def _start(self, now: float) -> None:
        self._started = now
        self._reports.begin(now)
        # A signal that comes before the child has its own handlers waits until it has.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        try:
            # Forked: what the parent has imported is shared, and the child is there at once.
            self._process = ForkProcess(target=self._be, args=(os.getpid(),), name=self._name)
            self._process.start()
            logs.log_event(log, "process started", name=self._name, child=self._process.pid)
        except OSError as error:
            # No memory, or too many processes: for now.
            self._process = None
            self._start_later(now, f"cannot be started ({error.strerror})", steady=False)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)

    def _start_later(self, now: float, reason: str, *, steady: bool) -> None:
        """Set the next start: at once, or later each time if the process keeps ending soon."""
        self._pause = 0.0 if steady else min(LONGEST_PAUSE, 2 * self._pause + 0.1)
        self._due = now + self._pause
        # Unlike print, it goes on when the disk of the log is full.
        log.warning("%s %s, starts again in %.1f s", self._name, reason, self._pause)

    def _be(self, parent: int) -> None:
        """Run in the child process."""
        signal.set_wakeup_fd(-1)
        for number in STOP:
            signal.signal(number, _leave)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        self._run(self._name, parent, self._reports.report)

    def end(self) -> None:
        if self._process:
            self._process.terminate()

    def join(self, deadline: float) -> None:
        if self._process:
            self._process.join(max(0.0, deadline - time.monotonic()))
            if self._process.exitcode is None:
                self._process.kill()
                self._process.join()


class _Reports:
    """A counter in shared memory that a child increments, and the time of its last change.

    It needs neither the disk nor the database.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._shared = mmap.mmap(-1, _COUNT.size)
        self._count = 0
        self._looked = self._silent = 0.0

    def begin(self, now: float) -> None:
        """Wait for the first report of the next child."""
        self._looked, self._silent = now, 0.0

    def report(self) -> None:
        """Increment the counter, in the child."""
        (count,) = _COUNT.unpack_from(self._shared)
        _COUNT.pack_into(self._shared, 0, count + 1)

    def have_stopped(self, now: float) -> bool:
        """Tell whether there was no report for too long, in the supervisor."""
        (count,) = _COUNT.unpack_from(self._shared)
        # While the supervisor itself was stopped or waited for a processor, its children were too.
        passed = min(now - self._looked, 2 * self._silence / LOOKS)
        self._silent = self._silent + passed if count == self._count else 0.0
        self._count, self._looked = count, now
        if self._silent <= self._silence:
            return False
        self._silent = 0.0
        return True


_COUNT = struct.Struct("Q")


def _leave(*_: object) -> NoReturn:
    sys.exit(0)
