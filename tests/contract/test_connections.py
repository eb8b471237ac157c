"""Connections that clients open, use and close in every way, over sockets, byte for byte."""

from __future__ import annotations

import http.client
import json
import re
import resource
import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import requests

from api.connections import Worker
from api.headers import DEFAULTS
from api.limits import Limits
from tests.calls import CURVES, over_socket
from tests.contract.slow import OPENINGS, READER, Crowd
from tests.server import Server
from tests.waiting import until

SECONDS = 60
"""Longer than any answer takes on a busy machine, and much shorter than clients stall here."""

KINDS = dict.fromkeys(OPENINGS, 50) | {"silent": 200, "half a header": 200, READER: 50}


def talk(server, *pieces, half_close=False, pause=0.05):
    """All that a server sends for some bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause)
            connection.sendall(piece)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def statuses(said):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)]


def get(path="/health/live", *headers, host="localhost", version="1.1"):
    lines = [f"GET {path} HTTP/{version}", *([f"Host: {host}"] if host else []), *headers]
    return "\r\n".join([*lines, "", ""]).encode()


LAST = get("/v1/limits", "Connection: close")


def post(body, *headers, path="/v1/datasets", kind="text/csv", length=True):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode(), body


# ---- Clients that stall --------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A server of one process, with a fit and a dataset that is a large file."""
    server = Server(tmp_path_factory.mktemp("crowded"), WEB_CONCURRENCY="1")
    calls = over_socket(server)
    fit = calls.a_fit()
    rows = {"x": list(range(50_000))} | {f"y{i}": [0.125 + i] * 50_000 for i in range(8)}
    large = calls.a_dataset(rows)
    server.paths = f"/v1/fits/{fit['id']}/evaluate", f"/v1/datasets/{large['id']}/values"
    yield server
    server.stop()


def check_others(server):
    """Others are served: health, a small calculation, and a small upload."""
    points = {"x": [0.0] * 10, "y": [1.0] * 10}
    columns = {"name": "small", "columns": CURVES}
    for method, path, body, status in (
        ("GET", "/health/live", None, 200),
        ("GET", "/health/ready", None, 200),
        ("POST", server.paths[0], points, 200),
        ("POST", "/v1/datasets", columns, 201),
    ):
        reply = requests.request(method, server.url + path, json=body, timeout=SECONDS)
        assert reply.status_code == status, (path, reply.text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds",
    [*[pytest.param({kind: KINDS[kind]}, marks=pytest.mark.thorough) for kind in KINDS], KINDS],
    ids=" and ".join,
)
def test_clients_that_stall_hold_up_nobody(crowded, kinds):
    with Crowd(crowded.port, kinds, crowded.paths[1]):
        for _ in range(3):
            check_others(crowded)
    check_others(crowded)


@pytest.mark.slow
def test_clients_that_stall_are_given_up(crowded):
    """A byte now and then keeps no connection for longer."""
    kinds = dict.fromkeys(OPENINGS, 3)
    with Crowd(crowded.port, kinds) as crowd:
        for connection in crowd.all:
            connection.settimeout(2 * SECONDS)
            said = b"".join(iter(lambda c=connection: _received(c), b""))
            assert statuses(said) in ([], [408], [400], [415])
            assert not said or b"application/problem+json" in said


def _received(connection):
    try:
        return connection.recv(1 << 16)
    except ConnectionError:
        return b""


def test_a_reader_who_takes_its_time_gets_everything(crowded):
    """1 MB/s is no slow reader; its reply waits, and no thread does."""
    headers = {"Accept": "text/csv"}
    url = crowded.url + crowded.paths[1]
    expected = requests.get(url, headers=headers, timeout=SECONDS).content
    got = bytearray()
    with requests.get(url, headers=headers, timeout=SECONDS, stream=True) as reply:
        for number, piece in enumerate(reply.iter_content(1 << 16)):
            got += piece
            time.sleep(0.06 if number < 20 else 0)
    assert got == expected


