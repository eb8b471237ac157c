"""A worker and its job, also when something goes wrong."""

from __future__ import annotations

import errno
import sqlite3
import threading
from contextlib import ExitStack, suppress
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from api.config import Settings
from api.jobs import keeper, run
from api.jobs.kinds import JOBS
from api.jobs.worker import Worker
from api.running import running
from api.store import jobs, lanes
from api.store.base import find
from api.store.fits import Fit, FitMatch
from api.store.jobs import ATTEMPTS
from api.store.mappings import ItemBlock
from tests.calls import CURVES, LIBRARY, POINTS, check_problem, over_wsgi

LATER = {"Prefer": "respond-async"}
CHOSEN_AFRESH = {"id", "version", "created_at", "started_at", "finished_at"}


@pytest.fixture
def calls(app):
    """Calls of the application on the database in turn."""
    return over_wsgi(app)


@pytest.fixture(autouse=True)
def _nobody_ends_the_process(monkeypatch):
    """A worker that is late would end its process, which is that of the tests."""
    monkeypatch.setattr(keeper, "LEAVE_SECONDS", 60.0)


@pytest.fixture
def stop():
    """What tells the worker to stop."""
    return threading.Event()


@pytest.fixture
def a_worker(app, stop, tmp_path):
    """Factory of workers on the same database, which compute as they are told."""
    with ExitStack() as workers:

        def make(compute=run.compute):
            worker = Worker(running(app).database, Settings(data=tmp_path), "one", stop, compute)
            return workers.enter_context(worker)

        yield make


@pytest.fixture
def one(a_worker):
    """A worker that computes as always."""
    return a_worker()


@pytest.fixture
def pair(calls):
    """A request to fit two curves to a library."""
    return {"training_id": calls.a_dataset()["id"], "ideal_id": calls.a_dataset(LIBRARY)["id"]}


def queued(calls, path, body):
    reply = calls.post(path, body, headers=LATER)
    assert (reply.status, reply.json["state"]) == (202, "queued"), reply.text
    return reply.headers["Location"]


def look_at(app, address, **values):
    """The row of a fit, some columns of it changed, and the time of the database."""
    with running(app).database.writing() as session:
        fit = find(session, Fit, address.rsplit("/", 1)[1])
        before = fit.not_before
        for name, value in values.items():
            setattr(fit, name, value)
        return before, jobs.read_clock(session)


def pauses_of(app, calls, one, address, other, count):  # noqa: PLR0917 - fixtures
    """Have a job set back so often, which lets another go ahead; least and most it can wait."""
    pauses = []
    for _ in range(count):
        _, earlier = look_at(app, address, not_before=None)
        with suppress(OperationalError):
            assert one.step()
        until, later = look_at(app, address)
        pauses.append(((until - later).total_seconds(), (until - earlier).total_seconds()))
        # On a busy machine a short pause would be over too soon.
        look_at(app, address, not_before=later + timedelta(seconds=50))
        assert one.step() == (len(pauses) == 1)
        assert calls.get(other).json["state"] == "succeeded"
    look_at(app, address, not_before=None)
    return pauses


def check_pauses(found, expected):
    for (least, most), seconds in zip(found, expected, strict=True):
        assert least <= seconds <= most


def failing(address, fail):
    """Compute every job but one."""

    def compute(session, job, *rest):
        if job.id in address:
            fail()
        return run.compute(session, job, *rest)

    return compute


def rows(app, model=FitMatch):
    with running(app).database.reading() as session:
        return session.scalars(select(func.count()).select_from(model)).one()


def same(record):
    return {name: value for name, value in record.items() if name not in CHOSEN_AFRESH}


def test_a_worker_finds_what_the_request_would_have_found(calls, pair, one):
    fits = [calls.made("/v1/fits", pair | {"top_k": 3})]
    address = queued(calls, "/v1/fits", pair | {"top_k": 3})
    assert one.step()
    fits.append(calls.get(address).json)
    assert same(fits[0]) == same(fits[1])
    body = {"fit_id": fits[0]["id"], "test_id": calls.a_dataset(POINTS)["id"]}
    mappings = [calls.made("/v1/mappings", body)]
    address = queued(calls, "/v1/mappings", body)
    assert one.step()
    mappings.append(calls.get(address).json)
    assert same(mappings[0]) == same(mappings[1])
    assert not one.step()


