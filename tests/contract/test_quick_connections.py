"""Connections of quick requests: the thread that serves them, and all that ends its work."""

from __future__ import annotations

import http.client
import socket
import time

import pytest

from tests.server import Server
from tests.waiting import PATIENCE, until

APPLICATION = """
import sys, threading, time
from gunicorn.app.base import BaseApplication
from api.connections import Worker

waits, go, workers = [], [], []

class Own(Worker):
    def init_process(self):
        workers.append(self)
        super().init_process()

def application(environ, start_response):
    path, size = environ["PATH_INFO"], len(environ["wsgi.input"].read())
    name = "quick" if threading.current_thread().name == "quick" else "pool"
    if path == "/wait":
        go.append(threading.Event())
        waits.append(name)
        assert go[-1].wait(300)
    if path == "/go":
        waits.clear()
        go.pop().set()
    while path == "/stop" and workers[0].alive:
        time.sleep(0.01)
    if path == "/leave":
        raise SystemExit
    body = f"{waits if path == '/waits' else name} {size}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

class Few(BaseApplication):
    def load_config(self):
        for name, value in {
            "bind": "127.0.0.1:" + sys.argv[1], "worker_class": Own, "threads": 2,
            **dict(pair.split("=") for pair in sys.argv[2:]),
        }.items():
            self.cfg.set(name, value)

    def load(self):
        return application

Few().run()
"""
"""Its replies say which thread made them, and how long the body was."""


class Client:
    """A client that keeps its connection."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)

    def send(self, path="/", body=b""):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def receive(self):
        reply = http.client.HTTPResponse(self.socket)
        reply.begin()
        return reply.read().decode()

    def ask(self, path="/", body=b""):
        self.send(path, body)
        return self.receive()

    def become_quick(self):
        """Ask until the thread of the quick connections answers: on a busy machine not at once."""
        until(lambda: self.ask() == "quick 0", what="a quick request")

    def is_closed(self):
        return self.socket.recv(1) == b""


class Place:
    """A server of one process and two threads, and its clients."""

    def __init__(self, folder, *options):
        self.server = Server(folder, lambda port: ["-c", APPLICATION, str(port), *options])
        self.clients = []

    def client(self, *, quick=True):
        self.clients.append(Client(self.server))
        if quick:
            self.clients[-1].become_quick()
        return self.clients[-1]

    def hold_up(self):
        """Let a client hold up the quick thread; return it and one that can end that."""
        slow, other = self.client(), self.client(quick=False)
        while True:
            slow.become_quick()
            slow.send("/wait")
            waits = until(lambda: self._waits(other), what="a request that waits")
            if "quick" in waits:
                return slow, other
            other.ask("/go")
            slow.receive()

    def _waits(self, client):
        found = client.ask("/waits")
        return None if found.startswith("[]") else found

    def close(self):
        for client in self.clients:
            client.socket.close()
        self.server.stop()


@pytest.fixture
def start(tmp_path):
    """Factory of places, with options of gunicorn."""
    places = []

    def make(*options):
        places.append(Place(tmp_path, *options))
        return places[-1]

    yield make
    for place in places:
        place.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A place for all tests that stop nothing."""
    place = Place(tmp_path_factory.mktemp("quick"))
    yield place
    place.close()


def test_a_request_that_takes_long_holds_up_nobody(place):
    others = [place.client() for _ in range(3)]
    slow, other = place.hold_up()
    for _ in range(2):
        assert [client.ask() for client in others] == ["pool 0"] * 3
    other.ask("/go")
    assert slow.receive() == "quick 0"
    assert slow.ask() == "pool 0"
    others[0].become_quick()


@pytest.mark.parametrize("size", [0, 100, 70_000, 1_000_000])
@pytest.mark.parametrize("first", [1, 20, 60, 65_600])
def test_a_request_may_come_in_pieces(place, size, first):
    client = place.client()
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
    data = head + b"a" * size
    client.socket.sendall(data[:first])
    time.sleep(0.02)
    client.socket.sendall(data[first:])
    assert client.receive().endswith(f" {size}")
    client.become_quick()


def test_requests_may_come_at_once(place):
    client, count = place.client(), 9
    message = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
    client.socket.sendall(b"".join(message % (size, b"a" * size) for size in range(count)))
    said = b""
    while said.count(b"HTTP/1.1 200") < count or said[-1:] != b"%d" % (count - 1):
        said += client.socket.recv(1 << 16)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in said.split(b"HTTP/1.1 ")[1:]]
    assert [int(body.split()[1]) for body in bodies] == list(range(count))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: rain\r\n\r\n", 417),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n", None),
    ],
)
def test_a_request_that_fails_ends_its_connection_only(place, data, status):
    other, client = place.client(), place.client()
    client.socket.sendall(data)
    with client.socket.makefile("rb") as file:
        said = file.read()
    assert said.startswith(b"HTTP/1.1 %d" % status) if status else not said
    other.become_quick()


def test_a_client_that_leaves_takes_nobody_with_it(place):
    other = place.client()
    for _ in range(5):
        place.client().socket.close()
    other.become_quick()


def test_an_idle_connection_is_closed_in_time(start):
    place = start("keepalive=1")
    client = place.client()
    assert client.is_closed()


def test_an_idle_connection_makes_room_for_a_new_one(start):
    """Nine connections are too many; the one that has been idle longest is closed."""
    place = start("worker_connections=8")
    first, *_ = [place.client() for _ in range(5)]
    while len(place.clients) < 9:
        place.client(quick=False).ask()
    assert first.is_closed()


def test_a_stop_waits_for_no_idle_connection(start):
    place = start()
    client = place.client()
    place.server.process.terminate()
    assert client.is_closed()
    assert place.server.process.wait(PATIENCE) == 0


def test_a_stop_waits_for_a_request(start):
    place = start()
    client = place.client()
    client.send("/stop")
    place.server.process.terminate()
    # On a busy machine the request before may not have been quick.
    assert client.receive() in {"quick 0", "pool 0"}
    assert client.is_closed()
    assert place.server.process.wait(PATIENCE) == 0
