"""A service whose processes can be killed, and jobs that run long enough for it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from hashlib import sha256

import numpy as np
import psutil
import requests
from sqlalchemy import func, make_url, select
from sqlalchemy.exc import InternalError, OperationalError

from api.jobs.kinds import JOBS
from api.store.base import Database
from api.store.fits import Fit, FitMatch
from api.store.mappings import ItemBlock, Mapping
from tests import waiting
from tests.calls import Calls, Reply
from tests.server import Server
from tests.waiting import PATIENCE

ARROW = "application/vnd.apache.arrow.stream"
CHOSEN_AFRESH = {"id", "version", "created_at", "started_at", "finished_at"}
LATER = {"Prefer": "respond-async"}


def until(condition, what="what was waited for"):
    """Wait for a condition to give something true, and give that.

    Neither a database nor a service that is away ends the waiting.
    """

    def found():
        with suppress(OperationalError, InternalError, requests.RequestException):
            return condition()

    return waiting.until(found, what=what)


def seconds_until(condition, what="what was waited for"):
    """How long it took."""
    begin = time.monotonic()
    until(condition, what)
    return time.monotonic() - begin


class Service(Server):
    """`idealfit serve`, whose processes are known by what they do."""

    def __init__(self, folder, database_url, *, workers=2, web=1, lease=4.0, **environment):
        self.database_url = database_url
        self.workers_asked = workers
        super().__init__(
            folder,
            DATABASE_URL=database_url,
            IDEALFIT_WORKERS=str(workers),
            WEB_CONCURRENCY=str(web),
            IDEALFIT_LEASE_SECONDS=str(lease),
            **environment,
        )

    def start(self):
        """Start it; its workers get their names in the order they are started in."""
        super().start()
        self._slots = {str(number + 1): None for number in range(self.workers_asked)}

    def calls(self):
        """Calls by a session of its own, as every thread needs one."""
        session = requests.Session()

        def send(method, path, data, headers, params):
            reply = session.request(
                method, self.url + path, data=data, headers=headers, params=params, timeout=PATIENCE
            )
            return Reply(reply.status_code, reply.headers, reply.content)

        return Calls(send)

    def answers(self):
        """Whether it is ready."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/health/ready", timeout=5).ok
        return False

    def restart(self):
        """Stop it in good order and start it again."""
        self.stop()
        self.start()

    # ---- processes

    def processes(self):
        """All that belong to it, orphans included: nobody else has its port."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("PORT") == str(self.port) and alive(process):
                    found.append(process)
        return found

    def workers(self):
        """Workers: the children of the supervisor that are nicer than it."""
        found = []
        supervisor = psutil.Process(self.process.pid)
        for process in supervisor.children():
            with suppress(psutil.Error):
                if process.nice() > supervisor.nice() and alive(process):
                    found.append(process)
        return found

    def slots(self):
        """Workers by the number at the end of their names, once both live."""
        found = sorted(self.workers(), key=lambda process: process.pid)
        if len(found) < len(self._slots):
            return None
        known = {slot: process for slot, process in self._slots.items() if process in found}
        free = (slot for slot in self._slots if slot not in known)
        fresh = (process for process in found if process not in known.values())
        self._slots |= known | dict(zip(free, fresh, strict=True))
        return self._slots

    def web_master(self):
        """The supervisor that gunicorn has, once it has children."""
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if process.children():
                    return process
        return None

    def web(self):
        """The web processes."""
        master = self.web_master()
        return [process for process in master.children() if alive(process)] if master else []

    def kill(self):
        """SIGKILL the supervisor alone."""
        self.session.close()
        self.process.kill()
        self.process.wait()


def alive(process):
    """Whether it runs; who waits to be buried does not."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Store:
    """What is in the database, asked without the service."""

    def __init__(self, url):
        self.database = Database(url)
        self.path = make_url(url).database if self.database.sqlite else None

    def running(self):
        """(id, attempt, owner) of jobs that a worker has."""
        with self.database.reading() as session:
            return [
                tuple(row)
                for model in JOBS
                for row in session.execute(
                    select(model.id, model.attempt, model.owner).where(model.state == "running")
                )
            ]

    def waiting(self):
        """Number of jobs that have not ended."""
        with self.database.reading() as session:
            return sum(
                session.scalars(
                    select(func.count()).where(model.state.in_(("queued", "running")))
                ).one()
                for model in JOBS
            )

    def job(self, identifier):
        """All columns of a job."""
        with self.database.reading() as session:
            found = [session.get(model, identifier) for model in JOBS]
            return next(job for job in found if job).as_dict()

    def ended(self):
        """Number of jobs that have succeeded."""
        with self.database.reading() as session:
            return sum(
                session.scalars(select(func.count()).where(model.state == "succeeded")).one()
                for model in JOBS
            )

    def rows(self):
        """Rows stored of each job by its id: matches, or items."""
        counts = {
            Fit: select(FitMatch.fit_id, func.count()).group_by(FitMatch.fit_id),
            Mapping: select(ItemBlock.mapping_id, func.sum(ItemBlock.count)).group_by(
                ItemBlock.mapping_id
            ),
        }
        with self.database.reading() as session:
            return {
                identifier: int(count)
                for query in counts.values()
                for identifier, count in session.execute(query)
            }

    def close(self):
        self.database.close()

    def check(self):
        """The file is what it should be; PostgreSQL keeps its own promises."""
        if self.path:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


