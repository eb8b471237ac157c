"""SQL statements of a request: a job reads each record, grid and list of curves once."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import event

from api.running import running
from api.store import datasets
from tests.calls import over_wsgi


@pytest.fixture
def calls(app):
    return over_wsgi(app)


@pytest.fixture
def statements(app):
    """Context manager for the statements that the application sends inside its block."""
    engine = running(app).database.engine

    @contextmanager
    def listening():
        sent = []

        def note(_connection, _cursor, statement, *_):
            sent.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        yield sent
        event.remove(engine, "before_cursor_execute", note)

    return listening


def columns(count, name):
    """A dataset of that many curves of 400 points."""
    curves = {f"{name}{i}": [float((7 * i + row) % 11) for row in range(400)] for i in range(count)}
    return {"x": [float(row) for row in range(400)]} | curves


def test_a_fit_reads_each_thing_once(calls, statements):
    ids = {
        "training_id": calls.a_dataset(columns(4, "y"))["id"],
        "ideal_id": calls.a_dataset(columns(50, "f"))["id"],
    }
    with statements() as sent:
        calls.made("/v1/fits", ids)
    assert len(sent) <= 10, sent


def test_a_request_that_is_only_queued_reads_no_long_column(calls, statements, monkeypatch):
    monkeypatch.setattr(datasets, "SHORT_GRID", 399)
    fit = calls.a_fit(columns(4, "y"), columns(50, "f"))["id"]
    test = calls.a_dataset(columns(1, "t"))["id"]
    body, grids = {"fit_id": fit, "test_id": test}, {}
    for status, headers in ((202, {"Prefer": "respond-async"}), (201, {})):
        with statements() as sent:
            assert calls.post("/v1/mappings", body, headers=headers).status == status
        grids[status] = sum("SELECT grids.data" in statement for statement in sent)
    # The library's column is read for its default tolerance, the test's to map its points.
    assert grids == {202: 1, 201: 2}


def test_a_mapping_reads_each_thing_once(calls, statements):
    fit = calls.a_fit(columns(4, "y"), columns(50, "f"))["id"]
    test = calls.a_dataset(columns(1, "t"))["id"]
    with statements() as sent:
        calls.made("/v1/mappings", {"fit_id": fit, "test_id": test})
    # The fit and the chosen matches come on top. The points of the reply are read with their x and
    # y, which are in the test dataset: two statements, three on PostgreSQL.
    assert len(sent) <= 15, sent


def test_the_first_evaluation_of_a_fit_reads_each_thing_once(calls, statements):
    fit = calls.a_fit(columns(4, "y"), columns(50, "f"))["id"]
    with statements() as sent:
        calls.post(f"/v1/fits/{fit}/evaluate", {"x": [1.0], "y": [2.0]})
    assert len(sent) <= 6, sent
