"""Values, matches and points as files, over real HTTP on both databases."""

from __future__ import annotations

import csv
import io
import math
import os
import socket
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from api.store.base import Database
from api.store.datasets import add_dataset
from services.export.batches import LISTED_MATCHES, POINTS
from services.files import Source
from services.tables import Table
from tests.calls import check_fact, check_problem, next_link, over_socket, same_bits, some_doubles
from tests.conftest import ENGINES, new_postgres_url
from tests.server import Server
from tests.waiting import PATIENCE

CSV, JSON = "text/csv", "application/json"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
FILES = {CSV: "csv", PARQUET: "parquet", ARROW: "arrows"}
EACH_FILE = pytest.mark.parametrize("kind", FILES, ids=FILES.values())
TEST = {"x": [0.0, 1.0, 2.0, 7.0, None], "u": [1.0, 2.25, None, 0.0, 1.0], "v,": [9e9, 0, 0, 0, 0]}


@pytest.fixture(scope="module", params=ENGINES)
def calls(request, tmp_path_factory):
    """Calls of a running server, on each engine in turn."""
    if request.param == "sqlite":
        yield over_socket(request.getfixturevalue("server"))
        return
    admin = request.getfixturevalue("postgres")
    url = new_postgres_url(admin, f"downloads_{os.getpid()}")
    folder = tmp_path_factory.mktemp("downloads")
    server = Server(folder, DATABASE_URL=url, WEB_CONCURRENCY="1", IDEALFIT_WORKERS="0")
    yield over_socket(server)
    server.stop()


@pytest.fixture(scope="module")
def mapping(calls):
    """A mapping with every kind of point."""
    return calls.a_mapping(test=TEST, name="day 7 / Größe")


def table_of(reply):
    """A file as a dict of lists, null where there is no value."""
    assert reply.status == 200, reply.text
    data = io.BytesIO(reply.body)
    if reply.type == PARQUET:
        return pq.read_table(data).to_pydict()
    if reply.type == ARROW:
        return pa.ipc.open_stream(data).read_all().to_pydict()
    frame = pd.read_csv(data, keep_default_na=False, na_values=[""])
    columns = {name: frame[name].tolist() for name in frame}
    return {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in column]
        for name, column in columns.items()
    }


def items_of(reply):
    table = table_of(reply)
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


