"""`/metrics` while the database is in trouble."""

from __future__ import annotations

import threading

import pytest

from api.app import create_app
from api.config import Settings
from api.resources import metrics
from api.running import running
from api.store.counts import Counts
from tests.waiting import until


@pytest.fixture
def ask(tmp_path):
    """Ask an app whose database has no tables for its metrics."""
    app = create_app(Settings(data=tmp_path))

    def get():
        reply = app.test_client().get("/metrics", headers={"Host": "localhost"})
        assert reply.status_code == 200
        return reply.text

    yield get
    running(app).database.close()


def test_a_database_that_fails_is_down_and_the_rest_is_shown(ask):
    text = ask()
    assert "\nidealfit_database_up 0.0\n" in text
    assert "\nidealfit_build_info{" in text
    assert "\nidealfit_jobs{" not in text


def test_a_database_that_hangs_is_down_and_is_asked_by_one_thread(ask, monkeypatch):
    asked, answer = [], threading.Event()

    def hang(*_):
        asked.append(1)
        answer.wait()
        return Counts({("fit", "queued"): 3})

    monkeypatch.setattr(metrics, "count", hang)
    monkeypatch.setattr(metrics, "LOOK_SECONDS", 0.01)
    for _ in range(5):
        assert "\nidealfit_database_up 0.0\n" in ask()
    until(lambda: asked)
    assert len(asked) == 1
    monkeypatch.setattr(metrics, "LOOK_SECONDS", 60)
    answer.set()
    text = ask()
    assert "\nidealfit_database_up 1.0\n" in text
    assert '\nidealfit_jobs{kind="fit",state="queued"} 3.0\n' in text


def test_scrapes_in_a_row_ask_the_database_once(ask, monkeypatch):
    asked = []

    def count(*_):
        asked.append(1)
        return Counts()

    monkeypatch.setattr(metrics, "count", count)
    monkeypatch.setattr(metrics, "REST", 1e12)
    for _ in range(5):
        ask()
    assert len(asked) == 1
