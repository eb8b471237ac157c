"""The worker: it claims the next job, computes it, stores the answer, and begins again.

While the main thread computes, its keeper (api/jobs/keeper.py) renews the lease, tells the
progress, and finds out when the job is not ours any more (docs/adr/0005).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import IO, Any, Self

from sqlalchemy.orm import Session

from api import logs, metrics, processes
from api.config import Settings
from api.disk import Disk
from api.jobs import run
from api.jobs.cluster import Cluster
from api.jobs.common import Answer, Progress
from api.jobs.exports import make_export
from api.jobs.keeper import AWAY, Held, Keeper
from api.jobs.kinds import JOBS
from api.jobs.rankers import LocalRanker, Ranker
from api.problems import FULL, curve_problem, problem_document
from api.store import jobs, lanes, leases
from api.store.base import Database, NotFound, find
from api.store.exports import Export
from api.store.jobs import ATTEMPTS, LONGEST_PAUSE, Claim, Lost, Pauses
from api.store.leases import Watch
from api.store.migrate import is_current
from api.store.vacuum import give_back
from api.throttled_log import ThrottledLog
from services.errors import CurveError
from services.fitting.cache import Cache
from services.scratch import scratch

log = logging.getLogger(__name__)
throttled = ThrottledLog(log)

NICENESS = 10
"""Nice value of workers, so that web processes come first."""

SHORTEST_PAUSE, IDLE_PAUSE = 0.05, 0.5
"""Seconds between two looks of a worker without work: the pause grows from one to the other."""

TROUBLE_SECONDS = 2.0
"""Longest pause of a worker that cannot reach its database, in seconds; it recovers within 5."""

AWAY_PAUSES = Pauses(0.5, 5.0)
"""Pauses of a job whose database was away; others go first in case the job is to blame."""

FULL_PAUSES = Pauses(1.0, LONGEST_PAUSE)
"""Pauses of a job for which a disk has no room."""

MEMORY_PAUSES = Pauses(10.0, LONGEST_PAUSE)
"""Pauses of a job that lacks memory; all attempts together take more than two minutes."""

_POSTGRES_DISK_FULL = "53100"

Compute = Callable[[Session, jobs.Job, IO[bytes], Progress, Ranker], Answer]
"""Function that computes a job, as `api.jobs.run.compute` does."""


class Worker:
    """Worker that does one job after the other until it is told to stop."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        name: str,
        stop: threading.Event,
        compute: Compute = run.compute,
    ) -> None:
        self._database = database
        self._settings = settings
        self._disk = Disk(settings)
        self._disk.watch_files()
        self._short = False
        self._lease = settings.lease_seconds
        self._watch = Watch(self._lease)
        self._keeper = Keeper(database, self._lease, stop)
        self._name = name
        self._stop = stop
        self._compute = compute
        self._began = 0.0
        local = LocalRanker(Cache(settings.cache_bytes))
        address = settings.dask_scheduler
        self._ranker: Ranker = Cluster(address, local) if address else local

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.end()

    def is_well(self) -> bool:
        """Tell whether the keeper of its jobs runs."""
        return self._keeper.is_alive()

    def run(self) -> None:
        """Do jobs until told to stop."""
        pause = trouble = SHORTEST_PAUSE
        while not self._stop.wait(pause):
            try:
                if trouble > SHORTEST_PAUSE:
                    # Nobody knows what the database still heard; between two jobs none is ours.
                    release(self._database, self._name)
                if self._may_work() and self.step():
                    pause = 0.0
                elif give_back(self._database):
                    pause = SHORTEST_PAUSE
                else:
                    pause = min(2 * pause + SHORTEST_PAUSE, IDLE_PAUSE)
                trouble = SHORTEST_PAUSE
            except Exception as error:
                if not is_passing(error):
                    raise
                throttled.note(self._name, error)
                pause = trouble = min(2 * trouble, TROUBLE_SECONDS)

    def _may_work(self) -> bool:
        """Tell whether the disk has room for a job; without it all jobs wait."""
        shortage = self._disk.shortage()
        if shortage and not self._short:
            log.warning("%s: jobs wait. %s", self._name, shortage.detail)
        self._short = shortage is not None
        return not self._short

    def step(self) -> bool:
        """Do the job whose turn it is; False if there is none."""
        # Looking blocks nobody; only who has seen a job asks for the right to write.
        with self._database.reading() as session:
            abandoned = self._watch.abandoned(session, JOBS)
            if not abandoned and not lanes.is_any_due(session, JOBS):
                return False
        with self._database.writing() as session:
            for lease in abandoned:
                leases.take_back(session, lease)
            claim = lanes.claim(session, JOBS, self._name, self._lease)
        if claim:
            self._began = time.monotonic()
            self._do(claim)
        return claim is not None

    def _do(self, claim: Claim) -> None:
        if claim.attempt > ATTEMPTS:
            self._fail(claim, _given_up("its worker died each time, or was not heard of"))
            return
        logs.log_event(log, "job started", **self._said_of(claim), attempt=claim.attempt)
        try:
            with self._keeper.hold(claim) as held:
                self._answer(claim, held)
            self._told_end(claim, "succeeded")
        except (Lost, NotFound):
            self._told_lost(claim)
        except CurveError as error:
            self._fail(claim, curve_problem(error))
        except Exception as error:
            self._set_back(claim, error)
            if isinstance(error, AWAY) and not is_full(error):
                raise

    def _set_back(self, claim: Claim, error: Exception) -> None:
        """Put a job that did not end behind the others."""
        if is_full(error):
            throttled.note(f"{self._name}: job {claim.id} waits for room", error)
            self._hand_back(claim, FULL_PAUSES)
        elif isinstance(error, AWAY):
            self._hand_back(claim, AWAY_PAUSES)
        else:
            log.error("%s: job %s failed", self._name, claim.id, exc_info=error)
            self._try_again(claim, error)

    def _answer(self, claim: Claim, held: Held) -> None:
        if claim.model is Export:
            make_export(self._database, self._disk, self._settings, claim, held)
            return
        with scratch.spooled(run.SPOOL_BYTES) as spool:
            with self._database.reading() as session:
                job = find(session, claim.model, claim.id)
                answer = self._compute(session, job, spool, held.tell, self._ranker)
            self._disk.require(spool.tell())
            held.leave()
            with self._database.writing() as session:
                # First whether the job is ours, so that nothing is written in vain.
                jobs.end(session, claim, "succeeded", done=job.total, **answer.values)
                answer.add_rows(session)

    def _fail(self, claim: Claim, problem: dict[str, Any]) -> None:
        try:
            with self._database.writing() as session:
                jobs.end(session, claim, "failed", error=problem)
        except Lost:
            self._told_lost(claim)
        else:
            self._told_end(claim, "failed", problem=problem["type"])

    def _try_again(self, claim: Claim, error: Exception) -> None:
        """Queue the job again after an unforeseen error, unless this was the last attempt."""
        lacks_memory = isinstance(error, MemoryError)
        if claim.attempt >= ATTEMPTS:
            reason = f"the last one ended with {type(error).__name__}"
            if lacks_memory:
                longest = MEMORY_PAUSES.longest
                reason += f" though the pauses between them grew to {longest:.0f} seconds"
            self._fail(claim, _given_up(reason))
            return
        pauses = MEMORY_PAUSES if lacks_memory else None
        with self._database.writing() as session:
            jobs.hand_back(session, claim, counted=True, pauses=pauses)

    def _said_of(self, claim: Claim) -> dict[str, Any]:
        return {"id": claim.id, "kind": _kind_of(claim), "worker": self._name}

    def _told_end(self, claim: Claim, outcome: str, **more: Any) -> None:
        seconds = time.monotonic() - self._began
        metrics.count_job(_kind_of(claim), outcome, seconds)
        said = self._said_of(claim) | {"outcome": outcome}
        logs.log_event(log, "job ended", **said, seconds=round(seconds, 3), **more)

    def _told_lost(self, claim: Claim) -> None:
        logs.log_event(log, "job is not ours any more", **self._said_of(claim))

    def _hand_back(self, claim: Claim, pauses: Pauses) -> None:
        """Queue the job again as soon as the database is back; the attempt does not count."""
        pause = SHORTEST_PAUSE
        while True:
            try:
                with self._database.writing() as session:
                    jobs.hand_back(session, claim, counted=False, pauses=pauses)
            except AWAY:
                pause = min(2 * pause, TROUBLE_SECONDS)
                if self._stop.wait(pause):
                    return
            else:
                logs.log_event(log, "job waits again", **self._said_of(claim))
                return


