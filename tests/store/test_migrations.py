"""Migrations from empty, down and up again give the schema of the models."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from api.jobs.kinds import FITS, JOBS
from api.jobs.run import submit
from api.schemas.datasets import DatasetReply
from api.schemas.files import SourceReply
from api.schemas.fits import FitRequest
from api.store import jobs, lanes
from api.store.base import Base, find
from api.store.datasets import Dataset, add_dataset
from api.store.fits import Fit, match_dict, read_chosen, read_page_of_matches
from api.store.migrate import is_current, migrate
from services.files import Source
from tests.factories import a_table

SOURCE = Source("json", None, None, None, None)


def differences(database):
    with database.reading() as session:
        return compare_metadata(MigrationContext.configure(session.connection()), Base.metadata)


def test_the_migrated_schema_is_that_of_the_models(database):
    assert differences(database) == []
    assert is_current(database)


def test_down_leaves_nothing_and_up_again_gives_the_same(database):
    migrate(database, "base")
    assert not is_current(database)
    with database.reading() as session:
        assert inspect(session.connection()).get_table_names() == ["alembic_version"]
    migrate(database)
    assert differences(database) == []


def test_migrating_twice_changes_nothing(database):
    migrate(database)
    assert is_current(database)


STATES = ["queued", "running", "succeeded", "failed", "cancelled"]


def test_jobs_go_down_and_up_and_none_waits_for_workers_that_are_not_there(database):
    with database.writing() as session:
        curves = add_dataset(session, a_table([1.0], [2.0]), SOURCE, name="curves").id
    body = FitRequest().load({"training_id": curves, "ideal_id": curves})
    fits = {state: submit(database, FITS, body).id for state in STATES}
    with database.writing() as session:
        for state, identifier in fits.items():
            find(session, Fit, identifier).state = state
    migrate(database, "0002")
    with database.reading() as session:
        found = dict(session.execute(text("SELECT id, state FROM fits")).all())
    assert [found[fits[state]] for state in STATES] == ["cancelled", "cancelled", *STATES[2:]]
    migrate(database)
    with database.reading() as session:
        for state, identifier in fits.items():
            fit = find(session, Fit, identifier)
            assert fit.state == found[identifier]
            assert (fit.attempt, fit.owner, fit.lease_until) == (0, None, None)
            assert fit.finished_at
            assert fit.version == (3 if state in STATES[:2] else 2 if state != "succeeded" else 1)
            assert len(read_chosen(session, fit)) == 1


def test_older_fits_have_any_sign_and_no_figures_that_were_not_computed(database):
    with database.writing() as session:
        curves = add_dataset(session, a_table([1.0, 2.0], [2.0, 3.0]), SOURCE, name="curves").id
    body = FitRequest().load({"training_id": curves, "ideal_id": curves})
    identifier = submit(database, FITS, body).id
    names = ("correlation", "cosine", "margin", "warnings")

    def read():
        with database.reading() as session:
            fit = find(session, Fit, identifier)
            (match,) = read_page_of_matches(session, fit, {}).items
            return fit.sign, [match_dict(match)[name] for name in names]

    assert read() == ("any", [pytest.approx(1), 1, None, []])
    migrate(database, "0011")
    migrate(database)
    assert read() == ("any", [None] * 4)


def test_jobs_from_before_the_lanes_are_large_and_of_one_more_client(database):
    with database.writing() as session:
        curves = add_dataset(session, a_table([1.0], [2.0]), SOURCE, name="curves").id
    body = FitRequest().load({"training_id": curves, "ideal_id": curves})
    for _ in range(3):
        fits = [
            submit(database, FITS, body, client="192.0.2.1", most_seconds=seconds)
            for seconds in (-1.0, 1.0)
        ]
        assert {(fit.client, fit.lane) for fit in fits} == {("192.0.2.1", "small")}
        with database.writing() as session:
            taken = lanes.claim(session, JOBS, "one", 30.0)
        migrate(database, "0004")
        migrate(database)
        with database.reading() as session:
            found = [find(session, Fit, fit.id) for fit in fits]
        assert [fit.state for fit in found] == ["running", "succeeded"]
        for fit in found:
            assert (fit.client, fit.cost, fit.lane) == ("", 0.0, "large")
            assert (fit.not_before, fit.setbacks) == (None, 0)
        assert taken.id == fits[0].id
        with database.writing() as session:
            jobs.end(session, taken, "failed")
    assert differences(database) == []


def test_datasets_from_before_know_whether_their_x_is_a_grid(database):
    nan = float("nan")
    columns = {
        "grid": [3.0, 1.0, 2.0],
        "one": [1.0],
        "repeated": [1.0, 2.0, 1.0],
        "zeros": [0.0, -0.0],
        "gap": [1.0, nan],
        "no x": [nan],
    }
    with database.writing() as session:
        for name, x in columns.items():
            add_dataset(session, a_table(x, x), SOURCE, name=name)
    migrate(database, "0010")
    migrate(database)
    with database.reading() as session:
        found = {each.name: each.is_grid for each in session.scalars(select(Dataset))}
    assert found == {name: name in {"grid", "one"} for name in columns}


def test_datasets_from_before_have_a_source_with_all_fields(database):
    """Versions before knew less of how a file was read."""
    with database.writing() as session:
        dataset = add_dataset(session, a_table([1.0], [1.0]), SOURCE, name="old")
        dataset.source = {"format": "csv", "delimiter": ";"}
    with database.reading() as session:
        (found,) = session.scalars(select(Dataset))
        source = DatasetReply().dump(found)["source"]
    assert source.keys() == SourceReply().dump_fields.keys()
    assert (source["format"], source["delimiter"], source["thousands"]) == ("csv", ";", None)
    assert (source["skipped"], source["files"]) == ((), None)
