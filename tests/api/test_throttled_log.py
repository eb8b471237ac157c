"""A database or disk in trouble gives a few short lines in the log, and never a 500."""

from __future__ import annotations

import logging
import resource
import sqlite3
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import OperationalError

from api import errors, throttled_log
from api.store.base import Database
from api.throttled_log import ThrottledLog
from tests.calls import check_problem, over_wsgi


@contextmanager
def no_file_longer_than(size):
    """No process may write behind this position of any file, this one included."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    moment = [0.0]
    monkeypatch.setattr(throttled_log.time, "monotonic", lambda: moment[0])
    return moment


def an_error(text="connection refused"):
    return OperationalError("SELECT secret FROM t WHERE id = ?", ("x",), sqlite3.Error(text))


def test_the_same_trouble_is_logged_once_a_second(clock, caplog):
    log = ThrottledLog(logging.getLogger("test"))
    for request in range(1000):
        clock[0] = request / 400
        log.note(f"request {request}", an_error())
    assert [record.getMessage() for record in caplog.records] == [
        "request 0: OperationalError: connection refused",
        "request 400: OperationalError: connection refused (and 399 more like the one before)",
        "request 800: OperationalError: connection refused (and 399 more like the one before)",
    ]


@pytest.mark.usefixtures("clock")
def test_another_kind_of_trouble_is_logged_at_once(caplog):
    log = ThrottledLog(logging.getLogger("test"))
    log.note("a", an_error())
    log.note("b", OSError(28, "No space left on device"))
    assert [record.getMessage() for record in caplog.records] == [
        "a: OperationalError: connection refused",
        "b: [Errno 28] No space left on device",
    ]


def test_a_line_is_one_line_without_statement_and_link(caplog):
    text = "connection failed\n  Is the server running?\n" + "x" * 1000
    ThrottledLog(logging.getLogger("test")).note("a", an_error(text))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "a: OperationalError: connection failed"


@pytest.mark.usefixtures("clock")
def test_many_requests_without_a_database_leave_one_line(app, caplog, monkeypatch):
    def away(_self):
        raise an_error("the server is gone")

    monkeypatch.setattr(errors, "throttled", ThrottledLog(errors.log))
    monkeypatch.setattr(Database, "reading", away)
    calls = over_wsgi(app)
    for _ in range(50):
        check_problem(calls.get("/v1/datasets"), 503)
    assert len([line for line in caplog.messages if "the server is gone" in line]) == 1


def test_an_export_without_room_for_its_file_is_507(app):
    calls = over_wsgi(app)
    test = {"x": list(range(20_000)), "y": [1.5] * 20_000}
    address = f"/v1/mappings/{calls.a_mapping(test=test)['id']}/export"
    with no_file_longer_than(100_000):
        problem = check_problem(calls.get(address), 507)
    assert "no room" in problem["detail"]
    with app.test_client().get(address) as reply:
        assert reply.status_code == 200


def test_the_database_in_trouble_while_part_of_a_curve_is_read_is_503(app, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("disk I/O error")

    calls = over_wsgi(app)
    dataset = calls.a_dataset()
    monkeypatch.setattr("api.resources.datasets.stream_rows", full)
    reply = calls.get(f"/v1/datasets/{dataset['id']}/values")
    check_problem(reply, 503)
    assert reply.headers["Retry-After"] == "1"
