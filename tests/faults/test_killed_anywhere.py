"""Killing a process between any two statements leaves the old state or the new one."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from multiprocessing import get_context

import pytest
from sqlalchemy import Engine, event, func, select

from api.app import create_app
from api.config import Settings
from api.jobs.kinds import FITS, JOBS, MAPPINGS
from api.jobs.run import submit
from api.jobs.worker import Worker
from api.running import running
from api.schemas.fits import FitRequest
from api.schemas.mappings import MappingRequest
from api.store import jobs
from api.store.base import Database
from api.store.datasets import Dataset, add_dataset
from api.store.fits import Fit, FitMatch
from api.store.mappings import ItemBlock, Mapping
from services.files import Source
from tests.calls import CURVES, LIBRARY, over_wsgi
from tests.factories import a_table
from tests.faults.conftest import THOROUGH_PLACES

pytestmark = pytest.mark.slow

SOURCE = Source("json", None, None, None, None)
CHILDREN = get_context("forkserver")
CHILDREN.set_forkserver_preload([__name__])


def die_at(point):
    """SIGKILL this process before the statement or commit of that number."""
    numbers = itertools.count(1)

    def passed(*_):
        if next(numbers) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", passed)
    event.listen(Engine, "commit", passed)


def survived(deed, *arguments):
    """Whether a process that does a deed comes to its end."""
    child = CHILDREN.Process(target=deed, args=arguments)
    child.start()
    child.join()
    assert child.exitcode in {0, -signal.SIGKILL}
    return child.exitcode == 0


def work(url, folder, point):
    """Do the job whose turn it is."""
    die_at(point)
    with Worker(Database(url), Settings(data=folder), "doomed", threading.Event()) as worker:
        worker.step()


def call(url, folder, point, method, path, body, headers):  # noqa: PLR0917 - of one request
    """Make one request."""
    app = create_app(Settings(data=folder, database_url=url))
    die_at(point)
    assert over_wsgi(app)(method, path, json_body=body, headers=headers).status < 300


@pytest.fixture(params=THOROUGH_PLACES)
def database_url(request, new_database_url):
    """URL of a migrated database, on each engine in turn."""
    return new_database_url(request.param)


@pytest.fixture
def app(database_url, tmp_path):
    """An application on this database."""
    app = create_app(Settings(data=tmp_path, database_url=database_url))
    yield app
    running(app).database.close()


@pytest.fixture
def curves(database):
    """Ids of a training dataset and a library."""
    with database.writing() as session:
        return [
            add_dataset(session, a_table(*columns.values()), SOURCE, name="curves").id
            for columns in (CURVES, LIBRARY)
        ]


def counts(database):
    with database.reading() as session:
        return {
            model.__name__: session.scalars(select(func.count()).select_from(model)).one()
            for model in (Dataset, Fit, FitMatch, Mapping, ItemBlock)
        }


def states(database):
    """State and number of rows of each job."""
    rows = {Fit: FitMatch.fit_id, Mapping: ItemBlock.mapping_id}
    with database.reading() as session:
        return {
            job.id: (job.state, session.scalars(select(func.count()).where(key == job.id)).one())
            for model, key in rows.items()
            for job in session.scalars(select(model))
        }


@pytest.mark.parametrize("kind", ["fit", "mapping"])
def test_a_worker_killed_at_any_point(database, database_url, curves, tmp_path, kind):
    body = dict(zip(("training_id", "ideal_id"), curves, strict=True))
    fit = submit(database, FITS, FitRequest().load(body))
    kind_of_job, request = FITS, FitRequest().load(body)
    if kind == "mapping":
        body = {"fit_id": fit.id, "test_id": curves[0]}
        kind_of_job, request = MAPPINGS, MappingRequest().load(body)
    undisturbed = submit(database, kind_of_job, request).id
    whole = states(database)[undisturbed]
    for point in itertools.count(1):
        job = submit(database, kind_of_job, request, most_seconds=-1.0).id
        ended = survived(work, database_url, tmp_path, point)
        state, rows = states(database)[job]
        assert (state, rows) in {whole, ("queued", 0), ("running", 0)}
        with database.writing() as session:
            for model in JOBS:
                jobs.release(session, model, "doomed")
        with Worker(database, Settings(data=tmp_path), "next", threading.Event()) as worker:
            worker.step()
        assert states(database)[job] == whole
        if ended:
            break
    assert point > 8


WRITES = {
    "a dataset": ("POST", "/v1/datasets", {"name": "new", "columns": CURVES}),
    "more curves": (
        "POST",
        "/v1/datasets/{0}/curves",
        {"columns": {"x": CURVES["x"], "z": [1.0] * 3}},
    ),
    "a fit": ("POST", "/v1/fits", {"training_id": "{0}", "ideal_id": "{1}"}),
    "no dataset": ("DELETE", "/v1/datasets/{0}", None),
}
"""Requests that write, with the ids of both datasets to be put in."""

MORE = {
    "a dataset": {"Dataset": 1},
    "more curves": {},
    "a fit": {"Fit": 1, "FitMatch": 2},
    "no dataset": {"Dataset": -1},
}
"""Records that there are more when all is done."""


@pytest.mark.parametrize("what", WRITES)
def test_a_request_killed_at_any_point(  # noqa: PLR0917 - fixtures
    app, database, database_url, curves, tmp_path, what
):
    method, path, body = WRITES[what]
    path = path.format(*curves)
    body = body and {
        key: value.format(*curves) if isinstance(value, str) else value
        for key, value in body.items()
    }
    calls = over_wsgi(app)

    def seen():
        """All that tells the old state from the new; half a state is an error."""
        records = [record for page in calls.pages("/v1/datasets") for record in page]
        for record in records:
            names = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
            assert len(names) == record["n_curves"]
            assert len(calls.values(record["id"])) == record["n_curves"] + 1
        fits = [record for page in calls.pages("/v1/fits") for record in page]
        matches = [calls.get(f"/v1/fits/{record['id']}/matches").json for record in fits]
        assert all(len(found["items"]) == 2 for found in matches)
        return counts(database), [record["sha256"] for record in records]

    before = seen()
    for point in itertools.count(1):
        ended = survived(call, database_url, tmp_path, point, method, path, body, {})
        after = seen()
        if ended or after != before:
            break
    more = {name: count - before[0][name] for name, count in after[0].items()}
    assert {name: count for name, count in more.items() if count} == MORE[what]
    assert after != before
    assert point > 3
