"""The order of jobs: clients share the workers, lanes alternate, and nobody starves."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select, text, update

from api.jobs.kinds import FITS, JOBS, MAPPINGS
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.schemas.mappings import MappingRequest
from api.store import jobs, lanes
from api.store.base import new_id
from api.store.datasets import add_dataset
from api.store.fits import Fit
from api.store.jobs import LARGE, SMALL
from api.store.lanes import TURNS_KEPT, Turn
from api.store.mappings import Mapping
from services.files import Source
from tests.factories import a_table

SOURCE = Source("json", None, None, None, None)


class Queue:
    """A queue of jobs whose lane is given, and workers that take them and end them."""

    def __init__(self, database):
        self.database = database
        self.clients, self.lanes = {}, {}
        with database.writing() as session:
            table = a_table([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])
            curves = add_dataset(session, table, SOURCE, name="curves").id
        body = FitRequest().load({"training_id": curves, "ideal_id": curves})
        fit = submit(database, FITS, body)
        mapping = MappingRequest().load({"fit_id": fit.id, "test_id": curves})
        self.bodies = {Fit: (FITS, body), Mapping: (MAPPINGS, mapping)}

    def add(self, client, lane, count=1, model=Fit):
        """Queue some jobs; their ids."""
        with self.database.reading() as session:
            kind, body = self.bodies[model]
            row = kind.plan(session, body).job.as_dict()
        row = {column.key: row.get(column.key) for column in model.__table__.columns}
        row |= {"client": client, "lane": lane, "cost": 0.0, "setbacks": 0, "version": 1}
        rows = [row | {"id": new_id()} for _ in range(count)]
        for number, one in enumerate(rows):
            one["created_at"] += timedelta(microseconds=number)
            self.clients[one["id"]], self.lanes[one["id"]] = client, lane
        with self.database.writing() as session:
            session.execute(insert(model), rows)
        return [one["id"] for one in rows]

    def take(self, owner="me"):
        with self.database.writing() as session:
            return lanes.claim(session, JOBS, owner, 30.0)

    def end(self, claim):
        with self.database.writing() as session:
            jobs.end(session, claim, "succeeded")

    def work(self):
        """Take and end one job after the other, as a single worker; the claims."""
        while claim := self.take():
            self.end(claim)
            yield claim

    def of(self, claims):
        """Clients and lanes of claims."""
        return [(self.clients[claim.id], self.lanes[claim.id]) for claim in claims]


@pytest.fixture
def queue(database):
    """An empty queue, on each engine in turn."""
    return Queue(database)


def test_a_small_job_of_another_client_waits_for_one_job_only(queue):
    queue.add("A", LARGE, 60)
    first = [queue.take() for _ in range(2)]
    (small,) = queue.add("B", SMALL)
    queue.end(first[0])
    assert queue.take().id == small


def test_a_large_job_of_another_client_gets_the_next_free_worker(queue):
    queue.add("A", LARGE, 60)
    running = deque(queue.take() for _ in range(2))
    added = queue.add("B", LARGE, 60)
    queue.end(running.popleft())
    running.append(queue.take())
    assert running[-1].id == added[0]
    # From here on each of them has one of the two workers.
    for _ in range(6):
        queue.end(running.popleft())
        running.append(queue.take())
        assert sorted(client for client, _ in queue.of(running)) == ["A", "B"]


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.thorough), 4])
def test_no_client_begins_a_job_beyond_half_of_the_workers_while_another_waits(queue, workers):
    queue.add("A", SMALL, 10, Mapping)
    queue.add("A", LARGE, 10)
    queue.add("B", LARGE, 5)
    running = deque(queue.take() for _ in range(workers))
    waiting = Counter(queue.clients.values()) - Counter(c for c, _ in queue.of(running))
    while waiting["B"]:
        held = Counter(client for client, _ in queue.of(running))
        assert max(held.values()) <= (workers + 1) // 2
        queue.end(running.popleft())
        running.append(claim := queue.take())
        waiting[queue.clients[claim.id]] -= 1
    # With nobody else there, A has them all.
    running.extend(filter(None, [queue.take() for _ in range(workers - len(running))]))
    for _ in range(2 * workers):
        queue.end(running.popleft())
        running.append(queue.take())
    assert {client for client, _ in queue.of(running)} == {"A"}


def test_with_one_worker_clients_take_turns(queue):
    queue.add("A", LARGE, 4)
    queue.add("B", LARGE, 2)
    queue.add("C", LARGE, 2)
    order = "".join(client for client, _ in queue.of(queue.work()))
    assert order == "ABCABCAA"


def test_with_one_worker_lanes_take_turns(queue):
    queue.add("A", LARGE, 3)
    queue.add("A", SMALL, 6)
    order = [lane for _, lane in queue.of(queue.work())]
    assert order[:6] in ([LARGE, SMALL] * 3, [SMALL, LARGE] * 3)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.thorough), 3])
def test_a_stream_of_small_jobs_does_not_stop_a_large_one(queue, workers):
    queue.add("A", SMALL, 10)
    running = deque(queue.take() for _ in range(workers))
    (large,) = queue.add("B", LARGE)
    taken = []
    for _ in range(3):
        queue.add("C", SMALL)
        queue.end(running.popleft())
        running.append(queue.take())
        taken.append(running[-1].id)
    assert large in taken


def test_a_client_that_deletes_its_jobs_gets_no_more_turns(queue, database):
    """What is remembered of turns does not go with the jobs."""
    queue.add("A", LARGE, 6)
    queue.add("B", LARGE, 3)
    order = []
    for claim in queue.work():
        order.append(queue.clients[claim.id])
        if queue.clients[claim.id] == "A":
            with database.writing() as session:
                session.delete(session.get(Fit, claim.id))
    assert order == list("ABABABAAA")


def test_many_who_ask_at_once_keep_the_shares(queue):
    """A worker sees what others took a moment before."""
    queue.add("A", LARGE, 20)
    queue.add("B", LARGE, 20, Mapping)
    taken, barrier = [], threading.Barrier(6)

    def ask(name):
        barrier.wait()
        taken.append(queue.take(name))

    threads = [threading.Thread(target=ask, args=(f"worker {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(client for client, _ in queue.of(taken)) == {"A": 3, "B": 3}


def test_one_that_is_stopped_while_it_chooses_stops_nobody(queue, database, monkeypatch):
    if database.sqlite:
        pytest.skip("SQLite has one writer.")
    monkeypatch.setattr(lanes, "TRY_SECONDS", 0.0)
    queue.add("A", LARGE, 2)
    with database.writing() as session:
        assert lanes.claim(session, JOBS, "stopped", 30.0)
        assert queue.take("other")


def test_who_pauses_lets_others_go_ahead(queue, database):
    (first,) = queue.add("A", SMALL)
    (second,) = queue.add("A", SMALL)
    with database.writing() as session:
        later = jobs.read_clock(session) + timedelta(seconds=30)
        session.execute(update(Fit).where(Fit.id == first).values(not_before=later))
    assert queue.take().id == second
    assert queue.take() is None
    with database.reading() as session:
        assert not lanes.is_any_due(session, JOBS)
    with database.writing() as session:
        past = jobs.read_clock(session) - timedelta(seconds=1)
        session.execute(update(Fit).where(Fit.id == first).values(not_before=past))
    assert queue.take().id == first


def test_a_pause_from_before_the_clock_was_put_back_is_over(queue, database):
    (first,) = queue.add("A", SMALL)
    with database.writing() as session:
        later = jobs.read_clock(session) + timedelta(hours=1)
        session.execute(update(Fit).where(Fit.id == first).values(not_before=later))
    assert queue.take().id == first


def test_only_the_last_turns_are_remembered(queue, database):
    with database.writing() as session:
        rows = [{"lane": SMALL, "client": f"c{i}", "turn": i} for i in range(1, 3001)]
        session.execute(insert(Turn), rows)
    queue.add("A", SMALL)
    assert queue.take()
    with database.reading() as session:
        turns = session.scalars(select(Turn.turn)).all()
    assert (len(turns), min(turns), max(turns)) == (TURNS_KEPT, 3001 - TURNS_KEPT + 1, 3001)


class TestManyJobs:
    """A claim does not read the queue, however long it is."""

    @pytest.fixture
    def long_queue(self, queue, database):
        queue.add("A", LARGE, 10_000)
        queue.add("A", SMALL, 100, Mapping)
        queue.add("B", SMALL)
        with database.writing() as session:
            session.execute(text("ANALYZE"))
        return queue

    def test_it_goes_from_client_to_client_by_the_index(self, long_queue, database):
        statements = statements_of(database, long_queue.take)
        assert any("clients_0_small" in sql for sql, _ in statements)
        for sql, parameters in statements:
            if "fits" in sql:
                plan = explain(database, sql, parameters)
                assert "ix_fits_state_lane_client" in plan or "ix_fits_state_created_at" in plan
                assert "SCAN fits" not in plan
                assert "Seq Scan on fits" not in plan

    def test_ten_thousand_jobs_cost_about_what_ten_do(self, long_queue, database):
        """In rows that the database reads, or in steps that it takes."""
        long = steps_of(database, long_queue.take)
        with database.writing() as session:
            few = select(Fit.id).where(Fit.state == "queued", Fit.lane == LARGE).limit(9_990)
            session.execute(update(Fit).where(Fit.id.in_(few)).values(state="cancelled"))
        short = steps_of(database, long_queue.take)
        assert long < 3 * short


def statements_of(database, deed):
    """What a deed asks the database."""
    found = []

    def note(_connection, _cursor, statement, parameters, *_):
        found.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    deed()
    event.remove(database.engine, "before_cursor_execute", note)
    return [
        (sql, parameters)
        for sql, parameters in found
        if sql.startswith(("SELECT", "WITH", "UPDATE"))
    ]


def explain(database, sql, parameters):
    prefix = "EXPLAIN QUERY PLAN " if database.sqlite else "EXPLAIN "
    with database.writing() as session:
        rows = session.connection().exec_driver_sql(prefix + sql, parameters).all()
        session.rollback()
    return "\n".join(str(row[-1]) for row in rows)


def steps_of(database, deed):
    """How much the database does for a claim: steps of SQLite, or the cost PostgreSQL expects."""
    if not database.sqlite:
        plans = [explain(database, *one) for one in statements_of(database, deed)]
        return sum(float(plan.split("..", 1)[1].split(" ", 1)[0]) for plan in plans)
    steps = itertools.count()
    with database.writing() as session:
        raw = session.connection().connection.driver_connection
        raw.set_progress_handler(lambda: next(steps) and 0, 10)
        assert lanes.claim(session, JOBS, "me", 30.0)
        raw.set_progress_handler(None, 0)
    return next(steps)
