"""After SIGTERM under load, accepted calls are answered and jobs continue elsewhere."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from tests.faults.service import LATER, until
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

LEASE = 600.0
"""Nobody can have waited for that."""


def start(target, argument):
    thread = threading.Thread(target=target, args=(argument,))
    thread.start()
    return thread


def accepted(service):
    """Connections that the web processes have taken."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == service.port
        for process in service.web()
        for connection in process.net_connections("tcp")
    )


@contextmanager
def another_host(service):
    """A worker that no supervisor of this service ends."""
    command = [sys.executable, "-m", "api.cli", "worker", "--workers", "1"]
    with subprocess.Popen(command, env=service.environment) as process:
        try:
            yield
        finally:
            process.terminate()
    assert process.returncode == 0


def test_told_to_stop_under_load(service, a_queue, times, healed):
    one = service(workers=1, lease=LEASE, IDEALFIT_INLINE_SECONDS="1000")
    jobs = a_queue(one, curves=3000, functions=200)
    for _ in range(times(1)):
        job = jobs.queue(1).json["id"]
        (_, attempt, owner), *_ = until(jobs.store.running)
        with another_host(one):
            _stop_under_load(one, jobs, (job, attempt, owner), healed)
        one.start()
        jobs.check()


def _stop_under_load(one, jobs, running, healed):
    job, attempt, owner = running
    replies = []

    def call(headers):
        path, body = jobs.kinds[0]
        replies.append(one.calls().post(path, body, headers=headers))

    waits = LATER | {"Prefer": "respond-async, wait=20"}
    threads = [start(call, headers) for headers in (None, None, waits)]
    until(lambda: accepted(one) >= len(threads), what="three accepted calls")
    # Time enough for a thread to take each of them up.
    time.sleep(0.2)
    assert running in jobs.store.running()
    one.process.terminate()
    begin = time.monotonic()

    def elsewhere():
        row = jobs.store.job(job)
        return row["state"] == "succeeded" or row["owner"] not in {None, owner}

    until(elsewhere, what="another worker")
    healed(time.monotonic() - begin)
    for thread in threads:
        thread.join()
    assert one.process.wait(PATIENCE) == 0
    statuses = sorted(reply.status for reply in replies)
    # On a busy machine the one that waits is told after its 20 seconds that it is not yet done.
    assert statuses in ([201, 201, 201], [201, 201, 202])
    jobs.queued += [(reply.headers["Location"], 0) for reply in replies]
    until(lambda: jobs.store.waiting() == 0, what="the end of all jobs")
    # What was handed back was no attempt.
    assert jobs.store.job(job)["attempt"] == attempt
