"""Small calls and batches over HTTP, beside FastAPI, flask-smorest and bare Flask.

Every server has one process. The Flask servers and Idealfit have four threads under gunicorn,
FastAPI runs under uvicorn. All of them give the same answers, which is asserted first, except the
bare Flask route with canned bytes, which computes nothing. Each round runs every contender once;
ratios are rates of the same round, above 1 ours is faster.

`evaluate` maps 10 points to a fit of 4 curves; `dataset` stores 400 x 51 numbers sent as JSON:
Idealfit as it always does, FastAPI and flask-smorest with SQLAlchemy in two tables, bare Flask as
one row.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from api.examples import make
from benchmarks.clients import measure
from benchmarks.service import ARROW, Server, running, serving
from benchmarks.tables import HTTP, Table, milliseconds, ratios, spread
from services.tables import Table as Curves

OURS = "Idealfit"
CANNED = "bare Flask, canned bytes"
COMPUTING = "bare Flask, computes"
SYNC = "FastAPI + pydantic, sync"
ASYNC = "FastAPI + pydantic, async"
SMOREST = "flask-smorest, stock"

BATCH = 100_000
"""Points of the large evaluation."""

Route = tuple[Server, str]


class Sides:
    """All servers, with the path of each call."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        tables = make()
        self.test = tables["test"]
        self.library = write_dataset("ideal", tables["ideal"])
        self.points = orjson.dumps(self.pick(10), option=orjson.OPT_SERIALIZE_NUMPY)
        ours = stack.enter_context(serving(folder, workers=0))
        ids = {
            name: orjson.loads(ours.request("POST", "/v1/datasets", write_dataset(name, table)))[
                "id"
            ]
            for name, table in tables.items()
        }
        pair = {"training_id": ids["training"], "ideal_id": ids["ideal"]}
        fit = ours.post("/v1/fits", pair)
        path = f"/v1/fits/{fit['id']}/evaluate"
        self.answer = ours.request("POST", path, self.points)
        x_tolerance = orjson.loads(self.answer)["x_tolerance"]
        save_fit(folder / "fit.npz", tables["ideal"], fit["matches"]["items"], x_tolerance)
        self.start_peers(folder, stack)
        self.evaluate[OURS] = ours, path
        self.datasets[OURS] = ours, "/v1/datasets"

    def start_peers(self, folder: Path, stack: ExitStack) -> None:
        """Start the other servers."""
        known = {"PEER_FIT": str(folder / "fit.npz"), "PEER_ANSWER": self.answer.decode()}
        gunicorn = ["-k", "gthread", "-w", "1", "--threads", "4", "--log-level", "warning"]
        gunicorn += ["--no-control-socket", "-b"]
        uvicorn = ["--log-level", "warning", "--no-access-log", "--port"]
        bare, smorest = (
            stack.enter_context(
                running(
                    [sys.executable, "-m", "gunicorn", f"benchmarks.rivals.{name}:app", *gunicorn],
                    PEER_FILE=str(folder / f"{name}.db"),
                    **known,
                )
            )
            for name in ("bare", "smorest")
        )
        command = [sys.executable, "-m", "uvicorn", "benchmarks.rivals.fast:app", *uvicorn]
        fast = stack.enter_context(running(command, PEER_FILE=str(folder / "fast.db"), **known))
        self.evaluate: dict[str, Route] = {
            OURS: (fast, ""),
            CANNED: (bare, "/canned"),
            COMPUTING: (bare, "/evaluate/fit"),
            SYNC: (fast, "/evaluate/fit"),
            ASYNC: (fast, "/evaluate-async/fit"),
            SMOREST: (smorest, "/evaluate/fit"),
        }
        self.datasets: dict[str, Route] = {
            OURS: (fast, ""),
            "bare Flask, one row": (bare, "/datasets"),
            SYNC: (fast, "/datasets"),
            SMOREST: (smorest, "/datasets"),
        }

    def pick(self, count: int) -> dict[str, Any]:
        """Return points of the example, repeated as often as needed."""
        columns = {"x": self.test.x, "y": self.test.y[0]}
        return {name: np.resize(column, count) for name, column in columns.items()}

    def check(self) -> None:
        """Assert that all sides evaluate alike, and store as many numbers."""
        for name, (server, path) in self.evaluate.items():
            found = orjson.loads(server.request("POST", path, self.points))
            assert found == orjson.loads(self.answer), name
        for name, (server, path) in self.datasets.items():
            found = orjson.loads(server.request("POST", path, self.library))
            assert name.startswith("bare") or (found["n_points"], found["n_curves"]) == (400, 50)


