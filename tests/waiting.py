"""Waiting for events, on a machine that may be busy with other tests."""

from __future__ import annotations

import time

PATIENCE = 300
"""Far more than anything takes; who waits for longer is told so."""


SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.1


def until(condition, seconds=PATIENCE, what="what was waited for"):
    """Wait for a condition to give something true, and return that.

    It is asked the more rarely the longer it takes, so that waiting leaves the processor to others.
    """
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, f"{what} did not happen in {seconds} s"
        time.sleep(min(max(SHORTEST_PAUSE, waited / 20), LONGEST_PAUSE))
    return found
