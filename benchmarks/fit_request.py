"""Compare a whole POST /v1/fits with searches in memory, in one run.

    python -m benchmarks.fit_request                     # 100 x 20 000 curves of 400 points
    python -m benchmarks.fit_request --curves 100000

Ours is one request over HTTP to a running service on SQLite. It finds, scores and stores a match
with all statistics for each training curve. `warm` repeats the request; `cold` is the first one
after the service has started. The peers get arrays in the same process and a built index, and they
return positions only: FAISS IndexFlatL2 on one thread with `distance_compute_blas_threshold = 1`,
and the expanded squares in one line of NumPy. Every round runs every contender once; ratios are
medians of the ratios within a round (above 1: Idealfit is faster).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from api.store.base import Database
from api.store.migrate import migrate
from benchmarks.fit import a_problem, faiss_search
from benchmarks.requests_per_second import free_port, post, serving
from services.tables import FloatArray

ARROW = "application/vnd.apache.arrow.stream"
POINTS = 400


def upload(port: int, name: str, curves: FloatArray) -> str:
    """Store curves, one per row of an Arrow stream, and return the id of the dataset."""
    rows = np.concatenate([np.arange(float(curves.shape[1]))[np.newaxis], curves])
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, rows.ravel())
    table = pa.table({"name": ["x", *(f"f{i}" for i in range(len(curves)))], "y": lists})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    reply = post(port, f"/v1/datasets?name={name}", sink.getvalue().to_pybytes(), ARROW)
    return str(orjson.loads(reply)["id"])


def fit_over_http(port: int, body: bytes, wanted: int) -> float:
    """Return the seconds of one request, whose reply must have all matches."""
    started = time.perf_counter()
    record = orjson.loads(post(port, "/v1/fits", body))
    took = time.perf_counter() - started
    if record["state"] != "succeeded" or record["progress"]["done"] != wanted:
        message = f"the fit was not done in the request: {record['state']}"
        raise SystemExit(message)
    return took


def one_line(training: FloatArray, library: FloatArray) -> object:
    """Choose by expanded squares, whose rounding decides."""
    return ((library**2).sum(axis=1) - 2 * training @ library.T).argmin(axis=1)


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(kind: str, training_curves: int, library_curves: int, rounds: int) -> None:
    """Print a line for each contender on one problem."""
    training, library = a_problem(kind, training_curves, library_curves, POINTS)
    peers: dict[str, Callable[[], object]] = {"numpy line": lambda: one_line(training, library)}
    search = faiss_search(training, library, 1, tuned=True)
    if search is not None:
        peers["faiss tuned"] = search
    port = free_port()
    times: dict[str, list[float]] = {name: [] for name in ("idealfit warm", *peers)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        migrate(Database(f"sqlite:///{folder / 'idealfit.db'}"))
        with serving(folder, port):
            pair = (upload(port, "training", training), upload(port, "library", library))
        body = orjson.dumps(dict(zip(("training_id", "ideal_id"), pair, strict=True)))
        with serving(folder, port):
            cold = fit_over_http(port, body, library_curves)
            for _ in range(rounds):
                times["idealfit warm"].append(fit_over_http(port, body, library_curves))
                for peer, work in peers.items():
                    times[peer].append(seconds(work))
    label = f"{training_curves} x {library_curves} x {POINTS} {kind}"
    print(f"{label:32} {'idealfit cold':14} {cold * 1e3:9.1f} ms")
    for contender, took in times.items():
        ratios = [a / b for a, b in zip(took, times["idealfit warm"], strict=True)]
        print(
            f"{label:32} {contender:14} {statistics.median(took) * 1e3:9.1f} ms"
            f" {min(took) * 1e3:8.1f} -{max(took) * 1e3:8.1f} {statistics.median(ratios):7.2f}",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--training", type=int, default=100)
    parser.add_argument("--curves", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    for kind in ("smooth", "noise"):
        compare(kind, args.training, args.curves, args.rounds)


if __name__ == "__main__":
    main()
