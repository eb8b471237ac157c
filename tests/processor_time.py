"""Measures the tests and writes slow.txt, the list of those that take more than a second.

`make slow` uses it. It counts processor time, of the test's own process and of all processes that
it starts, because time by the clock says little on a busy machine.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress

import psutil
import pytest

from tests.conftest import SLOW

SECONDS = 1.0
"""A test that takes more is slow."""

found = defaultdict(float)
"""Processor seconds of the slowest case of each test."""


def processor_seconds():
    """Processor time of this process and of all that it has started."""
    total = sum(os.times()[:4])
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Measure the test without its fixtures, which others use as well."""
    before = processor_seconds()
    try:
        return (yield)
    finally:
        name = item.nodeid.partition("[")[0]
        found[name] = max(found[name], processor_seconds() - before)


def pytest_sessionfinish():
    """Write the names of the slow tests."""
    names = sorted(name for name, seconds in found.items() if seconds > SECONDS)
    SLOW.write_text("".join(f"{name}\n" for name in names))