@EACH_FILE
class TestFiles:
    """The same as in JSON, in each format."""

    def get(self, calls, path, kind, **params):
        reply = calls.get(path, params=params, headers={"Accept": kind})
        assert reply.type == kind, reply.text
        return reply

    def test_values_keep_every_bit(self, calls, kind):
        numbers = some_doubles(3000, 5)
        columns = {
            "x": [float(i) for i in range(3000)],
            'a "b", ä': numbers,
            "gaps": [None if i % 3 else -0.0 for i in range(3000)],
        }
        record = calls.a_dataset(columns)
        found = table_of(self.get(calls, f"/v1/datasets/{record['id']}/values", kind))
        assert list(found) == list(columns)
        assert same_bits(found['a "b", ä'], numbers)
        assert found["gaps"] == columns["gaps"]
        assert same_bits([v for v in found["gaps"] if v is not None], [-0.0] * 1000)

    def test_values_are_as_named_from_start(self, calls, kind):
        record = calls.a_dataset({"x": [0.0, 1.0, 2.0, 3.0], "a": [4, 5, 6, 7], "b": [1] * 4})
        path = f"/v1/datasets/{record['id']}/values"
        params = {"columns": ["a", "x"], "start": 1, "count": 2}
        assert table_of(self.get(calls, path, kind, **params)) == {"a": [5, 6], "x": [1, 2]}
        assert table_of(self.get(calls, path, kind, start=4)) == {"x": [], "a": [], "b": []}

    def test_points(self, calls, mapping, kind):
        path = f"/v1/mappings/{mapping['id']}/points"
        expected = calls.get(path, params={"limit": 500}).json["items"]
        assert items_of(self.get(calls, path, kind)) == expected
        assert {item["reason"] for item in expected} == {
            None,
            "deviation",
            "missing_value",
            "x_not_covered",
        }
        mapped = items_of(self.get(calls, path, kind, status="mapped"))
        assert mapped == [item for item in expected if item["reason"] is None]

    @pytest.mark.parametrize("nobody", [{"ideal": "nope"}, {"training": "nope", "limit": 3}])
    def test_no_points_at_all(self, calls, mapping, kind, nobody):
        reply = self.get(calls, f"/v1/mappings/{mapping['id']}/points", kind, **nobody)
        assert (reply.status, items_of(reply)) == (200, [])

    def test_pages_of_points(self, calls, mapping, kind):
        path = f"/v1/mappings/{mapping['id']}/points"
        expected = calls.get(path, params={"limit": 500}).json["items"]
        first = self.get(calls, path, kind, limit=4)
        rest = self.get(calls, next_link(first).replace("limit=4&", ""), kind)
        assert items_of(first) == expected[:4]
        assert items_of(rest) == expected[4:]

    def test_matches(self, calls, kind):
        training = {"x": [0.0, 1.0, 2.0], "flat": [1.0, 1.0, 1.0], "up": [0.0, 0.1, 2.0]}
        fit = calls.a_fit(training, top_k=3)
        path = f"/v1/fits/{fit['id']}/matches"
        # A library curve without attributes has an empty object, and no text in a file.
        listed = calls.get(path).json["items"]
        expected = [item | {"ideal_attributes": None} for item in listed]
        if kind == "text/csv":
            expected = [
                item | {"warnings": " ".join(item["warnings"]) or None} for item in expected
            ]
        assert {str(item["ideal_attributes"]) for item in listed} == {"{}"}
        assert items_of(self.get(calls, path, kind)) == expected
        assert items_of(self.get(calls, path, kind, rank=2)) == expected[1::3]
        first = self.get(calls, path, kind, limit=2)
        assert items_of(first) == expected[:2]
        assert items_of(self.get(calls, next_link(first), kind)) == expected[2:4]

    def test_the_file_has_a_name(self, calls, mapping, kind):
        reply = self.get(calls, f"/v1/mappings/{mapping['id']}/points", kind)
        assert reply.headers["Content-Disposition"] == (
            f'attachment; filename="day 7-Groe points.{FILES[kind]}"; '
            f"filename*=UTF-8''day%207-Gr%C3%B6%C3%9Fe%20points.{FILES[kind]}"
        )
        assert "Accept" in reply.headers["Vary"]

    def test_head_has_the_headers_alone(self, calls, mapping, kind):
        path = f"/v1/mappings/{mapping['id']}/points"
        reply = calls.head(path, headers={"Accept": kind})
        assert (reply.status, reply.type, reply.body) == (200, kind, b"")
        assert reply.headers["Content-Disposition"].startswith("attachment")

    def test_what_is_not_there_is_404(self, calls, kind):
        for path in ("datasets/no/values", "fits/no/matches", "mappings/no/points"):
            check_problem(calls.get(f"/v1/{path}", headers={"Accept": kind}), 404)


class TestNegotiation:
    """q-values choose; 406 names all four."""

    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            ("*/*", JSON),
            ("application/*", JSON),
            (PARQUET, PARQUET),
            (f"{JSON};q=0.2, {PARQUET};q=0.9, {ARROW};q=0.5", PARQUET),
            (f"{PARQUET};q=0.1, {ARROW}", ARROW),
            (f"{PARQUET};q=0, {ARROW};q=0.3, text/*;q=0.2", ARROW),
            (f"{JSON};q=0, {CSV};q=0, */*;q=0.1", PARQUET),
            ("image/png, */*;q=0.01", JSON),
        ],
    )
    @pytest.mark.parametrize("noun", ["points", "matches", "values"])
    def test_q_values_choose(self, calls, mapping, noun, accept, expected):
        path = {
            "points": f"/v1/mappings/{mapping['id']}/points",
            "matches": f"/v1/fits/{mapping['fit_id']}/matches",
            "values": f"/v1/datasets/{mapping['test_id']}/values",
        }[noun]
        reply = calls.get(path, headers={"Accept": accept})
        assert (reply.status, reply.type) == (200, expected)

    @pytest.mark.parametrize("accept", ["image/png", f"{PARQUET};q=0", "application/x-parquet"])
    def test_406_names_all(self, calls, mapping, accept):
        path = f"/v1/mappings/{mapping['id']}/points"
        detail = check_problem(calls.get(path, headers={"Accept": accept}), 406)["detail"]
        assert all(kind in detail for kind in (JSON, *FILES))


FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def formulas(calls):
    """Tables by path, each with the names in it that a spreadsheet would take for formulas."""
    x = {"x": [0.0, 1.0, 2.0]}
    training = calls.a_dataset(x | {FORMULA: [-1.0, 1.0, 2.0]})
    ideal = calls.a_dataset(x | {"-f": [-1.0, 1.0, 2.0]})
    fit = calls.a_fit(training["id"], ideal["id"])
    mapping = calls.a_mapping(fit["id"], x | {"@t": [-1.0, 1.0, 9.0]})
    return {
        f"/v1/datasets/{training['id']}/values": {FORMULA},
        f"/v1/fits/{fit['id']}/matches": {FORMULA, "-f"},
        f"/v1/mappings/{mapping['id']}/points": {FORMULA, "-f", "@t"},
    }


