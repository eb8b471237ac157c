"""Fixtures of the contract: calls over real HTTP, records to read, an app with small limits."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from api.app import create_app
from api.config import Settings
from api.limits import Limits
from api.running import running
from tests.calls import over_socket, over_wsgi
from tests.server import Server


@pytest.fixture(scope="session")
def calls(server):
    """Calls of the running server."""
    return over_socket(server)


@pytest.fixture(scope="session")
def some(calls):
    """A dataset, a fit and a mapping that no test changes; address is theirs by noun."""
    dataset = calls.a_dataset()
    fit = calls.a_fit(dataset["id"])
    mapping = calls.a_mapping(fit["id"])
    ids = {"datasets": dataset["id"], "fits": fit["id"], "mappings": mapping["id"]}
    return SimpleNamespace(
        dataset=dataset,
        fit=fit,
        mapping=mapping,
        address={noun: f"/v1/{noun}/{identifier}" for noun, identifier in ids.items()},
    )


@pytest.fixture(scope="module")
def limited(tmp_path_factory, sqlite_template):
    """Factory of calls of an app with other limits; the tests of a module share each app."""
    apps = {}

    def make(**limits):
        limits = Limits(**limits)
        if limits not in apps:
            folder = tmp_path_factory.mktemp("limited")
            shutil.copy(sqlite_template, folder / "idealfit.db")
            apps[limits] = create_app(Settings(data=folder, limits=limits))
        return over_wsgi(apps[limits])

    yield make
    for app in apps.values():
        running(app).database.close()


SHORT = """
import sys
from dataclasses import replace
from api.app import create_app
from api.config import Settings
from api.limits import Limits
from api.server import Server
from api.store.base import Database
from api.store.migrate import migrate

class Short(Server):
    def load(self):
        limits = Limits(body_bytes=100_000, json_body_bytes=100_000, body_stall_seconds=1)
        return create_app(replace(Settings.from_environment(), limits=limits))

migrate(Database(Settings.from_environment().url))
Short("127.0.0.1", int(sys.argv[1]), workers=1, threads=3).run()
"""


@pytest.fixture(scope="session")
def short(tmp_path_factory):
    """A server of one process and three threads that waits one second for a body."""
    server = Server(tmp_path_factory.mktemp("short"), command=lambda port: ["-c", SHORT, str(port)])
    yield server
    server.stop()
