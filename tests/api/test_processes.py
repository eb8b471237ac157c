"""The processes of `idealfit serve`: they end together, and no job ends with one of them."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import shutil
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from api.config import Settings
from api.jobs.worker import work
from api.processes import Supervisor, stop_when_told
from api.store.base import Database, find
from api.store.fits import Fit
from tests.calls import over_socket
from tests.server import Server
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.slow


@pytest.fixture
def service(tmp_path):
    """Factory of running services on one SQLite file; each is stopped at the end."""
    started = []

    def start():
        started.append(Server(tmp_path))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


def some_noise(calls, seed):
    values = np.random.default_rng(seed).integers(0, 1000, (700, 300))
    columns = {"x": list(range(300))} | {f"y{i}": y for i, y in enumerate(values.tolist())}
    return calls.a_dataset(columns)["id"]


def a_long_fit(calls):
    """A body that keeps a worker busy for some seconds: no bound tells such curves apart."""
    ids = {"training_id": some_noise(calls, 1), "ideal_id": some_noise(calls, 2)}
    return ids | {"criterion": "mae", "transform": "affine"}


def a_running_fit(calls):
    """Address of a fit of some seconds, as soon as a worker has begun it."""
    reply = calls.post("/v1/fits", a_long_fit(calls))
    address = reply.headers["Location"]
    until(lambda: calls.get(address).json["state"] == "running")
    return address


def job(folder, address):
    """The row of a fit, without a service."""
    database = Database(f"sqlite:///{folder / 'idealfit.db'}")
    with database.reading() as session:
        fit = find(session, Fit, address.rsplit("/", 1)[1])
    database.close()
    return fit


def check_done(calls, address):
    """The fit succeeds, with the answer of one that nobody disturbs."""
    record = until(lambda: ended(calls, address))
    assert record["state"] == "succeeded"
    assert record["progress"]["done"] == record["n_ideal"]
    body = {name: record[name] for name in ("training_id", "ideal_id", "criterion", "transform")}
    other = calls.post("/v1/fits", body).headers["Location"]
    assert until(lambda: ended(calls, other))["state"] == "succeeded"
    found, expected = (
        [item for page in calls.pages(f"{fit}/matches", limit=500) for item in page]
        for fit in (address, other)
    )
    assert len(found) == record["n_training"]
    assert found == expected


def ended(calls, address):
    record = calls.get(address).json
    return record if record["state"] not in ("queued", "running") else None


def test_what_is_killed_is_replaced_and_a_job_goes_on_at_once(service, tmp_path):
    server = service()
    calls = over_socket(server)
    address = a_running_fit(calls)
    before = psutil.Process(server.process.pid).children()
    web = psutil.Process(server.process.pid).children(recursive=True)
    for process in before:
        process.kill()
    # Long before the lease has run out.
    until(lambda: job(tmp_path, address).attempt == 2)
    # Web processes without their master answer for some more seconds, then the next have the port.
    psutil.wait_procs(web, PATIENCE)
    until(lambda: answers(server))
    check_done(over_socket(server), address)
    after = psutil.Process(server.process.pid).children()
    assert len(after) == len(before)
    assert not set(after) & set(before)


def answers(server):
    try:
        return server.get("/health/ready").ok
    except OSError:
        return False


def test_told_to_stop_calls_are_answered_and_jobs_handed_back(service, tmp_path):
    server = service()
    calls = over_socket(server)
    body, replies = a_long_fit(calls), []

    def post():
        replies.append(over_socket(server).post("/v1/fits", body, headers={"Prefer": "wait=2"}))

    waiting = threading.Thread(target=post)
    waiting.start()
    until(lambda: calls.get("/v1/fits", params={"state": "running"}).json["items"])
    server.process.send_signal(signal.SIGTERM)
    waiting.join()
    assert [reply.status for reply in replies] == [202]
    assert server.process.wait(PATIENCE) == 0
    handed_back = job(tmp_path, replies[0].headers["Location"])
    assert (handed_back.state, handed_back.attempt, handed_back.owner) == ("queued", 0, None)


def test_nobody_outlives_the_supervisor(service, tmp_path):
    server = service()
    address = a_running_fit(over_socket(server))
    left = psutil.Process(server.process.pid).children(recursive=True)
    assert len(left) > 4
    server.process.kill()
    _, alive = psutil.wait_procs(left, PATIENCE)
    assert not alive
    assert job(tmp_path, address).state == "queued"
    server.stop()


class TestSupervisor:
    """Children that end are started again, the sooner the longer they lived."""

    def test_a_child_that_keeps_dying_is_started_more_and_more_rarely(self, tmp_path, caplog):
        log = tmp_path / "log"

        def dies(_name, _parent, _report):
            with log.open("a") as file:
                file.write(f"{time.monotonic()}\n")
            raise SystemExit(7)

        def starts():
            return [float(line) for line in log.read_text().split()] if log.exists() else []

        def stop():
            until(lambda: len(starts()) >= 4)
            os.kill(os.getpid(), signal.SIGTERM)

        supervisor = Supervisor({"child": dies})
        threading.Thread(target=stop).start()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            assert supervisor.run() == 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        pauses = [float(s) for s in re.findall(r"code 7, starts again in ([\d.]+) s", caplog.text)]
        assert pauses[:3] == [0.1, 0.3, 0.7]
        assert (np.diff(starts())[:3] >= pauses[:3]).all()

    def test_a_child_that_cannot_be_started_is_tried_again(self, monkeypatch, tmp_path, caplog):
        log, fork, calls = tmp_path / "log", os.fork, []

        def seldom():
            calls.append(1)
            if len(calls) == 1:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            return fork()

        def tells(_name, parent, _report):
            log.write_text("here")
            os.kill(parent, signal.SIGTERM)

        monkeypatch.setattr(os, "fork", seldom)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            assert Supervisor({"child": tells}).run() == 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        assert log.read_text() == "here"
        assert "cannot be started" in caplog.text
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()

    @pytest.fixture
    def run(self):
        """Factory: run a supervisor until a condition holds; whether it did."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def run(children, reached, silence):
            def watch():
                try:
                    until(reached)
                    seen.append(1)
                finally:
                    signal.raise_signal(signal.SIGTERM)

            seen, watcher = [], threading.Thread(target=watch)
            watcher.start()
            assert Supervisor(children, silence).run() == 0
            watcher.join()
            return bool(seen)

        yield run
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def test_a_child_that_never_reports_is_replaced(self, run, tmp_path, caplog):
        """Such as one whose first thread cannot start: Python would wait for that for ever."""
        pids = tmp_path / "pids"

        def hangs(_name, _parent, _report):
            with pids.open("a") as file:
                file.write(f"{os.getpid()}\n")
            threading.Event().wait()

        def replaced():
            return pids.exists() and len(set(pids.read_text().split())) > 1

        assert run({"child": hangs}, replaced, silence=0.5)
        assert "child does not report any more" in caplog.text

    def test_a_worker_that_stands_still_is_replaced_and_others_are_not(
        self, run, tmp_path, sqlite_template
    ):
        shutil.copy(sqlite_template, tmp_path / "idealfit.db")
        child = functools.partial(work, Settings(data=tmp_path))
        stopped, others = [], []

        def is_worker(process):
            with suppress(psutil.NoSuchProcess):
                return process.nice() > psutil.Process().nice()
            return False

        def replaced():
            workers = list(filter(is_worker, psutil.Process().children()))
            if len(workers) < 2:
                return False
            if not stopped:
                stopped.append(workers[0])
                others.append(workers[1])
                workers[0].send_signal(signal.SIGSTOP)
            return stopped[0] not in workers and others[0] in workers

        assert run({f"worker-{i}": child for i in range(2)}, replaced, silence=20.0)

    def test_one_that_computes_or_waits_for_a_disk_reports(self, tmp_path, run):
        """Neither a long call without the interpreter nor a keeper that waits is silence."""
        lived = tmp_path / "lived"

        def waits(_name, parent, report):
            stop = threading.Event()
            stop_when_told(stop, parent, report)
            file = tmp_path / "locked"
            file.touch()
            with file.open() as first, file.open() as second:
                fcntl.flock(first, fcntl.LOCK_EX)
                threading.Thread(
                    target=fcntl.flock, args=(second, fcntl.LOCK_EX), daemon=True
                ).start()
                stop.wait(4.0)
                lived.write_text("yes")
                fcntl.flock(first, fcntl.LOCK_UN)
            stop.wait()

        assert run({"child": waits}, lived.exists, silence=3.0)
