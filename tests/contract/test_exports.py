"""Exports: HEAD makes nothing, small ones are made at once, large ones once by a worker."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import numpy as np
import pytest
from sqlalchemy import func, select

from api.app import create_app
from api.config import Settings
from api.jobs import exports
from api.jobs.worker import Worker
from api.running import running
from api.store import values
from api.store.exports import Export, ExportBlock
from tests.calls import check_problem, over_wsgi

ROWS = 30_000
POINTS = {"x": [float(row) for row in range(ROWS)], "y": [1.5] * ROWS}


class Place:
    """An app whose exports take a worker, and the worker."""

    def __init__(self, url, folder, **settings):
        self.settings = Settings(data=folder, database_url=url, **settings)
        self.app = create_app(self.settings)
        self.database = running(self.app).database
        self.calls = over_wsgi(self.app)
        self.worker = Worker(self.database, self.settings, "one", threading.Event())

    def mapping(self, test=POINTS):
        return f"/v1/mappings/{self.calls.a_mapping(test=test)['id']}"

    def get(self, address):
        """Status, and the file or the problem."""
        with self.app.test_client().get(f"{address}/export") as reply:
            return reply.status_code, reply.get_data(), reply.headers

    def rows(self, model):
        with self.database.reading() as session:
            return session.scalars(select(func.count()).select_from(model)).one()


@pytest.fixture
def place(database_url, tmp_path, monkeypatch):
    """A place where every export is large."""
    monkeypatch.setattr(exports, "ITEMS_PER_SECOND", 1.0)
    place = Place(database_url, tmp_path)
    yield place
    place.database.close()


def tables_of(data, path):
    """The tables of a file, all their rows."""
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}  # noqa: S608


def test_a_large_export_is_made_once_and_kept(place, tmp_path):
    address = place.mapping()
    status, _, headers = place.get(address)
    assert (status, headers["Retry-After"]) == (503, "30")
    check_problem(place.calls.get(f"{address}/export"), 503)
    problem = place.calls.get(f"{address}/export").json
    assert problem["type"] == "/problems/export-in-progress"
    assert place.rows(Export) == 1
    assert place.worker.step()
    assert not place.worker.step()
    found = [place.get(address) for _ in range(3)]
    assert [status for status, *_ in found] == [200] * 3
    assert len({data for _, data, _ in found}) == 1
    _, data, headers = found[0]
    assert len(data) == int(headers["Content-Length"]) > 1 << 20
    assert headers["Content-Disposition"].endswith('.db"')
    with place.database.reading() as session:
        parts = exports.export_parts(session, address.rpartition("/")[2])
        with exports.spool_project(*parts) as file:
            expected = file.read()
    kept = tables_of(data, tmp_path / "kept.db")
    assert kept == tables_of(expected, tmp_path / "same.db")
    assert len(kept["mapped_test_data"]) >= ROWS
    assert place.rows(Export) == 1


def test_the_tables_are_read_in_pieces_while_they_are_written(place, monkeypatch):
    address, most = place.mapping(), 1 << 16
    monkeypatch.setattr(values, "BATCH_BYTES", most)
    with place.database.reading() as session:
        *tables, _ = exports.export_parts(session, address.rpartition("/")[2])
        for table in tables:
            # Nothing is read before it is asked for.
            assert iter(table.blocks) is table.blocks
            blocks = list(table.blocks)
            assert max(block.nbytes for block in blocks) <= most
            whole = np.concatenate(blocks, axis=1)
            assert whole.shape[0] == len(table.columns)
    assert whole.tolist() == [POINTS["x"], POINTS["y"]]


def test_sixteen_at_once_make_it_once(place):
    address = place.mapping()
    gate, found = threading.Barrier(16), []

    def ask():
        gate.wait()
        found.append(place.get(address)[0])

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [503] * 16
    assert place.rows(Export) == 1


def test_head_makes_nothing(place, monkeypatch):
    address = place.mapping()
    with monkeypatch.context() as nothing:
        nothing.setattr(exports, "spool_project", None)
        reply = place.calls.head(f"{address}/export")
    assert (reply.status, reply.type, reply.body) == (200, "application/vnd.sqlite3", b"")
    assert reply.headers["Content-Disposition"].endswith('.db"')
    assert place.rows(Export) == 0
    place.get(address)
    place.worker.step()
    reply = place.calls.head(f"{address}/export")
    _, data, _ = place.get(address)
    assert (reply.body, int(reply.headers["Content-Length"])) == (b"", len(data))


def test_it_is_gone_with_its_mapping(place):
    address = place.mapping()
    place.get(address)
    place.worker.step()
    assert place.rows(ExportBlock) > 1
    assert place.calls.delete(address).status == 204
    assert (place.rows(Export), place.rows(ExportBlock)) == (0, 0)
    assert place.get(address)[0] == 404


def test_the_one_used_longest_ago_makes_room(database_url, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "ITEMS_PER_SECOND", 1.0)
    place = Place(database_url, tmp_path, export_bytes=3 << 20)
    fit = place.calls.a_fit()["id"]
    test = place.calls.a_dataset(POINTS)["id"]
    addresses = [f"/v1/mappings/{place.calls.a_mapping(fit, test)['id']}" for _ in range(3)]
    sizes = []
    for address in addresses:
        place.get(address)
        place.worker.step()
        sizes.append(len(place.get(address)[1]))
    assert sizes[0] + sizes[1] < 3 << 20 < sum(sizes)
    assert [place.calls.head(f"{a}/export").headers.get("Content-Length") for a in addresses] == [
        None,
        str(sizes[1]),
        str(sizes[2]),
    ]
    place.database.close()


def test_a_failed_export_answers_with_its_problem_once(place, monkeypatch):
    def fail(*_):
        raise ValueError("no")

    address = place.mapping()
    place.get(address)
    with monkeypatch.context() as broken:
        broken.setattr(exports, "spool_project", fail)
        for _ in range(5):
            place.worker.step()
    problem = check_problem(place.calls.get(f"{address}/export"), 500)
    assert "given up after 5 attempts" in problem["detail"]
    assert place.get(address)[0] == 503
    assert place.worker.step()
    assert place.get(address)[0] == 200


def test_an_attempt_takes_the_place_of_what_an_earlier_one_left(place, monkeypatch):
    address = place.mapping()
    place.get(address)
    with monkeypatch.context() as broken:
        broken.setattr(exports, "keep_within", None)
        place.worker.step()
    left = place.rows(ExportBlock)
    assert left > 1
    place.worker.step()
    assert place.rows(ExportBlock) == left
    assert place.get(address)[0] == 200


def test_a_small_export_is_made_in_the_request(app):
    calls = over_wsgi(app)
    address = f"/v1/mappings/{calls.a_mapping()['id']}/export"
    with app.test_client().get(address) as reply:
        assert (reply.status_code, reply.get_data()[:15]) == (200, b"SQLite format 3")
    with running(app).database.reading() as session:
        assert session.scalars(select(func.count()).select_from(Export)).one() == 0


def test_a_mapping_that_has_not_ended_has_no_export(place):
    calls = place.calls
    body = {"fit_id": calls.a_fit()["id"], "test_id": calls.a_dataset(POINTS)["id"]}
    reply = calls.post("/v1/mappings", body, headers={"Prefer": "respond-async"})
    for call in (calls.get, calls.head):
        assert call(f"{reply.headers['Location']}/export").status == 409