def test_a_head_is_waited_for_as_long_as_its_variable_says(tmp_path):
    server = Server(tmp_path, WEB_CONCURRENCY="1", IDEALFIT_HEADER_SECONDS="1")
    try:
        begin = time.monotonic()
        assert statuses(talk(server, OPENINGS["half a header"])) in ([], [408])
        assert time.monotonic() - begin < Limits().header_seconds - 2
    finally:
        server.stop()


def test_silent_connections_do_not_hold_up_a_stop(tmp_path):
    waits = {"IDEALFIT_HEADER_SECONDS": "1000"}
    server = Server(tmp_path, WEB_CONCURRENCY="1", IDEALFIT_WORKERS="1", **waits)
    with Crowd(server.port, {"silent": 50}):
        check_answers(server)
        begin = time.monotonic()
        server.stop()
        # Waiting for them would take all of the 30 seconds that requests have to end.
        assert time.monotonic() - begin < 28


def check_answers(server):
    assert requests.get(f"{server.url}/health/live", timeout=SECONDS).ok


# ---- What is no request, or a strange one --------------------------------------------------


WRONG = {
    "garbage": (b"garbage\r\n\r\n", 400),
    "no line": (b"\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "long line": (b"GET /" + b"a" * 9000, 414),
    "long header": (get("/", "X: " + "a" * 9000), 431),
    "many headers": (get("/", *[f"X{i}: a" for i in range(200)]), 431),
    "endless header": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000, 431),
    "no Host": (get("/", host=""), 400),
    "two Hosts": (get("/", "Host: b"), 400),
    "Expect": (get("/", "Expect: rain"), 417),
    "odd coding": (get("/", "Transfer-Encoding: rain"), 501),
    "two lengths": (post(b"x", "Content-Length: 2")[0] + b"x", 400),
    "length and chunked": (post(b"0\r\n\r\n", "Transfer-Encoding: chunked")[0], 400),
    "chunked twice": (get("/", "Transfer-Encoding: chunked, chunked"), 400),
    "chunked, spaced name": (get("/", "Transfer-Encoding : chunked"), 400),
    "length with a sign": (get("/", "Content-Length: +2"), 400),
    "length below 0": (get("/", "Content-Length: -1"), 400),
    "folded header": (get("/", "X: a", " b"), 400),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_request_is_a_problem(server, case):
    data, status = WRONG[case]
    said = talk(server, data, half_close=True)
    assert statuses(said) == [status]
    head, _, body = said.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    assert b"Content-Type: application/problem+json" in head
    check_head(head, problem)


def check_head(head, problem):
    """As every reply has it, and nothing about what serves it."""
    expected = DEFAULTS | {
        "Content-Type": "application/problem+json",
        "X-Request-ID": problem["request_id"],
    }
    lines = head.decode().split("\r\n")[1:]
    assert {f"{name}: {value}" for name, value in expected.items()} <= set(lines)
    assert not [line for line in lines if line.startswith("Server:")]


@pytest.mark.slow
def test_a_request_that_is_given_up_is_a_problem(crowded):
    opening = b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    for data in (opening, opening + b"\r\n1"):
        said = talk(crowded, data)
        head, _, body = said.partition(b"\r\n\r\n")
        assert statuses(head) == [408]
        check_head(head, json.loads(body))


def test_the_log_has_one_short_line_for_it(crowded):
    before = len(crowded.log.read_bytes())

    def refusals():
        whole, *_ = crowded.log.read_bytes()[before:].rpartition(b"\n")
        return [line for line in whole.splitlines() if b"refused" in line]

    talk(crowded, b"GET / HTTP/1.1\r\n" + b"\x1b[31mred" + b"a" * 8000 + b"\r\n\r\n")
    until(refusals)
    # When a second one is in the log, no more will be said of the first.
    talk(crowded, b"GET / HTTP/1.1\r\nsecond\r\n\r\n")
    until(lambda: len(refusals()) > 1)
    lines = refusals()
    assert len(lines) == 2
    assert len(lines[0]) < 300
    assert b"status=400" in lines[0]
    assert b"\x1b" not in lines[0]
    assert b"red" not in lines[0].replace(b"refused", b"")


def test_the_reply_does_not_say_what_serves_it(server):
    assert "Server" not in server.get("/health/live").headers


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO"])
def test_a_client_cannot_move_the_service(server, name):
    body = b"x,y\n1,2\n"
    for path in ("/evil/v1/datasets?name=a", "/v1/nothing"):
        head, body = post(body, f"{name}: /evil", "Connection: close", path=path)
        said = talk(server, head + body)
        assert statuses(said) == [404]
        assert b"application/problem+json" in said


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Forwarded-Proto: https"],
        ["X-Forwarded-Ssl: on", "X-Forwarded-Proto: http"],
        ["X-Forwarded-Host: evil.example", "X-Forwarded-For: 10.0.0.1"],
    ],
    ids=" and ".join,
)
def test_a_forwarded_header_changes_nothing(server, headers):
    """Although gunicorn trusts who connects from this host."""
    pages = [talk(server, get("/", "Connection: close", *more)) for more in ([], headers)]
    assert statuses(pages[1]) == [200]
    bodies = [page.partition(b"\r\n\r\n")[2] for page in pages]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    ("path", "is_health"),
    [
        ("/health/live", True),
        ("/health/ready", True),
        ("/lab/curves/health/live", True),
        ("/health/live/", False),
        ("/health", False),
        ("/v1/limits", False),
        ("/v1/datasets/live", False),
    ],
)
def test_health_has_threads_of_its_own(path, is_health):
    """Also below a prefix."""
    own = dict.fromkeys(["/health/live", "/health/ready"], "own")
    worker = SimpleNamespace(apart=own, tpool="others'")
    conn = SimpleNamespace(is_whole=True, request=SimpleNamespace(path=path))
    assert Worker.pool_of(worker, conn) == ("own" if is_health else "others'")


