"""Small evaluations have two ways, before Flask and through it, and one answer."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import sqlite3
from contextlib import ExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import metrics
from api.app import create_app
from api.config import Settings
from api.jobs.functions import FunctionCache
from api.limits import Limits
from api.resources.small_evaluations import MOST_BYTES, SmallEvaluations
from api.running import running
from tests.calls import over_socket, over_wsgi
from tests.contract.test_evaluations import ask_always, pass_on
from tests.examples import examples
from tests.server import Server
from tests.waiting import PATIENCE

ANSWERED = SmallEvaluations.__call__


# ---- The same requests by both ways --------------------------------------------------------


@pytest.fixture(scope="module", params=[{}, {"cors_origins": ("https://a.example",)}])
def app(request, tmp_path_factory, sqlite_template):
    folder = tmp_path_factory.mktemp("both")
    shutil.copy(sqlite_template, folder / "idealfit.db")
    limits = Limits(points=40, reply_bytes=30_000, json_body_bytes=2000)
    app = create_app(Settings(data=folder, limits=limits, **request.param))
    yield app
    running(app).database.close()


@pytest.fixture(scope="module")
def fits(app):
    """Fits with a text that JSON escapes, with a gap, and with linear alignment."""
    calls, x = over_wsgi(app), [0.0, 1.0, 2.0]
    curves = {"x": x, 'a"\u00e4': [1.0, 2.0, None], "b": [1e308, -1e308, 0.0]}
    return [calls.a_fit(curves, curves, alignment=kind)["id"] for kind in ("exact", "linear")]


NUMBER = st.one_of(
    st.sampled_from([0.0, -0.0, 1, 2, 1.5, None, 5e-324, 1.7976931348623157e308, -1e308, 10**30]),
    st.floats(allow_nan=False, allow_infinity=False),
)
POINTS = st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=8).map(
    lambda pairs: {"x": [x for x, _ in pairs], "y": [y for _, y in pairs]}
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["all", "nearest", "first", "none", None]),
        "tolerance_factor": st.sampled_from([0, 1.5, 1e308, -1, "1", None, True]),
        "alignment": st.sampled_from(["exact", "linear", None, 1]),
        "x_tolerance": st.sampled_from([0, 0.25, 1e300, None, -1, "a"]),
        "x": st.sampled_from([[], [1], ["1"], [True], "1", [1] * 41, [[1]], {}]),
        "unknown": st.just(1),
    },
)
TEXTS = [
    b"", b" ", b"{", b"[]", b"null", b'{"x":[1],"x":[1],"y":[1]}', b'{"x":[NaN],"y":[1]}',
    b'{"x":[1e999],"y":[1]}', b'{"x":[-0],"y":[-0]}', b'\xef\xbb\xbf{"x":[1],"y":[1]}', b"\xff",
    b'{"x":[' + b"1," * 200 + b'1],"y":[1]}', b'{"x":[1],"y":[1]}' + b" " * 2000,
    b'{"x":[0,1,2],"y":[1,2.25,0]}', b"[" * 200,
]  # fmt: skip
BODIES = st.one_of(
    st.builds(lambda points, options: json.dumps(points | options).encode(), POINTS, OPTIONS),
    POINTS.map(lambda points: json.dumps(points, separators=(",", ":")).encode()),
    st.sampled_from(TEXTS),
)


def some(*values):
    return st.sampled_from([None, None, None, *values])


ENVIRONS = st.fixed_dictionaries(
    {
        "HTTP_ACCEPT": some(
            "*/*", "application/json", "text/html", "text/csv;q=0.5, */*;q=0.1", ""
        ),
        "HTTP_X_REQUEST_ID": some("mine", "a b", "", "a" * 65),
        "HTTP_HOST": some("localhost:1", "127.0.0.1", "evil.example", "a,b", ""),
        "HTTP_ORIGIN": some("http://localhost", "https://a.example", "https://b.example", "null"),
        "HTTP_SEC_FETCH_SITE": some("cross-site", "same-origin"),
        "HTTP_CONTENT_ENCODING": some("gzip", "identity", "", "rain"),
        "HTTP_TRANSFER_ENCODING": some("chunked"),
        "HTTP_EXPECT": some("100-continue"),
        "HTTP_IDEMPOTENCY_KEY": some("a"),
        "HTTP_CONNECTION": some("close", "keep-alive"),
        "HTTP_PREFER": some("respond-async"),
        "CONTENT_TYPE": some("application/json; charset=utf-8", "text/csv", "", "Application/JSON"),
        "CONTENT_LENGTH": some("", "0", "1", "1000000", "+1", "\u0661"),
        "QUERY_STRING": some("a=1", "a", "="),
        "SERVER_PROTOCOL": some("HTTP/1.0"),
    }
)
PATHS = st.sampled_from(
    ["/v1/fits/{}/evaluate"] * 5
    + ["/v1/fits/{}/evaluate/", "/v1/fits/{}x/evaluate", "//v1/fits/{}/evaluate", "/v1/fits/{}"]
)
METHODS = st.sampled_from(["POST"] * 6 + ["GET", "HEAD", "OPTIONS", "PUT", "post"])


def send(app, method, path, body, given):
    """Status, headers, bytes and what the log and the metrics are told of a request."""
    replied = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
    } | {name: value for name, value in given.items() if value is not None}
    result = app(environ, lambda status, headers, *_: replied.append((status, headers)))
    said = b"".join(result)
    getattr(result, "close", lambda: None)()
    [(status, headers)] = replied
    own = dict(headers)["X-Request-ID"]
    assert environ["idealfit.request_id"] == own
    known = own == given["HTTP_X_REQUEST_ID"]
    if not known:
        headers = [pair for pair in headers if pair[1] != own]
        said = said.replace(own.encode(), b"id")
    return status, headers, said, environ.get(metrics.ROUTE), known


REQUESTS = st.one_of(
    st.tuples(METHODS, PATHS, BODIES, ENVIRONS),
    st.tuples(
        st.just("POST"), st.just("/v1/fits/{}/evaluate"), BODIES, ENVIRONS.map(dict.fromkeys)
    ),
)


class TestBoth:
    """One request by both ways, whichever the tests of this module take."""

    @given(number=st.integers(0, 1), request=REQUESTS)
    @examples(100)
    def test_the_reply_is_the_same(self, app, fits, number, request):
        method, path, body, given_ = request
        request = method, path.format(fits[number]), body, given_
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SmallEvaluations, "__call__", ANSWERED)
            patch.setattr(FunctionCache, "get_fresh", ask_always)
            short = send(app, *request)
            patch.setattr(SmallEvaluations, "__call__", pass_on)
            assert send(app, *request) == short

    def test_the_short_way_is_taken(self, app, fits, monkeypatch):
        """Otherwise the test above compared one way with itself."""
        body = b'{"x":[0,1,2],"y":[1,2.25,null]}'
        given_ = dict.fromkeys(["HTTP_X_REQUEST_ID"])
        path = f"/v1/fits/{fits[0]}/evaluate"
        expected = send(app, "POST", path, body, given_)
        monkeypatch.setattr(SmallEvaluations, "__call__", ANSWERED)
        monkeypatch.setattr(type(app), "full_dispatch_request", lambda _: pytest.fail("Flask"))
        assert send(app, "POST", path, body, given_) == expected


def test_a_fit_that_was_deleted_is_gone(limited):
    calls = limited()
    fit = calls.a_fit()["id"]
    points = {"x": [0.0], "y": [1.0]}
    assert calls.post(f"/v1/fits/{fit}/evaluate", points).status == 200
    assert calls.delete(f"/v1/fits/{fit}").status == 204
    assert calls.post(f"/v1/fits/{fit}/evaluate", points).status == 404


# ---- Over sockets --------------------------------------------------------------------------


SERVE = """
import sys
from api.config import Settings
from api.resources.small_evaluations import SmallEvaluations
from api.server import Server
from api.store.base import Database
from api.store.migrate import migrate