def test_curves_appended_while_a_fit_waits_are_not_in_it(calls, pair, one):
    address = queued(calls, "/v1/fits", pair)
    better = {"x": CURVES["x"], "better": CURVES["y1"]}
    assert calls.post(f"/v1/datasets/{pair['ideal_id']}/curves", {"columns": better}).status == 200
    one.step()
    record = calls.get(address).json
    assert record["n_ideal"] == 3
    assert [match["ideal"] for match in record["matches"]["items"]] == ["f1", "f2"]


def test_what_only_the_values_show_fails_with_the_same_problem(calls, one):
    gaps = {"x": [0.0, 1.0, 2.0], "f1": [1.0, None, None]}
    body = {
        "training_id": calls.a_dataset()["id"],
        "ideal_id": calls.a_dataset(gaps)["id"],
        "min_overlap": 0.9,
    }
    at_once = check_problem(calls.post("/v1/fits", body), 422)
    address = queued(calls, "/v1/fits", body)
    one.step()
    record = calls.get(address).json
    assert record["state"] == "failed"
    assert record["error"] | {"request_id": at_once["request_id"]} == at_once
    assert record["matches"]["items"] == []
    assert record["finished_at"]


def test_a_worker_without_work_asks_two_questions_at_a_look(app, one):
    """Idle workers look twice a second for as long as the service runs."""
    engine, asked = running(app).database.engine, []

    def note(_connection, _cursor, statement, *_):
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    assert not one.step()
    event.remove(engine, "before_cursor_execute", note)
    assert len([statement for statement in asked if statement != "BEGIN"]) == 2


