"""A worker: takes the job whose turn it is, does it, stores its answer, and takes the next.

While the main thread computes, a thread of its own keeps the lease, tells the progress, and
finds out when the job is not ours any more (docs/adr/0005).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from typing import Any, Self

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from api import engine, processes
from api.cluster import Cluster
from api.config import Settings
from api.disk import Disk
from api.engine import Here, Ranks
from api.exports import make_export
from api.problems import FULL, curve_problem, problem_document
from api.store import jobs, lanes, leases
from api.store.base import Database, NotFound, find
from api.store.exports import Export
from api.store.jobs import ATTEMPTS, Claim, Lost
from api.store.leases import Watch
from api.store.migrate import is_current
from api.store.vacuum import give_back
from api.troubles import Troubles
from services.cache import Cache
from services.errors import CurveError
from services.fitting import Engine
from services.scratch import scratch

log = logging.getLogger(__name__)
troubles = Troubles(log)

NICENESS = 10
"""Workers leave the processor to the web processes as soon as these have something to do."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""How often a worker without work looks for some: soon at first, then more and more rarely."""

LOOK_SECONDS = 0.25
"""How often the keeper of a job looks whether it is still ours."""

TELL_SECONDS = 1.0
"""How often progress is told at most."""

LEAVE_SECONDS = 1.0
"""How long the main thread may go on with a job that is not ours before the process ends."""

TROUBLE_SECONDS = 2.0
"""Longest pause of a worker that cannot reach its database: it is to heal within 5 seconds."""

AWAY = (OperationalError, InterfaceError, InternalError, sqlite3.OperationalError)
"""The database is locked, full, read-only, restarting or gone: no fault of the job."""


class Worker:
    """Does one job after the other until it is told to stop."""

    def __init__(
        self, database: Database, settings: Settings, name: str, stop: threading.Event
    ) -> None:
        self._database = database
        self._settings = settings
        self._disk = Disk(settings)
        self._disk.watch_files()
        self._short = False
        self._lease = settings.lease_seconds
        self._watch = Watch(self._lease)
        self._name = name
        self._stop = stop
        here = Here(Engine(cache=Cache(settings.cache_bytes)))
        address = settings.dask_scheduler
        self._ranks: Ranks = Cluster(address, here) if address else here

    def run(self) -> None:
        """Until told to stop."""
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
                    pause = min(2 * pause + SHORTEST_PAUSE, LONGEST_PAUSE)
                trouble = SHORTEST_PAUSE
            except Exception as error:
                if not is_passing(error):
                    raise
                troubles.note(self._name, error)
                pause = trouble = min(2 * trouble, TROUBLE_SECONDS)

    def _may_work(self) -> bool:
        """Whether there is room for a job; otherwise all of them wait."""
        shortage = self._disk.shortage()
        if shortage and not self._short:
            log.warning("%s: jobs wait. %s", self._name, shortage.detail)
        self._short = shortage is not None
        return not self._short

    def step(self) -> bool:
        """Do the job whose turn it is; False if there is none."""
        # Looking blocks nobody; only who has seen a job asks for the right to write.
        with self._database.reading() as session:
            abandoned = self._watch.abandoned(session, engine.JOBS)
            if not abandoned and not lanes.is_any_due(session, engine.JOBS):
                return False
        with self._database.writing() as session:
            for lease in abandoned:
                leases.take_back(session, lease)
            claim = lanes.claim(session, engine.JOBS, self._name, self._lease)
        if claim:
            self._do(claim)
        return claim is not None

    def _do(self, claim: Claim) -> None:
        if claim.attempt > ATTEMPTS:
            self._fail(claim, _given_up("its worker died each time"))
            return
        with _Keeper(self._database, claim, self._lease, self._stop) as keeper:
            try:
                self._compute(claim, keeper)
            except (Lost, NotFound):
                log.info("%s: job %s is not ours any more", self._name, claim.id)
            except CurveError as error:
                self._fail(claim, curve_problem(error))
            except Exception as error:
                if is_passing(error):
                    self._hand_back(claim)
                    raise
                log.exception("%s: job %s failed", self._name, claim.id)
                self._try_again(claim, error)

    def _compute(self, claim: Claim, keeper: _Keeper) -> None:
        if claim.model is Export:
            make_export(self._database, self._disk, self._settings, claim, keeper)
            return
        with scratch.spooled(engine.SPOOL_BYTES) as spool:
            with self._database.reading() as session:
                job = find(session, claim.model, claim.id)
                answer = engine.compute(session, job, spool, keeper.tell, self._ranks)
            self._disk.require(spool.tell())
            keeper.leave()
            with self._database.writing() as session:
                # First whether the job is ours, so that nothing is written in vain.
                jobs.end(session, claim, "succeeded", done=job.total, **answer.values)
                answer.add_rows(session)

    def _fail(self, claim: Claim, problem: dict[str, Any]) -> None:
        try:
            with self._database.writing() as session:
                jobs.end(session, claim, "failed", error=problem)
        except Lost:
            log.info("%s: job %s is not ours any more", self._name, claim.id)

    def _try_again(self, claim: Claim, error: Exception) -> None:
        """Whatever it was, it was not foreseen: another attempt, unless it was the last."""
        if claim.attempt >= ATTEMPTS:
            self._fail(claim, _given_up(f"the last one ended with {type(error).__name__}"))
            return
        with self._database.writing() as session:
            jobs.hand_back(session, claim, counted=True)

    def _hand_back(self, claim: Claim) -> None:
        """Queue the job again as soon as the database is back; the attempt does not count."""
        pause = SHORTEST_PAUSE
        while True:
            try:
                with self._database.writing() as session:
                    jobs.hand_back(session, claim, counted=False)
            except AWAY:
                pause = min(2 * pause, TROUBLE_SECONDS)
                if self._stop.wait(pause):
                    return
            else:
                return