class TestCellsAsText:
    """`cells=text`: a name that a spreadsheet would take for a formula is text."""

    @pytest.mark.parametrize("limit", [{}, {"limit": 2}], ids=str)
    def test_names_alone_get_a_quote_mark(self, calls, formulas, limit):
        for path, names in formulas.items():
            params = {} if path.endswith("values") else limit
            raw, text = (
                list(csv.reader(io.StringIO(reply.text)))
                for reply in (
                    calls.get(path, params=params | more, headers={"Accept": CSV})
                    for more in ({}, {"cells": "text"})
                )
            )
            assert names <= {cell for row in raw for cell in row}
            assert text == [[f"'{c}" if c in names else c for c in row] for row in raw]

    @pytest.mark.parametrize("kind", [JSON, "*/*", PARQUET, ARROW])
    def test_it_is_for_csv_only(self, calls, formulas, kind):
        for path in formulas:
            reply = calls.get(path, params={"cells": "text"}, headers={"Accept": kind})
            check_fact(reply, 422, code="wrong_format", parameter="cells")

    def test_there_is_no_other_way(self, calls, formulas):
        for path in formulas:
            reply = calls.get(path, params={"cells": "bytes"}, headers={"Accept": CSV})
            check_problem(reply, 422)


class TestSchemas:
    """The columns have the types that docs/formats.md names."""

    def test_points_and_matches(self, calls, mapping):
        for path, schema in (
            (f"/v1/mappings/{mapping['id']}/points", POINTS),
            (f"/v1/fits/{mapping['fit_id']}/matches", LISTED_MATCHES),
        ):
            parquet = calls.get(path, headers={"Accept": PARQUET}).body
            assert pq.read_schema(io.BytesIO(parquet)) == schema
            arrow = calls.get(path, headers={"Accept": ARROW}).body
            assert pa.ipc.open_stream(arrow).schema == schema

    def test_too_many_columns_for_parquet_and_arrow_are_422(self, limited):
        calls = limited(columns=3)
        record = calls.a_dataset({"x": [0.0], "a": [1.0]})
        path = f"/v1/datasets/{record['id']}"
        assert (
            calls.post(f"{path}/curves", {"columns": {"x": [0.0], "b": [1], "c": [2]}}).status
            == 200
        )
        for kind in (PARQUET, ARROW):
            reply = calls.get(f"{path}/values", headers={"Accept": kind})
            check_fact(reply, 422, code="too_many", parameter="columns")
        few = calls.get(f"{path}/values?columns=c&columns=b", headers={"Accept": PARQUET})
        assert table_of(few) == {"c": [2.0], "b": [1.0]}
        assert (
            calls.get(f"{path}/values", headers={"Accept": CSV}).text
            == "x,a,b,c\n0.0,1.0,1.0,2.0\n"
        )


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("train", "train"),
        ("a/b\\c: d", "a-b-c-d"),
        ("../../etc/passwd", "etc-passwd"),
        ('"; filename=evil.exe', "; filename=evil.exe"),
        ("  .hidden. ", "hidden"),
        ("///", "idealfit"),
        ("a" * 200, "a" * 100),
    ],
)
def test_a_file_name_can_be_stored_anywhere(limited, name, stem):
    calls = limited()
    record = calls.a_dataset({"x": [0.0], "y": [1.0]}, name=name)
    reply = calls.get(f"/v1/datasets/{record['id']}/values", headers={"Accept": CSV})
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{stem}.csv"'


@pytest.fixture(scope="module")
def large(short):
    """Values of 1.5 million numbers in the server that gives up silent clients after a second."""
    database = Database(f"sqlite:///{short.log.parent}/idealfit.db")
    y = np.random.default_rng(1).random((2, 500_000))
    with database.writing() as session:
        source = Source("csv", "utf-8", ",", ".", "present")
        table = Table(np.arange(500_000.0), y, ("a", "b"))
        dataset = add_dataset(session, table, source, name="large")
    database.close()
    return f"/v1/datasets/{dataset.id}/values?count=500000"


