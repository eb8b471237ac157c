"""Time one large fit on a Dask cluster of 1 and 2 workers, and without a cluster.

A dry run then extrapolates these costs to a library of 100 million curves and more workers: the
time, the bytes that each worker reads, and the bottleneck.

    python -m benchmarks cluster
    python -m benchmarks cluster --database postgresql://...   (an empty one)
"""

from __future__ import annotations

import argparse
import heapq
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from api.config import Settings
from api.jobs.cluster import Cluster, cut
from api.jobs.common import report_nothing
from api.jobs.fits import plan_fit, prepare_fit
from api.jobs.inputs import read_fit_inputs
from api.jobs.rankers import LocalRanker
from api.schemas.fits import FitRequest
from api.store.base import Database, find
from api.store.fits import Fit
from api.store.migrate import migrate
from benchmarks.library import POINTS, store

LARGE = 100_000_000
"""Curves of the dry run."""

SHARES = {"noise": 1.0, "smooth": 0.055}
"""Part of the values that is read: all, or the sketches and few curves (ADR 0010)."""

NETWORK = 1.2e9
"""Bytes a second that one database server can send: ten gigabit."""


@contextmanager
def workers(count: int, environment: dict[str, str]) -> Iterator[str]:
    """Run a scheduler with workers of one thread each, and yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
        scheduler = [sys.executable, "-m", "dask", "scheduler", "--port", "0", *options]
        worker = [sys.executable, "-m", "dask", "worker", "--nthreads", "1", *options]
        started = [subprocess.Popen(scheduler, **quiet)]
        while not file.exists():
            time.sleep(0.1)
        for number in range(count):
            place = ["--local-directory", f"{folder}/{number}"]
            started.append(subprocess.Popen(worker + place, env=environment, **quiet))
        try:
            with Client(scheduler_file=str(file), set_as_default=False) as client:
                client.wait_for_workers(count)
                address = client.scheduler.address
            yield address
        finally:
            for process in started[::-1]:
                process.terminate()
                process.wait()


def queued(database: Database, body: dict[str, object]) -> str:
    """Store a fit without beginning it, and return its id."""
    with database.writing() as session:
        fit = plan_fit(session, FitRequest().load(body)).job
        session.add(fit)
        session.flush()
        return fit.id


def seconds(database: Database, fit_id: str, ranker: LocalRanker | Cluster, rounds: int) -> float:
    """Return the median time of ranking the library."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        with database.reading() as session:
            inputs = read_fit_inputs(session, find(session, Fit, fit_id))
            ranker.rank(session, inputs, prepare_fit(session, inputs), report_nothing)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def dry_run(parts: int, part_seconds: float, part_bytes: float, count: int) -> tuple[float, str]:
    """Estimate the seconds for all parts on a number of workers, and name the bottleneck.

    Each part goes to the first free worker; all workers read from one database.
    """
    free = [0.0] * count
    for number in range(parts):
        # The worker that owns the job hands out a part in a millisecond.
        begin = max(heapq.heappop(free), number * 1e-3)
        heapq.heappush(free, begin + part_seconds)
    computing, reading = max(free), parts * part_bytes / NETWORK
    if reading > computing:
        return reading, "the network of the database"
    return computing, "the workers" if computing > 2e-3 * parts else "handing out parts"


def show_dry_runs(step: int, curve_seconds: float, share: float) -> None:
    """Print a line for each size of cluster; of `step` curves a part, `share` is read."""
    parts, part_seconds = -(-LARGE // step), step * curve_seconds
    part_bytes = 8 * POINTS * step * share
    print(f"  dry run: {LARGE:,} curves, {parts} parts of {part_seconds:.3f} s each")
    for count in (1, 8, 32, 128):
        total, limit = dry_run(parts, part_seconds, part_bytes, count)
        each = parts * part_bytes / count / 1e9
        print(f"  {count:4} workers {total:9.1f} s, each reads {each:7.2f} GB; limit: {limit}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database")
    parser.add_argument("--curves", type=int, default=200_000)
    parser.add_argument("--kinds", nargs="+", default=["noise", "smooth"])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), database_url=args.database)
        environment = os.environ | {"DATABASE_URL": settings.url}
        database = Database(settings.url)
        migrate(database)
        for kind in args.kinds:
            library, training = store(database, kind, args.curves)
            fit_id = queued(database, {"training_id": training[0], "ideal_id": library})
            here = LocalRanker()
            alone = seconds(database, fit_id, here, args.rounds)
            print(f"{kind}, {args.curves} x {POINTS}: without a cluster {alone:7.2f} s")
            for count in (1, 2):
                with workers(count, environment) as address:
                    took = seconds(database, fit_id, Cluster(address, here), args.rounds)
                print(f"  {count} Dask workers {took:7.2f} s, {alone / took:5.2f} x", flush=True)
            with database.reading() as session:
                step = len(cut(find(session, Fit, fit_id), POINTS)[0])
            show_dry_runs(step, alone / args.curves, SHARES[kind])
        database.close()


if __name__ == "__main__":
    main()
