"""Tables as one SQLite file."""

from __future__ import annotations

import errno
import functools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import orjson

from services.errors import Fact, InvalidTable
from services.scratch import scratch
from services.tables import FloatArray

MOST_CURVES = 1999
"""A SQLite table holds 2000 columns, one of which is x."""

_BATCH_CELLS = 1 << 16
_PRIMARY_CODE = 0xFF

_MAPPED = """
CREATE TABLE mapped_test_data (
    "X" REAL, "Y" REAL, "DeltaY" REAL, "IdealFunction" TEXT, "TrainingFunction" TEXT
)
"""


_LABELS = """
CREATE TABLE curve_labels ("Table" TEXT, "Column" TEXT, "Unit" TEXT, "Attributes" TEXT)
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table of numbers, some at a time.

    Parameters
    ----------
    columns : tuple of c str
        Names of the columns, x first.
    blocks : iterable of ndarray of shape (c, rows)
        The rows in order; NaN is a gap.
    labels : mapping
        Unit and attributes of columns by their positions, where there are any.
    """

    columns: tuple[str, ...]
    blocks: Iterable[FloatArray]
    labels: Mapping[int, tuple[str | None, Mapping[str, Any]]] = field(default_factory=dict)


def spool_project(
    training: Rows, ideal: Rows, test: Rows, mapped: Iterable[Iterable[tuple[object, ...]]]
) -> BinaryIO:
    """Write one SQLite file with the three tables and the mapped points.

    The tables are `training_data`, `ideal_functions` and `test_data`, with the columns of the
    datasets, x first, and their rows in order; a gap is NULL. Names that differ only in case,
    which SQLite does not distinguish, get the suffix _2, _3, ... `mapped_test_data` has the columns
    X, Y, DeltaY, IdealFunction and TrainingFunction, where functions keep their original names.
    If columns have units or attributes, `curve_labels` holds them, attributes as JSON; `Column` is
    the name in the table.
    SQLite stores -0.0 in a REAL column as 0.0; all other numbers keep their bits.

    Parameters
    ----------
    training : Rows
        Training curves.
    ideal : Rows
        Library curves: all of them, or the chosen ones if there are too many.
    test : Rows
        Test points.
    mapped : iterable of batches of 5-tuples
        x, y, deviation, ideal, training; the last three None for a point that is not mapped.

    Returns
    -------
    BinaryIO
        A temporary file, open at its beginning; it has no name and is gone once it is closed.

    Raises
    ------
    InvalidTable
        A table has more than `MOST_CURVES` curves.
    OSError
        There is no room for the file (``ENOSPC``), or it cannot be written.
    """
    file, connection = scratch.opened(functools.partial(sqlite3.connect, isolation_level=None))
    try:
        with _as_no_room(), closing(connection):
            _write(connection, training, ideal, test, mapped)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _write(
    connection: sqlite3.Connection,
    training: Rows,
    ideal: Rows,
    test: Rows,
    mapped: Iterable[Iterable[tuple[object, ...]]],
) -> None:
    tables = {"training_data": training, "ideal_functions": ideal, "test_data": test}
    for name, table in tables.items():
        _check_width(name, table)
    # A file that fails is deleted, so no journal is needed to roll back.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("BEGIN")
    if any(table.labels for table in tables.values()):
        connection.execute(_LABELS)
    for name, table in tables.items():
        _insert_table(connection, name, table)
    connection.execute(_MAPPED)
    for batch in mapped:
        scratch.ask(0)
        connection.executemany("INSERT INTO mapped_test_data VALUES (?, ?, ?, ?, ?)", batch)
    connection.execute("COMMIT")


@contextmanager
def _as_no_room() -> Iterator[None]:
    """Raise the error of the system if there is no room for the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        # SQLite reports a quota or a limit on file sizes as an I/O error.
        if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


def _check_width(name: str, table: Rows) -> None:
    curves = len(table.columns) - 1
    if curves > MOST_CURVES:
        detail = f"{name} would have {curves} curves; SQLite holds {MOST_CURVES}."
        raise InvalidTable(detail, [Fact(detail, "too_many_curves")])


def _insert_table(connection: sqlite3.Connection, name: str, table: Rows) -> None:
    columns = _make_distinct(table.columns)
    labels = (
        (name, columns[at], unit, orjson.dumps(attributes).decode() if attributes else None)
        for at, (unit, attributes) in sorted(table.labels.items())
    )
    if table.labels:
        connection.executemany("INSERT INTO curve_labels VALUES (?, ?, ?, ?)", labels)
    quoted = ['"' + column.replace('"', '""') + '"' for column in columns]
    connection.execute(f"CREATE TABLE {name} ({', '.join(f'{column} REAL' for column in quoted)})")
    marks = ", ".join("?" * len(quoted))
    insert = f"INSERT INTO {name} VALUES ({marks})"  # noqa: S608 - name is one of our three
    size = max(1, _BATCH_CELLS // len(quoted))
    for block in table.blocks:
        for start in range(0, block.shape[1], size):
            scratch.ask(0)
            # SQLite itself makes NULL of NaN. A row is taken before the next one is made, so `zip`
            # uses one tuple for all.
            rows = zip(*block[:, start : start + size].tolist(), strict=True)
            connection.executemany(insert, rows)


def _make_distinct(names: Sequence[str]) -> list[str]:
    """Make names distinct without regard to case; the first of equal names is kept."""
    taken = {name.lower() for name in names}
    seen: set[str] = set()
    distinct = []
    for name in names:
        new, count = name, 1
        while new.lower() in (seen if count == 1 else taken):
            count += 1
            new = f"{name}_{count}"
        seen.add(new.lower())
        taken.add(new.lower())
        distinct.append(new)
    return distinct