def a_reader(server, path, accept):
    """A connection with little room for what is on its way."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.connect(("127.0.0.1", server.port))
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(request.encode())
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("accept", [JSON, CSV, PARQUET])
def test_a_slow_reader_gets_everything(short, large, accept):
    """The deadline is for one piece, not for the reply."""
    expected = len(
        requests.get(short.url + large, headers={"Accept": accept}, timeout=PATIENCE).content
    )
    with a_reader(short, large, accept) as connection:
        connection.settimeout(PATIENCE)
        started, got = time.monotonic(), 0
        while data := connection.recv(1 << 18):
            got += len(data)
            time.sleep(3 * len(data) / expected)
    assert time.monotonic() - started > 2
    assert got > expected


@pytest.mark.slow
def test_readers_that_stall_free_their_threads(short, large):
    """More clients stop reading than there are threads."""
    stalled = [a_reader(short, large, CSV) for _ in range(4)]
    time.sleep(0.5)
    assert requests.get(f"{short.url}/health/live", timeout=PATIENCE).ok
    for connection in stalled:
        connection.close()


@pytest.fixture(scope="module")
def artist(server):
    """Calls of one service."""
    return over_socket(server)


@pytest.fixture(scope="module")
def drawn(artist):
    """A mapping with every kind of point."""
    return artist.a_mapping(test=TEST)


class TestPictures:
    """Plots as pictures, drawn by the server, which draws arrays of any database alike."""

    @pytest.mark.parametrize("noun", ["datasets", "fits", "mappings"])
    def test_a_plot_is_a_picture_if_asked_for(self, artist, drawn, noun):
        ids = {"datasets": "test_id", "fits": "fit_id", "mappings": "id"}
        path = f"/v1/{noun}/{drawn[ids[noun]]}/plot"
        for kind, start in (("image/png", b"\x89PNG"), ("image/svg+xml", b"<?xml")):
            reply = artist.get(path, headers={"Accept": kind})
            assert (reply.status, reply.type) == (200, kind)
            assert reply.body.startswith(start)
            assert reply.body == artist.get(path, headers={"Accept": kind}).body
            assert reply.headers["Content-Disposition"].startswith("inline; filename=")
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
            assert "Accept" in reply.headers["Vary"]

    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            ("image/*", "image/svg+xml"),
            ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/svg+xml"),
            ("image/svg+xml;q=0.5, image/png", "image/png"),
            ("text/html,application/xhtml+xml,image/webp,*/*;q=0.8", "text/html"),
            ("image/webp, application/json;q=0.1", JSON),
        ],
    )
    def test_q_values_choose(self, artist, drawn, accept, expected):
        reply = artist.get(f"/v1/mappings/{drawn['id']}/plot", headers={"Accept": accept})
        assert (reply.status, reply.type) == (200, expected)

    def test_406_names_all(self, artist, drawn):
        reply = artist.get(f"/v1/fits/{drawn['fit_id']}/plot", headers={"Accept": "image/webp"})
        detail = check_problem(reply, 406)["detail"]
        assert all(kind in detail for kind in ("text/html", JSON, "image/svg+xml", "image/png"))


@EACH_FILE
def test_a_file_can_be_posted_again(calls, kind):
    """Names, gaps and every bit: the fingerprint is the same."""
    columns = {
        "x": [float(i) for i in range(2000)],
        'a, "b"': [None, *some_doubles(1999, 2)],
        "ä;": [-0.0, None] * 1000,
    }
    record = calls.a_dataset(columns)
    path = f"/v1/datasets/{record['id']}/values"
    data = calls.get(path, headers={"Accept": kind}).body
    again = calls.post("/v1/datasets", data=data, headers={"Content-Type": kind})
    assert again.status == 201, again.text
    assert again.json["sha256"] == record["sha256"]


KINDS = {
    "decimals": np.round(np.random.default_rng(5).normal(size=(7, 900)), 3),
    "float32": np.random.default_rng(6).normal(size=(7, 900)).astype(np.float32).astype(float),
    "all digits": np.reshape(some_doubles(7 * 900), (7, 900)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_bits_of_an_upload_come_back_however_they_are_stored(calls, kind):
    y = KINDS[kind].copy()
    y[2, 5], y[3, 6] = np.nan, -0.0
    columns = {"x": np.arange(900) / 8} | {f"y{i}": curve for i, curve in enumerate(y)}
    data = io.BytesIO()
    pq.write_table(pa.table(columns), data)
    text = pd.DataFrame(columns).to_csv(index=False)
    files = {PARQUET: data.getvalue(), CSV: text}
    replies = [calls.a_csv(file, {"name": kind}, media) for media, file in files.items()]
    assert [reply.status for reply in replies] == [201, 201], replies[0].text
    records = [reply.json for reply in replies]
    assert records[0]["sha256"] == records[1]["sha256"]
    for record in records:
        for media in (PARQUET, ARROW):
            path = f"/v1/datasets/{record['id']}/values"
            table = table_of(calls.get(path, headers={"Accept": media}))
            found = np.array([table[f"y{i}"] for i in range(7)], dtype=float)
            assert found.tobytes() == y.tobytes()
