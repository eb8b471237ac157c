"""Counters for `/metrics`, named as in OpenTelemetry where it has names."""

from __future__ import annotations

import functools
import os
import re

from api.meter import Meter

ROUTE = "idealfit.route"
"""Key of the WSGI environ where the application leaves the address template of a request."""

REQUEST, ACTIVE, JOB, START = "request", "active", "job", "start"
"""Series of the meter."""

REQUEST_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Bounds of the histogram of requests, as OpenTelemetry advises."""

JOB_SECONDS = (
    0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0,
)  # fmt: skip
"""Bounds of the histogram of jobs."""

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)
OTHER = "_OTHER"
"""Label of any other method, so that clients cannot create series."""

meter = Meter(passing=ACTIVE)

os.register_at_fork(after_in_child=meter.forget)


def share() -> None:
    """Share the counters with all processes that this one forks from now on."""
    meter.share()


def count_request(method: str, route: str, status: int | None, seconds: float) -> None:
    """Count a request that was answered; without a status its client left before."""
    key = (REQUEST, label_method(method), route, str(status or ""))
    meter.observe(key, seconds, REQUEST_SECONDS)


def count_active(method: str, change: int) -> None:
    """Add `change` to the number of requests that are being answered."""
    meter.add((ACTIVE, label_method(method)), change)


def count_job(kind: str, outcome: str, seconds: float) -> None:
    """Count a job that a worker has ended."""
    meter.observe((JOB, kind, outcome), seconds, JOB_SECONDS)


def count_start(process: str) -> None:
    """Count the start of a process."""
    meter.add((START, process))


@functools.lru_cache(maxsize=256)
def make_template(rule: str) -> str:
    """Make the address template of a rule of Flask, as the OpenAPI document writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def label_method(method: str) -> str:
    """Return the label of a method."""
    return method if method in METHODS else OTHER
