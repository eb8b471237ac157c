"""Searches of the curves of one dataset by name and attribute, and counts of attributes.

Each curve has seven attributes, 160 bytes of JSON together. Path: functions of the store on a
database of its own, without HTTP; another database is named by its URL, and must be empty.
Run it with: python -m benchmarks search --database postgresql+psycopg://...
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from api.store.base import Database
from api.store.curves import CurveFilter, count_values, read_page_of_curves
from api.store.datasets import Dataset, add_dataset
from api.store.migrate import migrate
from benchmarks.tables import Table, milliseconds, seconds
from services.files import Source
from services.tables import Labels
from services.tables import Table as Curves

PATH = "functions of the store, without HTTP"

SEARCHES = {
    "all": CurveFilter(),
    "a part of no name": CurveFilter(contains="no such"),
    "an attribute of every seventh curve": CurveFilter(attributes=[("INSTRUMENT", "FTIR 3")]),
    "an attribute of no curve": CurveFilter(attributes=[("TITLE", "no such")]),
    "both": CurveFilter(contains="no such", attributes=[("INSTRUMENT", "FTIR 3")]),
}


def make_attributes(count: int) -> tuple[dict[str, Any], ...]:
    """Make attributes like those of spectra, always the same."""
    drawn = np.random.default_rng(1).integers(0, 10**7, (count, 2)).tolist()
    return tuple(
        {
            "TITLE": f"Compound number {number}",
            "CAS REGISTRY NO": f"{first}-{second % 90 + 10}-{number % 10}",
            "CLASS": "ABCDEFGHIJ"[second % 10] * 8,
            "MOLFORM": f"C{first % 30}H{second % 60}O{first % 5}",
            "INSTRUMENT": f"FTIR {number % 7}",
            "RESOLUTION": [2, 4, 8][number % 3],
            "DATE": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
        }
        for number, (first, second) in enumerate(drawn)
    )


def store(database: Database, count: int, labels: Labels) -> Dataset:
    """Store curves of sixteen points."""
    y = np.random.default_rng(1).normal(size=(count, 16))
    names = tuple(f"curve {number}" for number in range(count))
    with database.writing() as session:
        curves = Curves(np.arange(16.0), y, names)
        return add_dataset(session, curves, Source("json"), labels, name="benchmark")


def measure(database: Database, count: int, rounds: int) -> None:
    """Print the table."""
    plain = seconds(lambda: store(database, count, Labels()))
    labels = Labels("cm-1", ("A",) * count, make_attributes(count))
    labelled = seconds(lambda: store(database, count, labels))
    dataset = store(database, count, labels)
    with database.writing() as session:
        session.execute(text("ANALYZE"))
    kind = "SQLite" if database.sqlite else "PostgreSQL"
    note = f"Stored in {plain:.1f} s without labels, in {labelled:.1f} s with them. {rounds} calls."
    table = Table(f"Searches of {count:,} curves, {kind}", PATH, note, ["call", "wanted", "ms"])

    def show(call: str, wanted: str, work: Callable[[Session], object]) -> None:
        with database.reading() as session:
            times = [seconds(lambda: work(session)) for _ in range(rounds)]
        table.row(call, wanted, milliseconds(times))

    for wanted, given in SEARCHES.items():
        show("100 curves", wanted, partial(_read, dataset, given))
    for wanted in ("all", "an attribute of every seventh curve"):
        for name in ("CLASS", "TITLE"):
            show(f"values of {name}", wanted, partial(_count, dataset, SEARCHES[wanted], name))
    table.end()


def _read(dataset: Dataset, wanted: CurveFilter, session: Session) -> None:
    read_page_of_curves(session, dataset, wanted, -1, 100)


def _count(dataset: Dataset, wanted: CurveFilter, name: str, session: Session) -> None:
    count_values(session, dataset, wanted, name)


def main() -> None:
    """Print the table of one database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--database", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(options.database or f"sqlite:///{folder}/search.db")
        migrate(database)
        measure(database, options.curves, options.rounds)
        database.close()


if __name__ == "__main__":
    main()