def write_dataset(name: str, table: Curves) -> bytes:
    """Return the JSON body of a dataset."""
    columns = {table.x_name: table.x, **dict(zip(table.names, table.y, strict=True))}
    return orjson.dumps({"name": name, "columns": columns}, option=orjson.OPT_SERIALIZE_NUMPY)


def save_fit(path: Path, ideal: Curves, matches: list[dict[str, Any]], x_tolerance: float) -> None:
    """Write the chosen curves for the peers."""
    np.savez(
        path,
        x=ideal.x,
        curves=ideal.y[[match["ideal_index"] for match in matches]],
        max_deviation=np.array([match["max_deviation"] for match in matches]),
        training=np.array([match["training"] for match in matches]),
        ideal=np.array([match["ideal"] for match in matches]),
        x_tolerance=x_tolerance,
    )


@contextmanager
def start_all() -> Iterator[Sides]:
    """Run all servers, and check that they agree."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = Sides(Path(folder), stack)
        sides.check()
        yield sides


def compare_calls(  # noqa: PLR0913, PLR0917 - a row for each
    table: Table,
    title: str,
    routes: dict[str, Route],
    body: bytes,
    connections: int,
    rounds: int,
    duration: float,
) -> None:
    """Print a row for each contender."""
    rates: dict[str, list[float]] = {name: [] for name in routes}
    slow: dict[str, list[tuple[float, float]]] = {name: [] for name in routes}
    for turn in range(-1, rounds):
        for name, (server, path) in routes.items():
            # The first round warms up.
            length = duration if turn >= 0 else min(duration, 0.5)
            times = measure(server.port, path, body, connections, length)
            if turn >= 0:
                cuts = statistics.quantiles(times, n=100)
                # By the clients' own time: a last request may end after the round.
                rates[name].append(len(times) * connections / sum(times))
                slow[name].append((1e3 * cuts[49], 1e3 * cuts[98]))
    for name, found in rates.items():
        p50, p99 = (statistics.median(column) for column in zip(*slow[name], strict=True))
        beside = "" if name == OURS else spread(ratios(rates[OURS], found))
        rate = f"{statistics.median(found):.0f}"
        table.row(title, connections, name, rate, f"{p50:.2f}", f"{p99:.2f}", beside)


def show_calls(sides: Sides, rounds: int, duration: float, connections: list[int]) -> None:
    """Print the table of small calls."""
    note = f"Medians of {rounds} rounds of {duration} s; one server process each."
    columns = ["call", "connections", "contender", "requests/s", "p50, ms", "p99, ms"]
    table = Table("Small calls", HTTP, note, [*columns, "Idealfit / it"])
    for count in connections:
        compare_calls(
            table, "evaluate 10 points", sides.evaluate, sides.points, count, rounds, duration
        )
    for count in connections:
        compare_calls(
            table, "POST of 400 × 51", sides.datasets, sides.library, count, rounds, duration
        )
    table.end()


def show_batches(sides: Sides, rounds: int, points: int) -> None:
    """Print the table of large evaluations."""
    body = orjson.dumps(sides.pick(points), option=orjson.OPT_SERIALIZE_NUMPY)
    server, path = sides.evaluate[OURS]
    asked = {"JSON": "application/json", "CSV": "text/csv", "Arrow": ARROW}
    calls: dict[str, tuple[Server, str, str]] = {
        f"{OURS}, {name}": (server, path, kind) for name, kind in asked.items()
    }
    calls |= {name: (*sides.evaluate[name], "application/json") for name in (SYNC, SMOREST)}
    note = f"One connection, {points:,} points in one `evaluate`, {rounds} rounds."
    columns = ["contender", "ms", "FastAPI sync / it", "reply, MB", "peak memory of the server, MB"]
    table = Table("Batches", HTTP, note, columns)
    times: dict[str, list[float]] = {name: [] for name in calls}
    sizes, peaks = {}, {}
    for _ in range(rounds):
        for name, (target, at, kind) in calls.items():
            target.forget_peak()
            started = time.perf_counter()
            sizes[name] = len(target.request("POST", at, body, Accept=kind))
            times[name].append(time.perf_counter() - started)
            peaks[name] = target.peak_mb()
    for name, took in times.items():
        beside = spread(ratios(times[SYNC], took))
        table.row(
            name, milliseconds(took), beside, f"{sizes[name] / 1e6:.1f}", f"{peaks[name]:.0f}"
        )
    table.end()


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks small",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", nargs="+", type=int, default=[2, 8])
    parser.add_argument("--points", type=int, default=BATCH)
    args = parser.parse_args(arguments)
    with start_all() as sides:
        show_calls(sides, args.rounds, args.seconds, args.connections)
        show_batches(sides, min(args.rounds, 3), args.points)


if __name__ == "__main__":
    main()
