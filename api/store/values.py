"""Reads values of a dataset by rows, in batches.

Values never change, so batches that are read in several transactions agree. If the dataset is
deleted in between, NotFound is raised. A block holds whole curves, so a row of many curves is
scattered over it. Only the wanted values are read, and the memory does not depend on the size of
the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Integer, func, literal_column, select
from sqlalchemy.orm import Session

from api.store.base import BINARY, Database, find
from api.store.blocks import NUMBER, CurveReader
from api.store.datasets import Dataset, Grid
from services.tables import FloatArray

BATCH_BYTES = 4 << 20
"""Bytes per batch; a batch has at least one row."""

X = -1
"""Position that stands for the x column among positions of curves."""


class StoredRows(NamedTuple):
    """What has to be known of a dataset to read its rows."""

    id: str
    n_points: int


def stream_rows(  # noqa: PLR0913 - a direction beside the range
    session: Session,
    dataset: Dataset | StoredRows,
    indices: Sequence[int],
    start: int,
    stop: int,
    *,
    backwards: bool = False,
) -> Iterator[FloatArray]:
    """Yield columns by position (X for x), rows `start` to `stop`, shape (columns, batch rows).

    With `backwards` the last batch comes first.
    """
    places = np.array(indices, dtype=np.intp)
    is_x = places == X
    curves = CurveReader(session.connection(), dataset.id, dataset.n_points)
    rows = count_batch_rows(len(places))
    firsts = range(start, stop, rows)
    for first in reversed(firsts) if backwards else firsts:
        last = min(first + rows, stop)
        values = np.empty((len(places), last - first))
        if is_x.any():
            values[is_x] = _grid_rows(session, dataset, first, last)
        values[~is_x] = curves(places[~is_x], first, last)
        yield values


def send_rows(
    database: Database, dataset: Dataset, indices: Sequence[int], start: int, stop: int
) -> Iterator[FloatArray]:
    """Yield rows like `stream_rows`, each batch in its own transaction, for slow clients."""
    rows = count_batch_rows(len(indices))
    for first in range(start, stop, rows):
        with database.reading() as session:
            find(session, Dataset, dataset.id)
            (values,) = stream_rows(session, dataset, indices, first, min(first + rows, stop))
        yield values


def count_batch_rows(columns: int) -> int:
    """Return the number of rows of a batch of that many columns."""
    return max(1, BATCH_BYTES // (NUMBER.itemsize * columns))


def _grid_rows(
    session: Session, dataset: Dataset | StoredRows, start: int, stop: int
) -> FloatArray:
    """Read rows `start` to `stop` of the x column."""
    offset, size = start * NUMBER.itemsize, (stop - start) * NUMBER.itemsize
    own = Grid.dataset_id == dataset.id
    if session.get_bind().dialect.name != "sqlite":
        query = select(func.substr(Grid.data, offset + 1, size)).where(own)
        return np.frombuffer(session.scalars(query, execution_options=BINARY).one(), NUMBER)
    # SQLite's substr would load the whole column first.
    key = session.scalars(select(literal_column("rowid", Integer)).select_from(Grid).where(own))
    raw: Any = session.connection().connection.driver_connection
    with raw.blobopen(Grid.__tablename__, "data", key.one(), readonly=True) as blob:
        blob.seek(offset)
        return np.frombuffer(blob.read(size), NUMBER)
