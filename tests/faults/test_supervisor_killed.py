"""Killing the supervisor ends its children, and the next supervisor continues their work."""

from __future__ import annotations

import pytest

from tests.faults.service import alive, seconds_until, until

pytestmark = pytest.mark.slow


def test_the_supervisor_killed_with_jobs_under_way(place, times, healed):
    service = place.service

    def all_there():
        found = service.processes()
        return found if len(found) == 6 else None

    def both_work():
        # A job is short: with many waiting, both workers still have one when the blow falls.
        while place.store.waiting() < 12:
            place.queue()
        return len(place.store.running()) == 2

    for _ in range(times(1)):
        everyone = until(all_there, what="six processes")
        until(both_work, what="two running jobs")
        service.kill()
        healed(seconds_until(lambda: not any(map(alive, everyone)), what="the end of all"))
        assert not service.processes()
        # Workers gave their jobs back before they ended, so nobody waits for a lease.
        assert place.store.running() == []
        service.start()
        until(lambda: place.store.running() or not place.store.waiting(), what="a running job")
    place.check()