class Jobs:
    """Kinds of jobs with the answers that nobody disturbed, and the jobs that were queued."""

    def __init__(self, service, *, curves=3000, functions=80):
        self.service = service
        self.store = Store(service.database_url)
        self.queued = []
        calls = service.calls()
        random = np.random.default_rng(5)
        x = [float(i) for i in range(100)]

        def noise(letter, count):
            values = np.round(random.normal(size=(count, 100)), 3).tolist()
            return calls.a_dataset({"x": x} | {f"{letter}{i}": y for i, y in enumerate(values)})

        pair = {
            "training_id": noise("y", functions)["id"],
            "ideal_id": noise("f", curves)["id"],
        }
        few = calls.post("/v1/fits", pair | {"training_curves": [f"y{i}" for i in range(10)]})
        fit = self.wait(few.headers["Location"])
        points = np.round(random.normal(size=(10, 100)), 3).tolist()
        test = calls.a_dataset({"x": x} | {f"p{i}": y for i, y in enumerate(points * 20)})
        body = {"fit_id": fit["id"], "test_id": test["id"], "tolerance_factor": 1000.0}
        self.kinds = [
            # No bound tells such curves apart, so that these are long enough to be killed in.
            ("/v1/fits", pair | {"criterion": "mae", "transform": "affine", "top_k": 3}),
            ("/v1/fits", pair | {"criterion": "max", "transform": "affine"}),
            ("/v1/mappings", body),
        ]
        self.expected, self.seconds = [], []
        for path, request in self.kinds:
            begin = time.monotonic()
            reply = calls.post(path, request, headers=LATER)
            record = self.wait(reply.headers["Location"])
            self.seconds.append(time.monotonic() - begin)
            self.expected.append(self.answer(reply.headers["Location"], record))

    def queue(self, kind=None, calls=None):
        """Queue one; its address."""
        kind = len(self.queued) % len(self.kinds) if kind is None else kind
        path, body = self.kinds[kind]
        reply = (calls or self.service.calls()).post(path, body, headers=LATER)
        if reply.status == 202:
            self.queued.append((reply.headers["Location"], kind))
        return reply

    def wait(self, address):
        """The record of a job once it has succeeded."""
        calls = self.service.calls()

        def ended():
            record = calls.get(address).json
            return record["state"] not in {"queued", "running"} and record

        record = until(ended, f"the end of {address}")
        assert record["state"] == "succeeded", record
        return record

    def answer(self, address, record):
        """All that a job found: its record, its items bit for bit, and how many rows they are."""
        items = "points" if "mappings" in address else "matches"
        reply = self.service.calls().get(f"{address}/{items}", headers={"Accept": ARROW})
        assert reply.status == 200, reply.text
        kept = {name: value for name, value in record.items() if name not in CHOSEN_AFRESH}
        return kept, sha256(reply.body).hexdigest(), self.store.rows()[record["id"]]

    def check(self):
        """Every job that was acknowledged has succeeded, once, with the undisturbed answer."""
        for address, kind in self.queued:
            record = self.wait(address)
            assert self.answer(address, record) == self.expected[kind]
        self.store.check()
        self.queued.clear()
