"""Time `evaluate` while the workers are idle and while all of them compute.

One service runs with the default processes and workers, as `idealfit serve` starts it. Idle rounds
alternate with rounds in which every worker has a long fit.
Path: request of a user, over HTTP.
Run it with: python -m benchmarks busy
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson

from api.examples import make
from api.processes import worker_processes
from benchmarks.clients import measure
from benchmarks.service import Server, free_port
from benchmarks.tables import Times

ROUNDS = 3


CONNECTIONS, SECONDS = 4, 3.0


def dataset(server: Server, name: str, columns: dict[str, object]) -> str:
    """Post columns and return the id of the dataset."""
    return str(server.post("/v1/datasets", {"name": name, "columns": columns})["id"])


def queue(server: Server, body: dict[str, str]) -> str:
    """Queue a fit and return its path."""
    return f"/v1/fits/{server.post('/v1/fits', body, Prefer='respond-async')['id']}"


def show(title: str, times: Times) -> float:
    """Print a line and return the 99th percentile in milliseconds."""
    cuts = [1000 * cut for cut in statistics.quantiles(times, n=100)]
    print(f"{title:6} {len(times):6} calls  p50 {cuts[49]:6.2f} ms  p99 {cuts[98]:6.2f} ms")
    return cuts[98]


def main() -> None:
    """Start a service and print the table."""
    tables, port = make(), free_port()
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "api.cli", "serve"]
    server = Server(command, port, IDEALFIT_DATA=str(folder), PORT=str(port))
    try:
        ids = {
            name: dataset(
                server,
                name,
                {table.x_name: table.x, **dict(zip(table.names, table.y, strict=True))},
            )
            for name, table in tables.items()
        }
        pair = {"training_id": ids["training"], "ideal_id": ids["ideal"]}
        fit = server.post("/v1/fits", pair)["id"]
        test = tables["test"]
        points = orjson.dumps({"x": test.x[:10].tolist(), "y": test.y[0, :10].tolist()})
        noise = np.round(np.random.default_rng(1).normal(size=(2500, 400)), 3)
        curves = {f"y{i}": y for i, y in enumerate(noise)}
        many = dataset(server, "noise", {"x": np.arange(400.0), **curves})
        long = {"training_id": many, "ideal_id": many, "criterion": "mae", "transform": "affine"}
        path = f"/v1/fits/{fit}/evaluate"
        ratios = []
        for _ in range(ROUNDS):
            idle = show("idle", measure(port, path, points, CONNECTIONS, SECONDS))
            jobs = [queue(server, long) for _ in range(worker_processes())]
            time.sleep(1.5)
            ratios.append(show("busy", measure(port, path, points, CONNECTIONS, SECONDS)) / idle)
            for job in jobs:
                state = orjson.loads(server.get(job))["state"]
                assert state == "running", "the jobs are too short"
                server.request("POST", f"{job}/cancel")
            time.sleep(2)
        print(f"p99 busy / idle {statistics.median(ratios):.2f}, of {ROUNDS} rounds")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
