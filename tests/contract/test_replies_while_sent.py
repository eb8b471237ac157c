"""Replies that are made while they are sent; only a few are made at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import requests

from tests.server import Server
from tests.waiting import PATIENCE, until

APPLICATION = """
import collections, json, sys, threading
from gunicorn.app.base import BaseApplication
from api.connections import Worker

counts, go = collections.Counter(), threading.Event()
TEXT, JSON = [("Content-Type", "text/plain")], ("Content-Type", "application/json")

class Made:
    def __init__(self, name):
        self.name = name
        counts[name + " begun"] += 1

    def __iter__(self):
        yield b"made"
        assert "/first" not in self.name or go.wait(300)
        counts[self.name + " made"] += 1
        yield b" once"

    def close(self):
        counts[self.name + " closed"] += 1

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/first", "/second"):
        start_response("200 OK", TEXT)
        return Made(environ["REQUEST_METHOD"] + " " + path)
    if path == "/go":
        go.set()
    body = json.dumps(counts).encode()
    start_response("200 OK", [JSON, ("Content-Length", str(len(body)))])
    return [body]

class Four(BaseApplication):
    def load_config(self):
        for name, value in {
            "bind": "127.0.0.1:" + sys.argv[1], "worker_class": Worker, "threads": 4
        }.items():
            self.cfg.set(name, value)

    def load(self):
        return application

Four().run()
"""
"""Of its four threads one may make a reply while it is sent."""


def test_a_reply_that_stands_back_is_made_once(tmp_path):
    """The GET runs twice at most, and a method that may change something runs once."""
    server = Server(tmp_path, command=lambda port: ["-c", APPLICATION, str(port)])

    def count(name):
        counts = requests.get(f"{server.url}/counts", timeout=PATIENCE).json()
        return [counts.get(f"{name} {what}", 0) for what in ("begun", "made", "closed")]

    def ask(path):
        return requests.get(server.url + path, timeout=PATIENCE, stream=True)

    with ThreadPoolExecutor(1) as pool:
        with ask("/first") as first:
            assert count("GET /first") == [1, 0, 0]
            second = pool.submit(ask, "/second")
            until(lambda: count("GET /second") == [1, 0, 1], what="a reply that stands back")
            posted = requests.post(f"{server.url}/second", timeout=PATIENCE)
            assert posted.content == b"made once"
            until(lambda: count("POST /second") == [1, 1, 1])
            assert count("GET /second") == [1, 0, 1]
            ask("/go")
            assert first.content == b"made once"
        assert second.result().content == b"made once"
        until(lambda: count("GET /first") == [1, 1, 1])
        until(lambda: count("GET /second") == [2, 1, 2])
    server.stop()
