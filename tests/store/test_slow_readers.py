"""Slow readers keep no transaction open and get the same data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from api.app import create_app
from api.config import Settings
from api.running import running
from api.store.base import WAL_BYTES
from tests.calls import over_wsgi

CSV = {"Accept": "text/csv"}
ROWS = 80_000


@pytest.fixture
def app(tmp_path, new_database_url):
    """The application on SQLite."""
    app = create_app(
        Settings(data=tmp_path, database_url=new_database_url("sqlite"), inline_seconds=60)
    )
    yield app
    running(app).database.close()


@pytest.fixture
def calls(app):
    """Calls of it."""
    return over_wsgi(app)


def values_of(calls):
    """Address of values in several batches."""
    values = np.random.default_rng(1).normal(size=(9, ROWS)).round(1).tolist()
    columns = dict(zip("xabcdefgh", [list(range(ROWS)), *values[1:]], strict=True))
    return f"/v1/datasets/{calls.a_dataset(columns)['id']}/values"


def matches_of(calls):
    """Address of matches in several batches."""
    wide = {f"y{number}": [float(number), 1.0] for number in range(200)} | {"x": [0.0, 1.0]}
    other = {f"f{number}": [float(number), 1.0] for number in range(100)} | {"x": [0.0, 1.0]}
    return f"/v1/fits/{calls.a_fit(wide, other, top_k=100)['id']}/matches"


def points_of(calls):
    """Address of points in several batches."""
    test = {"x": [0.5] * 70_000, "y": [1.0] * 70_000}
    plain = calls.a_fit({"x": [0.0, 1.0], "y": [1.0, 1.0]}, {"x": [0.0, 1.0], "f": [1.0, 1.0]})
    mapping = calls.a_mapping(plain["id"], test, alignment="linear")
    return f"/v1/mappings/{mapping['id']}/points"


def write(database, mebibytes):
    """Write so much, in transactions of 4 MiB."""
    for _ in range(mebibytes // 4):
        with database.writing() as session:
            connection = session.connection()
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS junk (data BLOB)")
            connection.exec_driver_sql("INSERT INTO junk VALUES (zeroblob(4194304))")


@pytest.mark.parametrize("address_of", [values_of, matches_of, points_of])
@pytest.mark.slow
def test_the_log_of_sqlite_stays_short_under_a_slow_reader(app, calls, address_of):
    address = address_of(calls)
    whole = calls.get(address, headers=CSV).body
    reply = app.test_client().get(address, headers=CSV)
    pieces = iter(reply.response)
    found = [next(pieces), next(pieces)]
    assert len(b"".join(found)) < len(whole)
    database = running(app).database
    write(database, 128)
    log = Path(database.url.database + "-wal")
    assert log.stat().st_size <= WAL_BYTES
    assert b"".join([*found, *pieces]) == whole
    reply.close()


def test_no_batch_is_left_out_or_sent_twice(calls):
    matches, of_points = matches_of(calls), points_of(calls)
    whole = calls.get(matches, headers=CSV).body.decode().splitlines()
    assert len(whole) == len(set(whole)) == 1 + 200 * 100
    kept = calls.get(matches, headers=CSV, params={"rank": 2})
    assert kept.body.decode().splitlines()[1:] == [
        line for line in whole[1:] if line.split(",")[2] == "2"
    ]
    points = calls.get(of_points, headers=CSV).body.decode().splitlines()
    assert [int(line.split(",")[0]) for line in points[1:]] == list(range(70_000))
    none = calls.get(of_points, headers=CSV, params={"status": "unmapped"})
    assert len(none.body.decode().splitlines()) == 1


def test_a_record_deleted_while_it_is_sent_ends_the_reply(app, calls):
    address = values_of(calls)
    reply = app.test_client().get(address, headers=CSV)
    pieces = iter(reply.response)
    next(pieces)
    assert calls.delete(address.removesuffix("/values")).status == 204
    with pytest.raises(Exception, match="There is no dataset"):
        list(pieces)
    reply.close()
