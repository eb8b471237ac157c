"""Fixtures of the contract: calls over real HTTP, records to read, an app with small limits."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from api.app import create_app
from api.config import Limits, Settings
from tests.calls import over_socket, over_wsgi


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


@pytest.fixture
def limited(tmp_path, sqlite_template):
    """Factory of calls of an app with other limits."""
    apps = []

    def make(**limits):
        shutil.copy(sqlite_template, tmp_path / "idealfit.db")
        apps.append(create_app(Settings(data=tmp_path, limits=Limits(**limits))))
        return over_wsgi(apps[-1])

    yield make
    for app in apps:
        app.extensions["idealfit.database"].close()