@pytest.mark.parametrize("deed", ["cancel", "delete"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_job_that_is_called_off_stores_nothing(  # noqa: PLR0917 - fixtures
    app, calls, pair, a_worker, deed, when
):
    """Neither when it is called off before a piece is computed, nor when all are."""
    address = queued(calls, "/v1/fits", pair)

    def called_off():
        if deed == "cancel":
            assert calls.post(f"{address}/cancel").status == 202
        else:
            assert calls.delete(address).status == 204

    def interrupted(*arguments):
        if when == "before":
            called_off()
        answer = run.compute(*arguments)
        if when == "after":
            called_off()
        return answer

    one = a_worker(interrupted)
    assert one.step()
    assert rows(app) == 0
    reply = calls.get(address)
    if deed == "cancel":
        assert (reply.json["state"], reply.json["matches"]["items"]) == ("cancelled", [])
    else:
        assert reply.status == 404
    assert not one.step()


def test_a_mapping_that_is_taken_over_leaves_no_items(app, calls, a_worker):
    body = {"fit_id": calls.a_fit()["id"], "test_id": calls.a_dataset(POINTS)["id"]}
    address = queued(calls, "/v1/mappings", body)

    def overtaken(session, job, *arguments):
        answer = run.compute(session, job, *arguments)
        with running(app).database.writing() as other:
            jobs.release(other, type(job), "one")
        return answer

    assert a_worker(overtaken).step()
    assert rows(app, ItemBlock) == 0
    assert a_worker().step()
    assert rows(app, ItemBlock) == 1
    assert calls.get(address).json["state"] == "succeeded"


def test_a_job_is_given_up_after_five_attempts(calls, pair, a_worker):
    address = queued(calls, "/v1/fits", pair)

    def broken(*_):
        raise IndexError

    one = a_worker(broken)
    for _ in range(ATTEMPTS):
        assert calls.get(address).json["state"] == "queued"
        assert one.step()
    record = calls.get(address).json
    assert record["state"] == "failed"
    assert record["error"]["status"] == 500
    assert "IndexError" in record["error"]["detail"]
    assert not one.step()


def test_a_job_that_kills_its_workers_is_given_up_too(app, calls, pair, one):
    address = queued(calls, "/v1/fits", pair)
    database = running(app).database
    for _ in range(ATTEMPTS):
        with database.writing() as session:
            assert lanes.claim(session, JOBS, "dead", 30.0)
        with database.writing() as session:
            jobs.release(session, Fit, "dead")
    assert one.step()
    record = calls.get(address).json
    assert (record["state"], record["error"]["status"]) == ("failed", 500)
    assert "died" in record["error"]["detail"]


def no_memory():
    raise MemoryError


def no_room():
    raise OSError(errno.ENOSPC, "No space left on device")


def no_room_in_sqlite():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise OperationalError("INSERT", {}, error)


def away():
    raise OperationalError("SELECT", {}, Exception("gone"))


@pytest.fixture
def two(calls, pair):
    """Addresses of two jobs that wait."""
    return [queued(calls, "/v1/fits", pair) for _ in range(2)]


def test_lack_of_memory_is_tried_again_after_longer_and_longer_pauses(app, calls, two, a_worker):
    one = a_worker(failing(two[0], no_memory))
    check_pauses(pauses_of(app, calls, one, *two, ATTEMPTS - 1), [10, 20, 40, 60])
    assert one.step()
    record = calls.get(two[0]).json
    assert record["state"] == "failed"
    assert "MemoryError" in record["error"]["detail"]
    assert "pauses" in record["error"]["detail"]


@pytest.mark.parametrize(
    ("fail", "pauses"),
    [
        (no_room, [1, 2, 4, 8, 16, 32, 60, 60]),
        (no_room_in_sqlite, [1, 2, 4, 8, 16, 32, 60, 60]),
        (away, [0.5, 1, 2, 4, 5, 5, 5, 5]),
    ],
)
def test_trouble_with_a_disk_or_the_database_is_no_attempt_and_lets_others_go_ahead(  # noqa: PLR0917 - fixtures
    app, calls, two, a_worker, fail, pauses
):
    one = a_worker(failing(two[0], fail))
    check_pauses(pauses_of(app, calls, one, *two, len(pauses)), pauses)
    assert a_worker().step()
    assert calls.get(two[0]).json["state"] == "succeeded"


def test_what_a_lost_connection_left_claimed_is_queued_again(app, calls, pair, one, stop):
    """The database took the job for ours, and the answer never came."""
    address = queued(calls, "/v1/fits", pair)
    database, step, steps = running(app).database, one.step, []

    def cut_off():
        steps.append(1)
        if len(steps) == 1:
            with database.writing() as session:
                assert lanes.claim(session, JOBS, "one", 600.0)
            raise OperationalError("COMMIT", {}, Exception("gone"))
        # Told to stop any sooner, it would hand back a job that takes long on a busy machine.
        done = step()
        stop.set()
        return done

    one.step = cut_off
    one.run()
    assert calls.get(address).json["state"] == "succeeded"


def test_a_worker_told_to_stop_hands_its_job_back_at_once(  # noqa: PLR0917 - fixtures
    app, calls, pair, a_worker, stop, monkeypatch
):
    address = queued(calls, "/v1/fits", pair)
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.01)

    def stopped(_session, _job, _spool, progress, _tools):
        stop.set()
        # As long as pieces take, until one notices.
        while True:
            progress(0, 3)

    assert a_worker(stopped).step()
    with running(app).database.reading() as session:
        fit = find(session, Fit, address.rsplit("/", 1)[1])
        assert (fit.state, fit.attempt, fit.owner) == ("queued", 0, None)
    stop.clear()
    assert a_worker().step()
    assert calls.get(address).json["state"] == "succeeded"


def test_progress_is_told_while_a_job_runs(calls, pair, a_worker, monkeypatch):
    address = queued(calls, "/v1/fits", pair)
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(keeper, "TELL_SECONDS", 0.0)
    seen = []

    def slow(session, job, spool, progress, tools):
        for done in (1, 2):
            progress(done, 3)
            while (record := calls.get(address)).json["progress"]["done"] < done:
                pass
            seen.append((record.json["progress"]["done"], record.etag))
        return run.compute(session, job, spool, progress, tools)

    a_worker(slow).step()
    last = calls.get(address)
    seen.append((last.json["progress"]["done"], last.etag))
    assert [done for done, _ in seen] == [1, 2, 3]
    assert len({etag for _, etag in seen}) == 3
