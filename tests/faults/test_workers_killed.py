"""Workers that are killed, stopped, and told to stop in the middle of their jobs."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress

import psutil
import pytest

from tests.faults.service import alive, seconds_until, until

pytestmark = pytest.mark.slow

MOST_ATTEMPTS = 3
"""A job that was begun so often is not killed again: after five it would be given up."""

ROUNDS = 8
"""After so many kills the service starts anew: it waits longer and longer with dying workers."""


def someone_at_work(place):
    """A job that runs, its attempt, and the process that has it."""

    def found():
        if place.store.waiting() < 3:
            place.queue()
        slots = place.service.slots()
        rows = [row for row in place.store.running() if row[1] <= MOST_ATTEMPTS]
        if not slots or not rows:
            return None
        job, attempt, owner = rows[0]
        return job, attempt, slots[owner.rpartition("-")[2]]

    return until(found, what="a running job")


def test_workers_killed_in_the_middle(place, times, healed):
    """Every moment is as likely as every other, that of storing the answer included."""
    chance = random.Random(7)
    # Three hundred and a hundred, if there are forty times as many.
    for number in range(times(7.5 if place.store.path else 2.5)):
        if number % ROUNDS == ROUNDS - 1:
            place.service.restart()
        job, attempt, worker = someone_at_work(place)
        time.sleep(chance.uniform(0, max(place.seconds)))
        with suppress(psutil.NoSuchProcess):
            # On a machine so busy that the lease ran out it has ended itself.
            worker.kill()
        until(lambda: not alive(worker), what="its end")

        def goes_on():
            row = place.store.job(job)
            return row["state"] not in {"queued", "running"} or row["attempt"] > attempt

        healed(seconds_until(goes_on, what="another attempt"))
    place.check()


def test_workers_stopped_past_their_lease_and_woken(place, times, healed):
    """Whoever took over has stored the answer; the sleeper changes nothing any more."""
    chance = random.Random(8)
    for number in range(times(1)):
        if number % ROUNDS == ROUNDS - 1:
            place.service.restart()
        job, attempt, worker = someone_at_work(place)
        time.sleep(chance.uniform(0, max(place.seconds)))
        worker.send_signal(signal.SIGSTOP)
        try:
            # One that sleeps with the write lock in its hand stops all others: no takeover.
            deadline = time.monotonic() + 10
            while place.store.job(job)["state"] != "succeeded" and time.monotonic() < deadline:
                time.sleep(0.05)
            before = place.store.job(job)
        finally:
            worker.send_signal(signal.SIGCONT)
        begin = time.monotonic()
        # The sleeper is awake when it has ended or has another job.
        until(lambda: not alive(worker) or _busy(place, worker), what="the end of sleep")
        healed(time.monotonic() - begin)
        if before["state"] == "succeeded" and before["attempt"] > attempt:
            assert place.store.job(job) == before
    place.check()


def _busy(place, worker):
    if place.store.waiting() < 2:
        place.queue(1)
    slots = place.service.slots() or {}
    return any(
        slots.get(owner.rpartition("-")[2]) == worker for _, _, owner in place.store.running()
    )
