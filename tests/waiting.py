"""Waiting for events, on a machine that may be busy with other tests."""

from __future__ import annotations

import time

PATIENCE = 300
"""Far more than anything takes; who waits for longer is told so."""


def until(condition, seconds=PATIENCE, what="what was waited for"):
    """Wait for a condition to give something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.01)
    return found
