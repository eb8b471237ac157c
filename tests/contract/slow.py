"""Clients that stall for as long as a test needs them."""

from __future__ import annotations

import contextlib
import socket
import threading

HOST = b"Host: localhost\r\n"
BODY = b"POST /v1/datasets HTTP/1.1\r\n" + HOST + b"Content-Type: text/csv\r\nContent-Length: "
OPENINGS = {
    "silent": b"",
    "half a header": b"GET / HTTP/1.1\r\n" + HOST + b"X: ",
    "slow body": BODY + b"1000\r\n\r\nx,y\n",
    "slow long body": BODY + b"16000000\r\n\r\nx,y\n" + b"1,2\n" * 20_000,
    "slow chunked body": BODY[:-16] + b"Transfer-Encoding: chunked\r\n\r\n5\r\nx,y\n",
    "slow refused body": BODY.replace(b"text/csv", b"text/odd") + b"16000000\r\n\r\nx",
    "slow refused long body": BODY.replace(b"text/csv", b"text/odd")
    + b"16000000\r\n\r\n"
    + b"x" * 80_000,
}
"""What each kind sends at once; then a byte a second, or nothing."""

READER = "slow reader"


class Crowd:
    """Connections of one kind each, kept busy at a byte a second, or 5 kB of a reply."""

    def __init__(self, port, kinds, path="/"):
        self.port = port
        self.all, self.readers, self.writers = [], [], []
        for kind, count in kinds.items():
            for _ in range(count):
                self._open(kind, path)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._go_on)

    def _open(self, kind, path):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.connect(("127.0.0.1", self.port))
        connection.settimeout(0)
        if kind == READER:
            opening = f"GET {path} HTTP/1.1\r\nAccept: text/csv\r\n".encode() + HOST + b"\r\n"
            self.readers.append(connection)
        else:
            opening = OPENINGS[kind]
            if kind != "silent":
                self.writers.append(connection)
        # What the server does not take now, it need not get.
        with contextlib.suppress(OSError):
            connection.send(opening)
        self.all.append(connection)

    def _go_on(self):
        while not self.over.wait(1):
            for connection in self.writers:
                with contextlib.suppress(OSError):
                    connection.send(b"1")
            for connection in self.readers:
                with contextlib.suppress(OSError):
                    connection.recv(5000)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for connection in self.all:
            connection.close()