def is_passing(error: Exception) -> bool:
    """Tell whether the database is away or a disk is full, which is no fault of the job."""
    return isinstance(error, AWAY) or is_full(error)


def is_full(error: Exception) -> bool:
    """Tell whether the disk of the temporary files or of the database is full."""
    if isinstance(error, OSError):
        return error.errno in FULL
    reason = getattr(error, "orig", error)
    return (
        getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(reason, "sqlstate", None) == _POSTGRES_DISK_FULL
    )


def release(database: Database, name: str) -> None:
    """Queue the jobs that a worker of this name left behind."""
    with database.writing() as session:
        for model in JOBS:
            jobs.release(session, model, name)


def _kind_of(claim: Claim) -> str:
    return claim.model.__name__.lower()


def _given_up(reason: str) -> dict[str, Any]:
    detail = f"The job was given up after {ATTEMPTS} attempts: {reason}."
    return problem_document(500, detail)


def work(settings: Settings, name: str, parent: int, report: Callable[[], None]) -> None:
    """Run a worker process, replacing a dead one of the same name."""
    os.nice(NICENESS)
    metrics.count_start("worker")
    stop = threading.Event()
    database = Database(settings.url)
    try:
        with Worker(database, settings, name, stop) as worker:
            # The last thread to start reports, so one that cannot start is noticed.
            processes.stop_when_told(stop, parent, report, worker.is_well)
            if _ready(database, name, stop):
                worker.run()
    finally:
        database.close()


def _ready(database: Database, name: str, stop: threading.Event) -> bool:
    """Wait for the schema of this version, and queue the jobs that the dead worker left behind."""
    pause = SHORTEST_PAUSE
    while not stop.is_set():
        try:
            if is_current(database):
                release(database, name)
                return True
            log.warning("%s: the database is not migrated yet", name)
        except AWAY as error:
            throttled.note(name, error)
        pause = min(2 * pause, TROUBLE_SECONDS)
        stop.wait(pause)
    return False
