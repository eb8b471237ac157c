"""Uploads, plots and lists over HTTP: speed and memory of what is large.

Uploads are 20 000 library curves of 400 points (64 MB of float64), stored; the ratio of CSV is to
`pandas.read_csv` of the same file, which stores nothing. The plot is of one curve of 10 million
points. Lists have 100 000 fits, inserted beforehand; a page is 100 records.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from api.store.base import Database
from api.store.datasets import add_dataset
from benchmarks.problems import make_library
from benchmarks.service import ARROW, PARQUET, Server, as_arrow, as_lists, serving
from benchmarks.tables import HTTP, Table, milliseconds, ratios, seconds, spread
from services.files import Source
from services.tables import Table as Curves

SOURCE = Source("json", None, None, None, None)
CSV = "text/csv"


def write_csv(columns: int, size: float) -> bytes:
    """Write columns of normal numbers with all their digits, x first."""
    rows = int(size / (19.5 * columns))
    values = np.random.default_rng(columns).normal(size=(columns, rows))
    values[0] = np.arange(rows) / 8
    sink = io.BytesIO()
    names = ["x", *(f"y{position}" for position in range(1, columns))]
    pyarrow.csv.write_csv(pa.table(list(values), names=names), sink)
    return sink.getvalue()


def show_uploads(server: Server, curves: int, csv_bytes: float, rounds: int) -> None:
    """Print the table of uploads."""
    library = make_library("near", curves, 400)
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(as_lists(library, "f"), parquet)
    files = {
        "Arrow, a curve a row": (as_arrow(library, "f"), ARROW),
        "Parquet, a curve a row": (parquet.getvalue(), PARQUET),
        "CSV, 5 columns": (write_csv(5, csv_bytes), CSV),
        "CSV, 201 columns": (write_csv(201, csv_bytes), CSV),
    }
    columns = ["file", "MB", "ms, stored", "MB/s", "pandas / ours"]
    table = Table("Uploads", HTTP, f"Medians of {rounds} rounds.", columns)
    for name, (body, kind) in files.items():
        ours, theirs = [], []
        for turn in range(rounds + 1):
            took = seconds(lambda: server.upload("benchmark", body, kind))  # noqa: B023
            beside = 0.0
            if kind == CSV:
                beside = seconds(lambda: pd.read_csv(io.BytesIO(body)))  # noqa: B023
            if turn:
                ours.append(took)
                theirs.append(beside)
        size = len(body) / 1e6
        ratio = spread(ratios(theirs, ours)) if kind == CSV else ""
        rate = f"{size / statistics.median(ours):.0f}"
        table.row(name, f"{size:.0f}", milliseconds(ours), rate, ratio)
    table.end()


def show_plot(server: Server, path: Path, points: int, rounds: int) -> None:
    """Print the table of plots of a long curve."""
    y = np.cumsum(np.random.default_rng(1).normal(size=(1, points)), axis=1)
    database = Database(f"sqlite:///{path}/idealfit.db")
    with database.writing() as session:
        curve = Curves(np.arange(float(points)), y, ("y",))
        dataset = add_dataset(session, curve, SOURCE, name="long").id
    database.close()
    table = Table(
        f"Plot of a dataset of {points:,} points",
        HTTP,
        "",
        ["format", "ms", "peak, MB, of a process"],
    )
    for kind in ("text/html", "image/png", "image/svg+xml"):
        server.forget_peak()
        times = [
            seconds(lambda: server.get(f"/v1/datasets/{dataset}/plot", Accept=kind))  # noqa: B023
            for _ in range(rounds)
        ]
        table.row(kind, milliseconds(times), f"{server.peak_mb():.0f}")
    table.end()


def show_lists(server: Server, path: Path, records: int, rounds: int) -> None:
    """Print the table of pages of a long list."""
    database = Database(f"sqlite:///{path}/idealfit.db")
    x, y = np.arange(2.0), np.zeros((1, 2))
    with database.writing() as session:
        for number in range(records):
            add_dataset(session, Curves(x, y, ("y",)), SOURCE, name=f"d{number:06}")
            if number % 1000 == 0:
                session.flush()
                session.expunge_all()
    database.close()
    note = f"{records:,} datasets, pages of 100, {rounds} requests each."
    table = Table("Lists", HTTP, note, ["sort", "page", "ms", "processor, ms"])
    for sort in ("-created_at", "created_at", "name", "-name"):
        where = f"/v1/datasets?limit=100&sort={sort}"
        for page in ("first", "deep"):
            if page == "deep":
                where = walk(server, where, int(records * 0.9 / 500))
            before = server.processor_ms()
            times = [seconds(lambda: server.get(where)) for _ in range(rounds)]  # noqa: B023
            used = (server.processor_ms() - before) / rounds
            table.row(sort, page, milliseconds(times), f"{used:.1f}")
    table.end()


def walk(server: Server, where: str, pages: int) -> str:
    """Follow the cursor of long pages, and return the address of the page after them."""
    cursor = ""
    for _ in range(pages):
        page = orjson.loads(server.get(where.replace("limit=100", "limit=500") + cursor))
        cursor = f"&cursor={page['next']}"
    return where + cursor


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks large",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--curves", type=int, default=20_000)
    parser.add_argument("--csv-bytes", type=float, default=50e6)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), workers=0) as server:
        show_uploads(server, args.curves, args.csv_bytes, args.rounds)
        show_plot(server, Path(folder), args.points, args.rounds)
        time.sleep(1)
        show_lists(server, Path(folder), args.records, 10 * args.rounds)


if __name__ == "__main__":
    main()
