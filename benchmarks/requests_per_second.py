"""Compare the requests per second of small calls with a bare Flask route, in one run.

Both servers run the same gunicorn (one worker, four threads). One client process per connection
sends the same bytes over kept-alive connections. The servers alternate, so that a busy machine
slows both.
Run it with: make bench
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from api.examples import make

CONNECTIONS = 2
SECONDS = 3.0
ROUNDS = 5
Times = list[float]


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: list[str], port: int, **environment: str) -> subprocess.Popen[bytes]:
    """Start a server process and return it once it answers."""
    process = subprocess.Popen(command, env={**os.environ, **environment})
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                return process
        except OSError:
            time.sleep(0.1)
    message = f"{command} does not answer"
    raise SystemExit(message)


@contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """Run our service with one web process and nothing else."""
    options = ("--web", "1", "--workers", "0", "--threads", "4")
    command = [sys.executable, "-m", "api.cli", "serve", *options]
    server = start(command, port, IDEALFIT_DATA=str(folder), PORT=str(port))
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def post(port: int, path: str, body: bytes, kind: str = "application/json") -> bytes:
    """Post a body and return the reply."""
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request) as reply:  # noqa: S310
        return bytes(reply.read())


def hammer(port: int, path: str, body: bytes, found: multiprocessing.Queue[Times]) -> None:
    """Send requests one after the other, and return the seconds of each."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    message = head.encode() + body
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + SECONDS
        while (begin := time.perf_counter()) < end:
            connection.sendall(message)
            read_reply(connection)
            times.append(time.perf_counter() - begin)
    found.put(times)


def read_reply(connection: socket.socket) -> None:
    """Read head and body of one reply; an error ends the run."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
        raise SystemExit(data.decode())
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += connection.recv(65536)


def measure(port: int, path: str, body: bytes) -> Times:
    """Return the seconds of every request of all connections."""
    found: multiprocessing.Queue[Times] = multiprocessing.Queue()
    clients = [
        multiprocessing.Process(target=hammer, args=(port, path, body, found))
        for _ in range(CONNECTIONS)
    ]
    for client in clients:
        client.start()
    times = [seconds for _ in clients for seconds in found.get()]
    for client in clients:
        client.join()
    return times


def compare(title: str, ours: tuple[int, str], bare: tuple[int, str], body: bytes) -> None:
    """Print one line: both rates, the ratio, and the 99th percentiles."""
    ratios, rates, slow = [], [], []
    for _ in range(ROUNDS):
        pair = [measure(*ours, body), measure(*bare, body)]
        rate = [len(times) / SECONDS for times in pair]
        rates.append(rate)
        ratios.append(rate[0] / rate[1])
        slow.append([statistics.quantiles(times, n=100)[98] * 1000 for times in pair])
    rate, p99 = (
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in (rates, slow)
    )
    print(
        f"{title:34} idealfit {rate[0]:6.0f}/s p99 {p99[0]:5.1f} ms"
        f"   bare {rate[1]:6.0f}/s p99 {p99[1]:5.1f} ms"
        f"   ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> None:
    """Start both servers, prepare the records, print the table."""
    port, bare_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as data, serving(Path(data), port):
        tables, ids = make(), {}
        for name, table in tables.items():
            columns = {table.x_name: table.x, **dict(zip(table.names, table.y, strict=True))}
            body = {"name": name, "columns": columns}
            dataset = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
            ids[name] = orjson.loads(post(port, "/v1/datasets", dataset))["id"]
            if name == "ideal":
                library = dataset
        fit = {"training_id": ids["training"], "ideal_id": ids["ideal"]}
        fit_id = orjson.loads(post(port, "/v1/fits", orjson.dumps(fit)))["id"]
        test = tables["test"]
        points = orjson.dumps({"x": test.x[:10].tolist(), "y": test.y[0, :10].tolist()})
        path = f"/v1/fits/{fit_id}/evaluate"
        answer = post(port, path, points).decode()
        gunicorn = f"-m gunicorn bare:app -k gthread -w 1 --threads 4 -b 127.0.0.1:{bare_port}"
        gunicorn += " --log-level warning --no-control-socket"
        command = [sys.executable, *gunicorn.split(), "--chdir", str(Path(__file__).parent)]
        known = {"BARE_FILE": str(Path(data) / "bare.db"), "BARE_ANSWER": answer}
        bare = start(command, bare_port, **known)
        try:
            compare("evaluate 10 points", (port, path), (bare_port, "/evaluate"), points)
            compare("post 400 x 51 JSON", (port, "/v1/datasets"), (bare_port, "/datasets"), library)
        finally:
            bare.terminate()
            bare.wait()


if __name__ == "__main__":
    main()