if sys.argv[2:]:
    SmallEvaluations.__call__ = lambda way, environ, start: way.application(environ, start)
migrate(Database(Settings.from_environment().url))
Server("127.0.0.1", int(sys.argv[1]), workers=1, threads=3).run()
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A server with both ways and one with Flask's only, on copies of one database."""
    folders = [tmp_path_factory.mktemp(name) for name in ("both", "flask")]
    # The methods of `Allow` come in the order of a set.
    order = {"PYTHONHASHSEED": "0"}
    first = Server(folders[0], lambda port: ["-c", SERVE, str(port)], **order)
    first.path = f"/v1/fits/{over_socket(first).a_fit()['id']}/evaluate"
    with ExitStack() as stack:
        source, target = (
            stack.enter_context(closing(sqlite3.connect(folder / "idealfit.db")))
            for folder in folders
        )
        source.backup(target)
    second = Server(folders[1], lambda port: ["-c", SERVE, str(port), "flask"], **order)
    second.path = first.path
    yield first, second
    first.stop()
    second.stop()


def _message(path, body, *headers, method="POST", length=True):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [*headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


BODY = b'{"x":[0,1,2],"y":[1,2.25,null]}'
LARGE = BODY[:-1] + b',"policy":"all"' + b" " * MOST_BYTES + b"}"
OVER_SOCKETS = {
    "plain": [((BODY,), {})] * 3,
    "broken": [((b"{",), {})] * 2 + [((BODY,), {})],
    "chunked": [
        ((b"1f\r\n%s\r\n0\r\n\r\n" % BODY, "Transfer-Encoding: chunked"), {"length": False})
    ],
    "expected": [((BODY, "Expect: 100-continue"), {})],
    "an id": [((BODY, "X-Request-ID: mine"), {})],
    "a trace": [((BODY, "traceparent: 00-" + "1" * 32 + "-" + "2" * 16 + "-01"), {})],
    "other methods": [((b"",), {"method": method}) for method in ("GET", "OPTIONS", "HEAD")],
    "large": [((LARGE,), {}), ((BODY,), {})],
}


@pytest.mark.parametrize("case", OVER_SOCKETS)
def test_the_bytes_and_the_log_are_the_same(pair, case):
    said = []
    for server in pair:
        warm = _message(server.path, BODY)
        messages = [_message(server.path, *args, **more) for args, more in OVER_SOCKETS[case]]
        last = _message(server.path, BODY, "Connection: close")
        before = len(server.log.read_text())
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(b"".join([warm, *messages, last]))
            data = b"".join(iter(lambda c=connection: c.recv(1 << 16), b""))
        ids = re.findall(rb"X-Request-ID: (.*)\r\n", data)
        for number, name in enumerate(ids):
            data = data.replace(name, b"%d" % number) if name != b"mine" else data
        lines = server.log.read_text()[before:].splitlines()
        assert [name.decode() for name in ids] == re.findall(r" id=(\S+)", "\n".join(lines))
        log = [re.sub(r"^\S+ INFO \d+|id=\S+|seconds=\S+", "", line) for line in lines]
        said.append((re.sub(rb"Date: .*\r\n", b"", data), log, _counts(server)))
    assert said[0] == said[1]


def _counts(server):
    """Counts of evaluations by status, which the buckets of their times do not show alike."""
    text = server.get("/metrics").text
    return sorted(line for line in text.splitlines() if "_count{" in line and "evaluate" in line)
