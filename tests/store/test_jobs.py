"""The owner of a job: claims, leases, attempts, and writes that come too late."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import update

from api.jobs.kinds import FITS, JOBS, MAPPINGS
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.schemas.mappings import MappingRequest
from api.store import jobs, lanes
from api.store.base import NotReady, find
from api.store.datasets import add_dataset
from api.store.fits import Fit
from api.store.jobs import ATTEMPTS, Lost
from api.store.leases import Watch, take_back
from api.store.mappings import Mapping
from services.files import Source
from tests.factories import a_table

NEVER = -1.0


@pytest.fixture
def curves(database):
    """Id of a dataset."""
    with database.writing() as session:
        return add_dataset(
            session,
            a_table([1.0, 2.0, 3.0], [1.0, 4.0, 9.0]),
            Source("json", None, None, None, None),
            name="curves",
        ).id


@pytest.fixture
def queue(database, curves):
    """Factory of jobs that wait, of each kind asked for; their ids in the order made."""
    body = {"training_id": curves, "ideal_id": curves}
    fit = submit(database, FITS, FitRequest().load(body))
    bodies = {
        Fit: (FITS, FitRequest().load(body)),
        Mapping: (MAPPINGS, MappingRequest().load({"fit_id": fit.id, "test_id": curves})),
    }

    def make(*kinds):
        return [submit(database, *bodies[kind], most_seconds=NEVER).id for kind in kinds]

    return make


def take(database, owner="me", lease=30.0):
    """Claim the job whose turn it is, as a worker does."""
    with database.writing() as session:
        return lanes.claim(session, JOBS, owner, lease)


def record(database, claim):
    with database.reading() as session:
        return find(session, claim.model, claim.id)


class Watcher:
    """Takes back what is abandoned, by a clock of its own that tests put forward."""

    def __init__(self, database, lease=30.0):
        self.database = database
        self.now = 0.0
        self.watch = Watch(lease, lambda: self.now)
        self.look()

    def look(self, later=0.0):
        """Look after some seconds; how many jobs are taken back."""
        self.now += later
        with self.database.writing() as session:
            abandoned = self.watch.abandoned(session, JOBS)
            for lease in abandoned:
                take_back(session, lease)
        return len(abandoned)


def set_job(database, claim, **values):
    """Change columns of one job."""
    with database.writing() as session:
        statement = update(claim.model).where(claim.model.id == claim.id).values(**values)
        session.execute(statement)


def test_first_come_first_served_whatever_the_kind(database, queue):
    made = queue(Fit, Mapping, Mapping, Fit, Mapping)
    assert [take(database).id for _ in made] == made
    assert take(database) is None


def test_a_job_goes_to_one_of_many_who_ask_at_once(database, queue):
    made = queue(*[Fit, Mapping] * 3)
    taken, barrier = [], threading.Barrier(8)

    def ask(name):
        barrier.wait()
        while claim := take(database, name):
            taken.append(claim.id)

    threads = [threading.Thread(target=ask, args=(f"worker {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Who was overtaken by all others may give up early, but nobody gets what another has.
    assert len(taken) == len(set(taken))
    while claim := take(database):
        taken.append(claim.id)
    assert sorted(taken) == sorted(made)


def test_a_job_is_left_alone_as_long_as_its_lease_is_renewed(database, queue):
    queue(Fit)
    claim = take(database)
    watcher = Watcher(database)
    for _ in range(3):
        with database.writing() as session:
            assert jobs.renew(session, claim, 30.0)
        assert watcher.look(later=29.0) == 0
        assert take(database, "other") is None
    assert watcher.look(later=31.0) == 1
    assert take(database, "other").attempt == 2


def test_a_lease_renewed_after_the_look_is_not_taken_back(database, queue):
    queue(Fit)
    claim = take(database)
    watcher = Watcher(database)
    watcher.now = 31.0
    with database.reading() as session:
        (lease,) = watcher.watch.abandoned(session, JOBS)
    with database.writing() as session:
        assert jobs.renew(session, claim, 30.0)
    with database.writing() as session:
        take_back(session, lease)
    assert record(database, claim).state == "running"


def test_who_was_overtaken_writes_nothing(database, queue):
    queue(Fit)
    late = take(database, "late")
    assert Watcher(database).look(later=31.0) == 1
    assert take(database, "late").attempt == late.attempt + 1
    before = record(database, late)
    with pytest.raises(Lost), database.writing() as session:
        jobs.end(session, late, "succeeded")
    with database.writing() as session:
        assert not jobs.renew(session, late, 30.0, done=1)
        assert not jobs.hand_back(session, late, counted=True)
        assert not jobs.is_held(session, late)
    assert record(database, late).as_dict() == before.as_dict()


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_job_ends_once(database, queue, end):
    queue(Mapping)
    claim = take(database)
    with database.writing() as session:
        jobs.end(session, claim, end)
    with pytest.raises(Lost), database.writing() as session:
        jobs.end(session, claim, "succeeded")
    ended = record(database, claim)
    assert (ended.state, ended.owner, ended.lease_until) == (end, None, None)
    assert ended.created_at <= ended.started_at <= ended.finished_at
    assert take(database) is None


def test_progress_never_goes_back_and_is_a_new_version(database, queue):
    queue(Fit)
    seen = []
    for _ in range(2):
        claim = take(database)
        for done in (1, 3, 2):
            with database.writing() as session:
                assert jobs.renew(session, claim, 30.0, done=done)
            seen.append((record(database, claim).done, record(database, claim).version))
        with database.writing() as session:
            assert jobs.hand_back(session, claim, counted=True)
    assert [done for done, _ in seen] == [1, 3, 3, 3, 3, 3]
    assert sorted({version for _, version in seen}) == [version for _, version in seen]


@pytest.mark.parametrize(("counted", "attempt"), [(True, 2), (False, 1)])
def test_a_job_handed_back_goes_to_the_next_at_once(database, queue, counted, attempt):
    queue(Fit)
    claim = take(database)
    with database.writing() as session:
        assert jobs.hand_back(session, claim, counted=counted)
    assert take(database, "other").attempt == attempt


def test_what_a_dead_worker_held_is_released_and_nothing_else(database, queue):
    queue(Fit, Fit)
    dead, alive = take(database, "dead"), take(database, "alive")
    with database.writing() as session:
        jobs.release(session, Fit, "dead")
    assert record(database, dead).state == "queued"
    assert record(database, alive).state == "running"
    assert take(database, "dead").attempt == 2


@pytest.mark.parametrize("running", [False, True])
def test_a_cancelled_job_is_nobodys(database, queue, running):
    (identifier,) = queue(Fit)
    claim = take(database) if running else None
    with database.writing() as session:
        jobs.cancel(session, find(session, Fit, identifier, lock=True))
    assert take(database) is None
    if claim:
        with database.writing() as session:
            assert not jobs.is_held(session, claim)
    with pytest.raises(NotReady), database.writing() as session:
        jobs.cancel(session, find(session, Fit, identifier, lock=True))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_takes_no_job_and_keeps_none(database, queue, hours):
    """Neither a worker whose clock was put forward or back, nor one that watches it."""
    queue(Fit)
    claim = take(database)
    step = timedelta(hours=hours)
    set_job(database, claim, lease_until=record(database, claim).lease_until + step)
    watcher = Watcher(database)
    for _ in range(2 * ATTEMPTS):
        assert watcher.look(later=1.0) == 0
    assert take(database, "other") is None
    assert watcher.look(later=31.0) == 1
    assert take(database, "other").attempt == 2


def test_times_are_in_order_when_the_clock_is_put_back(database, queue):
    queue(Fit, Fit)
    with database.writing() as session:
        ahead = jobs.read_clock(session) + timedelta(hours=1)
        session.execute(update(Fit).where(Fit.state == "queued").values(created_at=ahead))
    done, called_off = take(database), take(database)
    with database.writing() as session:
        jobs.end(session, done, "succeeded")
        jobs.cancel(session, find(session, Fit, called_off.id, lock=True))
    for claim in (done, called_off):
        job = record(database, claim)
        assert job.created_at <= job.started_at <= job.finished_at


def test_a_running_job_without_a_lease_is_taken_back_too(database, queue):
    queue(Fit)
    claim = take(database)
    set_job(database, claim, lease_until=None, owner=None)
    assert Watcher(database).look(later=31.0) == 1
    assert take(database).attempt == 2