def is_passing(error: Exception) -> bool:
    """Whether an error is no fault of the job: the database is away, or a disk is full."""
    return isinstance(error, AWAY) or (isinstance(error, OSError) and error.errno in FULL)


def release(database: Database, name: str) -> None:
    """Queue what a worker of this name left behind."""
    with database.writing() as session:
        for model in engine.JOBS:
            jobs.release(session, model, name)


def _given_up(reason: str) -> dict[str, Any]:
    detail = f"The job was given up after {ATTEMPTS} attempts: {reason}."
    return problem_document(500, detail)


class _Keeper:
    """Keeps a job as long as the main thread works on it."""

    def __init__(
        self, database: Database, claim: Claim, lease: float, stop: threading.Event
    ) -> None:
        self._database = database
        self._claim = claim
        self._lease = lease
        self._stop = stop
        self._done = self._told = 0
        self._written = time.monotonic()
        self._lost = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="keeper")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """All is computed; what is left is one transaction, which locks the row by itself."""
        self._left.set()
        self._thread.join()

    def tell(self, done: int, total: int) -> None:
        """Progress, told between two pieces of work; Lost if there is no use in going on."""
        del total
        self._done = done
        if self._lost.is_set():
            raise Lost

    def _keep(self) -> None:
        while not self._left.wait(LOOK_SECONDS):
            try:
                if not self._holds():
                    break
            except AWAY as error:
                troubles.note(f"job {self._claim.id}", error)
                if self._stop.is_set():
                    break
            except Exception:
                log.exception("job %s is let go", self._claim.id)
                break
        else:
            return
        self._lost.set()
        if not self._left.wait(LEAVE_SECONDS):
            # A long call of NumPy cannot be interrupted. What it would find is worth nothing,
            # and nothing is half written: the database drops what was not committed.
            os._exit(0)

    def _holds(self) -> bool:
        """Whether the job is ours; told and renewed when it is time."""
        claim, done = self._claim, self._done
        age = time.monotonic() - self._written
        if self._stop.is_set():
            with self._database.writing() as session:
                jobs.hand_back(session, claim, counted=False)
            return False
        news = done > self._told and age > TELL_SECONDS
        if not news and age < self._lease / 4:
            with self._database.reading() as session:
                return jobs.is_held(session, claim)
        with self._database.writing() as session:
            held = jobs.renew(session, claim, self._lease, done if news else None)
        self._told, self._written = done if news else self._told, time.monotonic()
        return held


def work(settings: Settings, name: str, parent: int) -> None:
    """A worker as a process of its own, in the place of one of that name that has died."""
    os.nice(NICENESS)
    stop = threading.Event()
    processes.stop_when_told(stop, parent)
    database = Database(settings.url)
    try:
        if _ready(database, name, stop):
            Worker(database, settings, name, stop).run()
    finally:
        database.close()


def _ready(database: Database, name: str, stop: threading.Event) -> bool:
    """Wait for the schema of this version, and take back what the one before left behind."""
    pause = SHORTEST_PAUSE
    while not stop.is_set():
        try:
            if is_current(database):
                release(database, name)
                return True
            log.warning("%s: the database is not migrated yet", name)
        except AWAY as error:
            troubles.note(name, error)
        pause = min(2 * pause, TROUBLE_SECONDS)
        stop.wait(pause)
    return False