@pytest.mark.parametrize(
    ("options", "closes"),
    [
        (["Connection: close"], True),
        (["Connection: a, close"], True),
        (["Connection: a", "Connection: Close"], True),
        (["Connection: keep-alive"], False),
        ([], False),
    ],
)
def test_a_client_says_whether_another_request_follows(server, options, closes):
    said = talk(server, get("/health/live", *options) + LAST)
    assert statuses(said) == ([200] if closes else [200, 200])


def test_http_1_0_needs_no_host_and_closes(server):
    said = talk(server, get(host="", version="1.0"))
    assert said.startswith(b"HTTP/1.0 200 ")
    assert said.endswith(b'{"status":"ok"}')


# ---- Requests in all pieces ----------------------------------------------------------------


def test_requests_may_come_in_any_pieces(server):
    head, body = post(b"x,y\n1,2\n3,4\n")
    whole = head + body + LAST
    for cut in (1, 2, len(head) - 3, len(head) - 1, len(head), len(head) + 2, len(head + body) + 5):
        assert statuses(talk(server, whole[:cut], whole[cut:])) == [201, 200]


def test_requests_may_come_at_once(server):
    head, body = post(b"x,y\n1,2\n")
    assert statuses(talk(server, get() * 3 + LAST)) == [200] * 4
    assert statuses(talk(server, (head + body) * 3 + LAST)) == [201] * 3 + [200]
    one_and_a_half = head + body + LAST[:20]
    assert statuses(talk(server, one_and_a_half, LAST[20:])) == [201, 200]


