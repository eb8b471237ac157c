"""The space of deleted records returns to the disk while the service runs."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from api.config import Settings
from api.jobs.worker import Worker
from api.running import running
from api.store import vacuum
from api.store.base import Database
from api.store.vacuum import give_back
from tests.calls import over_wsgi

ROWS = 32_000
# Numbers that cannot be narrowed.
LARGE = {f"y{number}": [1e300] * ROWS for number in range(63)} | {"x": list(range(ROWS))}


def size(database):
    return Path(database.url.database).stat().st_size


@pytest.fixture
def sqlite(new_database_url):
    """An empty database on SQLite."""
    database = Database(new_database_url("sqlite"))
    yield database
    database.close()


def fill(database, mebibytes):
    """Write so much, which nobody needs any more."""
    with database.writing() as session:
        connection = session.connection()
        connection.exec_driver_sql("CREATE TABLE junk (data BLOB)")
        for _ in range(mebibytes):
            connection.exec_driver_sql("INSERT INTO junk VALUES (zeroblob(1048576))")
    with database.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE junk")
    database.settle()


def test_the_file_becomes_shorter_a_step_at_a_time(sqlite):
    before = size(sqlite)
    fill(sqlite, 20)
    assert size(sqlite) > before + (20 << 20)
    steps = 0
    while give_back(sqlite):
        steps += 1
    assert steps * vacuum.STEP_BYTES == pytest.approx(16 << 20, abs=vacuum.STEP_BYTES)
    assert size(sqlite) < before + vacuum.LEAST_BYTES + vacuum.STEP_BYTES
    with closing(sqlite3.connect(sqlite.url.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_whoever_writes_comes_first(sqlite):
    fill(sqlite, 8)
    before = size(sqlite)
    with sqlite.writing() as session:
        session.connection()
        assert not give_back(sqlite)
    assert give_back(sqlite)
    sqlite.settle()
    assert size(sqlite) == before - vacuum.STEP_BYTES


def test_a_new_connection_reads_while_somebody_writes(sqlite):
    with sqlite.writing() as session:
        session.connection()
        reader = Database(sqlite.url)
        # Saying auto_vacuum again took the right to write, so this waited for ten seconds.
        with reader.reading() as other:
            other.connection().exec_driver_sql("SELECT count(*) FROM datasets")
        reader.close()


def test_a_file_without_the_map_of_its_pages_stays_as_it_is(tmp_path):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size=16384")
        connection.execute("CREATE TABLE old (a)")
    database = Database(f"sqlite:///{path}")
    fill(database, 8)
    assert not give_back(database)
    database.close()


@pytest.mark.slow
def test_a_worker_without_work_gives_back_what_was_deleted(app, tmp_path):
    database = running(app).database
    if not database.sqlite:
        pytest.skip("PostgreSQL reuses its room by itself")
    calls = over_wsgi(app)
    kept = calls.a_dataset()
    calls.delete(f"/v1/datasets/{calls.a_dataset(LARGE)['id']}")
    database.settle()
    before = size(database)
    stop = threading.Event()
    worker = Worker(database, Settings(data=tmp_path), "one", stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        for _ in range(6000):
            if size(database) < before - (10 << 20):
                break
            # The service goes on meanwhile.
            assert calls.get(f"/v1/datasets/{kept['id']}").status == 200
            stop.wait(0.02)
    finally:
        stop.set()
        thread.join()
    assert size(database) < before - (10 << 20)
