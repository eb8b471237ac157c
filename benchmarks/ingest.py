"""Compare pandas and Idealfit at reading a CSV file of 100 MB, alternating in one run.

The first measurement is reading alone: the file becomes numbers that can be read curve by curve.
pandas checks nothing; Idealfit checks that no row is ragged, and that each cell is a finite number
or a gap. The second one includes the checks of the values, the fingerprint, and storing. There are
three shapes, because the costs per column and per number differ.
Path: files read and stored in this process, without HTTP; `large` uploads over HTTP.
Run it with: python -m benchmarks ingest
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from api.store.base import Database
from api.store.datasets import add_dataset
from api.store.migrate import migrate
from services.files import read_text

SHAPES = {"5 columns": 5, "201 columns": 201, "5000 columns": 5000}
NUMBER_BYTES = 19.5
ROUNDS = 5


def write(path: Path, columns: int, size: float) -> None:
    """Write a file of a given size, with all digits of normal numbers, always the same."""
    random = np.random.default_rng(columns)
    rows = int(size / (NUMBER_BYTES * columns))
    values = random.normal(size=(columns, rows))
    values[0] = np.arange(rows) / 8
    names = ["x", *(f"y{position}" for position in range(1, columns))]
    pyarrow.csv.write_csv(pa.table(list(values), names=names), path)


def read(path: Path) -> None:
    """Read like an upload."""
    with path.open("rb") as file:
        curves = read_text(file, format="csv").parts[0].curves
    curves.close()


def store(path: Path, database: Database) -> None:
    """Read and store like an upload."""
    with path.open("rb") as file:
        read = read_text(file, format="csv")
    with closing(read), database.writing() as session:
        add_dataset(session, read.parts[0].curves, read.source, name="benchmark")


def check(path: Path) -> None:
    """Assert that both read the same numbers."""
    expected = pd.read_csv(path).to_numpy().T
    with path.open("rb") as file:
        curves = read_text(file, format="csv").parts[0].curves
    with closing(curves):
        assert np.array_equal(curves.x, expected[0])
        y = np.concatenate(list(curves.read_parts(1 << 23)))
    assert np.array_equal(y, expected[1:])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the elapsed time and the processor time."""
    passed, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - passed, time.process_time() - worked


def compare(name: str, path: Path, database: Database) -> None:
    """Print one line."""
    check(path)
    kinds: dict[str, Callable[[], object]] = {
        "pandas": lambda: pd.read_csv(path),
        "read": lambda: read(path),
        "store": lambda: store(path, database),
    }
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, work in kinds.items():
            found[kind].append(seconds(work))
    passed = {kind: statistics.median(time for time, _ in times) for kind, times in found.items()}
    worked = {kind: statistics.median(time for _, time in times) for kind, times in found.items()}
    size = path.stat().st_size / 1e6
    print(
        f"{name:>13} {size:5.0f} MB |"
        + "".join(f" {kind} {passed[kind]:.2f} s ({worked[kind]:.2f} s CPU)" for kind in kinds)
        + f" | pandas / read {passed['pandas'] / passed['read']:.2f}"
        f" (CPU {worked['pandas'] / worked['read']:.2f}),"
        f" pandas / store {passed['pandas'] / passed['store']:.2f}"
        f" | store {size / passed['store']:.0f} MB/s"
    )


def main() -> None:
    """Compare all shapes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    size = parser.parse_args().megabytes * 1e6
    with tempfile.TemporaryDirectory() as folder:
        for name, columns in SHAPES.items():
            path = Path(folder) / f"{columns}.csv"
            write(path, columns, size)
            database = Database(f"sqlite:///{folder}/{columns}.db")
            migrate(database)
            compare(name, path, database)
            database.close()
            path.unlink()


if __name__ == "__main__":
    main()
