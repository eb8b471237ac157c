"""Fit four curves to libraries that do not fit in memory, through the store.

For each size it stores a library of 400 points a curve and fits to it in a separate process. It
prints the time, the bytes read from files (on SQLite: the database) and the peak memory, of the
first and the second fit, with sketches and without.

    python -m benchmarks library --curves 10000 100000 1000000
    python -m benchmarks library --curves 100000 --database postgresql://...
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import delete

from api.config import Settings
from api.jobs.kinds import FITS
from api.jobs.rankers import LocalRanker
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.store.base import Database, find_version
from api.store.datasets import Dataset, add_dataset, append_curves
from api.store.migrate import migrate
from api.store.sketches import SketchBasis
from benchmarks.problems import KINDS
from services.files import Source
from services.fitting.cache import Cache
from services.tables import FloatArray, Table

POINTS = 400
BATCH = 20_000
CACHE_BYTES = 256 << 20
SOURCE = Source("json", None, None, None, None)


def batches(kind: str, curves: int) -> Iterator[FloatArray]:
    """Yield the library in batches of curves."""
    random = np.random.default_rng(1)
    for start in range(0, curves, BATCH):
        yield KINDS[kind](random, min(BATCH, curves - start), POINTS)


def a_table(y: FloatArray, start: int = 0) -> Table:
    names = tuple(f"c{position}" for position in range(start, start + len(y)))
    return Table(np.arange(POINTS, dtype=float), y, names)


def store(database: Database, kind: str, curves: int) -> tuple[str, list[str]]:
    """Store a library and three sets of training curves near its curves, and return their ids."""
    random = np.random.default_rng(2)
    library, near = "", np.empty((0, POINTS))
    for number, y in enumerate(batches(kind, curves)):
        table = a_table(y, number * BATCH)
        with database.writing() as session:
            if library:
                append_curves(session, find_version(session, Dataset, library, None), table)
            else:
                library = add_dataset(session, table, SOURCE, name=kind).id
                near = y[:4]
    training = []
    for _ in range(3):
        with database.writing() as session:
            table = a_table(near + random.normal(size=near.shape) * 0.05)
            training.append(add_dataset(session, table, SOURCE, name="training").id)
    return library, training


def fit(database: Database, library: str, training: list[str]) -> None:
    """Fit once for each training set and print a line."""
    here = LocalRanker(Cache(CACHE_BYTES))
    for number, training_id in enumerate(training):
        before, started = _figure("io", "rchar"), time.perf_counter()
        body = {"training_id": training_id, "ideal_id": library}
        submit(database, FITS, FitRequest().load(body), ranker=here)
        took = time.perf_counter() - started
        given = (_figure("io", "rchar") - before) / 1e6
        print(
            f"  fit {number + 1}: {took:8.3f} s, {given:8.1f} MB of files read,"
            f" peak memory {_figure('status', 'VmHWM') / 1024:5.0f} MB",
            flush=True,
        )


def _figure(file: str, name: str) -> int:
    """Return a number that Linux keeps about this process."""
    text = Path(f"/proc/self/{file}").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--curves", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", default=["smooth"], choices=list(KINDS))
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; default SQLite")
    parser.add_argument("--only", nargs=2, metavar=("LIBRARY", "TRAINING"), help="internal")
    args = parser.parse_args()
    if args.only:
        library, training = args.only
        fit(Database(Settings(database_url=args.database).url), library, training.split(","))
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), database_url=args.database or "")
        database = Database(settings.url)
        migrate(database)
        for kind in args.kinds:
            for curves in args.curves:
                started = time.perf_counter()
                library, training = store(database, kind, curves)
                took = time.perf_counter() - started
                size = curves * POINTS * 8 / 1e6
                print(f"{kind} {curves} curves, {size:.0f} MB, stored in {took:.1f} s", flush=True)
                print("with sketches, if it has any", flush=True)
                command = ["--database", settings.url, "--only", library, ",".join(training)]
                again = [sys.executable, "-m", "benchmarks.library", *command]
                subprocess.run(again, check=True)
                print("without", flush=True)
                with database.writing() as session:
                    session.execute(delete(SketchBasis))
                subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