@pytest.mark.parametrize("rows", [0, 1, 10_000, 20_000, 600_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_all_sizes_are_whole(server, rows, chunked):
    body = b"x,y\n" + b"".join(b"%d,2\n" % row for row in range(rows))
    sent = (body[i : i + 70_001] for i in range(0, len(body), 70_001)) if chunked else body
    with requests.Session() as session:
        url, headers = f"{server.url}/v1/datasets", {"Content-Type": "text/csv"}
        reply = session.post(url, data=sent, headers=headers, timeout=120)
        assert reply.status_code == (201 if rows else 422), reply.text
        assert reply.json().get("n_points", 0) == rows
        assert session.get(f"{server.url}/health/live", timeout=SECONDS).ok


def test_a_chunked_body_may_be_followed_by_a_request(server):
    head, _ = post(b"", "Transfer-Encoding: chunked", length=False)
    body = b"8;a=b\r\nx,y\n1,2\n\r\n4\r\n3,4\n\r\n0\r\nX-After: a\r\n\r\n"
    assert statuses(talk(server, head + body + LAST)) == [201, 200]
    assert statuses(talk(server, head, body[:12], body[12:-3], body[-3:] + LAST)) == [201, 200]


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_client_may_wait_for_100_continue(server, pieces):
    head, body = post(b"x,y\n1,2\n", "Expect: 100-continue", "Connection: close")
    if pieces == 1:
        # Who does not wait needs no leave.
        assert statuses(talk(server, head + body)) in ([201], [100, 201])
        return
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        connection.sendall(head)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert statuses(connection.recv(1000)) == [201]


@pytest.mark.parametrize("size", [1000, 1 << 20, 40 << 20])
@pytest.mark.parametrize(("kind", "status"), [("text/odd", 415), ("application/json", 413)])
def test_the_client_of_a_refused_body_sees_why(server, size, kind, status):
    """One that sends all before it reads: its connection must not be reset."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    connection.request("POST", "/v1/datasets", b" " * size, {"Content-Type": kind})
    reply = connection.getresponse()
    assert reply.status == (status if kind == "text/odd" or size > 16 << 20 else 400)
    assert json.loads(reply.read())["status"] == reply.status
    connection.close()


def test_a_small_refused_body_keeps_the_connection(server):
    head, body = post(b"x" * 1000, kind="text/odd")
    assert statuses(talk(server, head + body + LAST)) == [415, 200]


# ---- Files that run out, and other servers -------------------------------------------------


def test_running_out_of_files_ends_no_process(tmp_path):
    server = Server(tmp_path, WEB_CONCURRENCY="1", IDEALFIT_WORKERS="1")
    master = psutil.Process(server.process.pid)
    webs = [one for one in master.children(recursive=True) if one.num_threads() > 2]
    before = {one.pid for one in master.children(recursive=True)}
    for one in webs:
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (one.num_fds() + 4,) * 2)
    with Crowd(server.port, {"silent": 60}):
        time.sleep(2)
    for _ in range(20):
        check_answers(server)
    assert {one.pid for one in master.children(recursive=True)} == before
    server.stop()


def test_your_own_gunicorn_has_it_too(tmp_path, sqlite_template):
    """As docs/operations.md says."""
    line = re.search(
        r"^IDEALFIT_THREADS=8 gunicorn (--worker-class .*)$",
        Path("docs/operations.md").read_text(),
        re.MULTILINE,
    )
    options = line[1].replace("127.0.0.1:8000", "127.0.0.1:{}").split()
    shutil.copy(sqlite_template, tmp_path / "idealfit.db")
    server = Server(
        tmp_path,
        command=lambda port: ["-m", "gunicorn", *[word.format(port) for word in options]],
    )
    with Crowd(server.port, {"half a header": 40, "silent": 40}):
        check_answers(server)
    head, body = post(b"x,y\n1,2\n", "SCRIPT_NAME: /evil", path="/evil/v1/datasets")
    assert statuses(talk(server, head + body, half_close=True)) == [404]
    server.stop()
