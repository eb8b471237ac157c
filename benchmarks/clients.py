"""Clients that send the same request over kept-alive connections, one process each."""

from __future__ import annotations

import multiprocessing
import socket
import time

from benchmarks.tables import Times


def measure(port: int, path: str, body: bytes, connections: int, duration: float) -> Times:
    """Return the seconds of every request of all connections."""
    found: multiprocessing.Queue[Times] = multiprocessing.Queue()
    message = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    clients = [
        multiprocessing.Process(target=_send, args=(port, message, duration, found))
        for _ in range(connections)
    ]
    for client in clients:
        client.start()
    times = [took for _ in clients for took in found.get(timeout=duration + 60)]
    for client in clients:
        client.join()
    return times


def _send(port: int, message: bytes, duration: float, found: multiprocessing.Queue[Times]) -> None:
    """Send requests one after the other, and return the seconds of each."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + duration
        while (begin := time.perf_counter()) < end:
            connection.sendall(message)
            _read_reply(connection)
            times.append(time.perf_counter() - begin)
    found.put(times)


def _read_reply(connection: socket.socket) -> None:
    """Read the head and body of one reply; an error ends the run."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
        raise SystemExit(data.decode())
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += connection.recv(65536)
