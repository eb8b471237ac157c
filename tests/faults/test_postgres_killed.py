"""Killing PostgreSQL gives 503 meanwhile, and the service recovers by itself."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sqlalchemy import text

from tests.faults.service import until
from tests.faults.test_web_killed import Clients

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.parametrize("place", ["postgres"], indirect=True),
]

DOWN_SECONDS = 2.0


def fell(place):
    """Kill the whole server, and start it again after a while."""
    breakable = place.breakable
    breakable.kill()
    calls = place.service.calls()
    for path in ("/health/ready", "/v1/fits"):
        reply = calls.get(path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    time.sleep(DOWN_SECONDS)
    breakable.start()


def lost_a_backend(place):
    """Kill one process of a connection of ours; the server then drops all of them."""
    query = text("SELECT pid FROM pg_stat_activity WHERE datname = :name AND state IS NOT NULL")
    name = place.store.database.url.database
    with place.breakable.admin.connect() as connection:
        pids = list(connection.scalars(query, {"name": name}))
    os.kill(pids[len(pids) // 2], signal.SIGKILL)


@pytest.mark.parametrize("fault", [fell, pytest.param(lost_a_backend, marks=pytest.mark.thorough)])
def test_postgres_killed(place, times, healed, fault):
    with Clients(place, f"kept {fault.__name__}") as clients:
        for _ in range(times(1)):
            before = clients.count
            until(lambda: clients.count > before + 20, what="20 answers")
            while place.store.waiting() < 3:
                place.queue()
            until(place.store.running, what="a running job")
            fault(place)
            begin, answers = time.monotonic(), clients.count
            ended = until(place.store.ended)
            until(lambda: clients.count > answers, what="an answer")
            until(lambda: place.store.ended() > ended, what="the end of a job")
            healed(time.monotonic() - begin)
    assert fault is not fell or clients.refused
    clients.check()
    place.check()
