"""The keeper of a worker's job: it renews the lease, reports progress, and notices a lost job.

The thread is started before the first job and serves them all. One for each job would have to be
started while memory may be short, and Python waits without end for a thread that cannot begin.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from api.store import jobs
from api.store.base import Database
from api.store.jobs import Claim, Lost
from api.throttled_log import ThrottledLog

log = logging.getLogger(__name__)
throttled = ThrottledLog(log)

LOOK_SECONDS = 0.25
"""Seconds between two looks at whether the worker still owns the job."""

TELL_SECONDS = 1.0
"""Shortest time between two reports of progress, in seconds."""

LEAVE_SECONDS = 1.0
"""Seconds for which the main thread may continue a lost job; then the process ends."""

AWAY = (OperationalError, InterfaceError, InternalError, sqlite3.OperationalError)
"""Errors of a database that is locked, full, read-only, restarting or gone: no fault of the job."""


class Held:
    """The current job, as main thread and keeper know it."""

    def __init__(self, claim: Claim, leave: Callable[[], None]) -> None:
        self.claim = claim
        self.leave = leave
        self.done = self.told = 0
        self.renewed = time.monotonic()
        self.lost_at: float | None = None

    def tell(self, done: int, total: int) -> None:
        """Note progress between two pieces of work; Lost if the worker no longer owns the job."""
        del total
        self.done = done
        if self.lost_at is not None:
            raise Lost


class Keeper:
    """Thread that keeps each job while the main thread computes it."""

    def __init__(self, database: Database, lease: float, stop: threading.Event) -> None:
        self._database = database
        self._lease = lease
        self._stop = stop
        self._held: Held | None = None
        # Whoever has it decides about the job: the keeper while it looks, or who leaves.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="keeper")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[Held]:
        """Keep a job until the block ends, or until `leave`."""
        held = Held(claim, self.leave)
        with self._lock:
            self._held = held
        try:
            yield held
        finally:
            self.leave()

    def leave(self) -> None:
        """Stop keeping the job; only the last transaction is left, and it locks the row."""
        with self._lock:
            self._held = None

    def _keep(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                if self._held:
                    self._look(self._held)

    def _look(self, held: Held) -> None:
        if held.lost_at is not None:
            if time.monotonic() - held.lost_at > LEAVE_SECONDS:
                # A long call of NumPy cannot be interrupted. What it would find is worth
                # nothing, and nothing is half written: the database drops what was not committed.
                os._exit(0)
            return
        try:
            if self._is_ours(held):
                return
        except (*AWAY, MemoryError) as error:
            throttled.note(f"job {held.claim.id}", error)
            if not self._stop.is_set():
                return
        except Exception:
            log.exception("job %s is let go", held.claim.id)
        held.lost_at = time.monotonic()

    def _is_ours(self, held: Held) -> bool:
        """Tell whether the worker owns the job; report progress and renew the lease when due."""
        claim, done = held.claim, held.done
        age = time.monotonic() - held.renewed
        if self._stop.is_set():
            with self._database.writing() as session:
                jobs.hand_back(session, claim, counted=False)
            return False
        has_news = done > held.told and age > TELL_SECONDS
        if not has_news and age < self._lease / 4:
            with self._database.reading() as session:
                return jobs.is_held(session, claim)
        with self._database.writing() as session:
            is_held = jobs.renew(session, claim, self._lease, done if has_news else None)
        held.told, held.renewed = done if has_news else held.told, time.monotonic()
        return is_held
