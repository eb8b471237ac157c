"""Selections of the curves of a dataset, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from api.store.blocks import BLOCK_BYTES, CurveReader, stream_values
from api.store.datasets import Curve, Dataset, read_curve_names, read_grid
from api.store.sketches import SketchReader, read_basis
from services.fitting.blocks import Block, Library
from services.tables import FloatArray, Table

# Built once: building it takes longer than sending it.
_NAMES = (
    select(Curve.name)
    .where(Curve.dataset_id == bindparam("dataset_id"), Curve.index < bindparam("size"))
    .order_by(Curve.index)
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Curves of a dataset by ascending position; `indices` None means the first `n_curves`.

    `x` is the x column of the dataset, shape (n_points,), None where it is still to be read.
    """

    dataset: Dataset
    x: FloatArray | None
    n_curves: int
    indices: NDArray[np.intp] | None = None
    names: Sequence[str] | None = None

    @property
    def size(self) -> int:
        return self.n_curves if self.indices is None else len(self.indices)

    @property
    def positions(self) -> NDArray[np.intp]:
        return np.arange(self.n_curves) if self.indices is None else self.indices


def read_x(session: Session, dataset: Dataset, x: FloatArray | None) -> FloatArray:
    """Return the x column of a dataset; read it if it did not come with the record."""
    return read_grid(session, dataset) if x is None else x


def read_names(session: Session, selection: Selection) -> tuple[str, ...]:
    """Return the names of the selected curves, in their order."""
    if selection.names is not None:
        return tuple(selection.names)
    if selection.indices is None:
        whole = {"dataset_id": selection.dataset.id, "size": selection.size}
        return tuple(session.scalars(_NAMES, whole))
    positions = selection.positions.tolist()
    names = read_curve_names(session, selection.dataset, positions)
    return tuple(names[index] for index in positions)


def stream_blocks(
    session: Session, selection: Selection, start: int = 0, stop: int | None = None
) -> Iterator[Block]:
    """Yield the selected curves from place `start` to `stop`, one stored block at a time.

    For a whole dataset these are the blocks that begin in that range, so adjoining ranges have
    each block exactly once.
    """
    dataset, connection = selection.dataset, session.connection()
    stop = selection.size if stop is None else stop
    if selection.indices is None:
        for first, y in stream_values(connection, dataset.id, start, stop):
            yield Block(np.arange(first, first + len(y)), y)
        return
    wanted = selection.indices[start:stop]
    reader = CurveReader(connection, dataset.id, dataset.n_points)
    for inside in np.split(wanted, np.flatnonzero(np.diff(reader.block_of(wanted))) + 1):
        yield Block(inside, reader(inside))


def open_library(
    session: Session, selection: Selection, start: int = 0, stop: int | None = None
) -> Library:
    """Return a library of the selected curves, readable while the transaction is open.

    `start` and `stop` are as for `stream_blocks`.
    """
    dataset, connection = selection.dataset, session.connection()
    stop = selection.size if stop is None else stop
    whole = selection.indices is None
    basis = read_basis(connection, dataset.id, dataset.n_curves) if whole else None
    reader = CurveReader(connection, dataset.id, dataset.n_points)
    # One block is read as fast as the few of its curves that matter.
    is_large = 8 * dataset.n_curves * dataset.n_points > BLOCK_BYTES
    cuts = reader.cut(start, stop) if whole and (basis or is_large) else []
    return Library(
        read_x(session, dataset, selection.x),
        stream_blocks(session, selection, start, stop),
        dataset.sha256,
        SketchReader(connection, dataset.id, basis, cuts) if basis else None,
        reader,
        cuts,
    )


def read_curves(
    session: Session, dataset: Dataset, indices: NDArray[np.intp], start: int = 0, stop: int = -1
) -> FloatArray:
    """Read curves in any order, rows `start` to `stop`, shape (len(indices), rows)."""
    reader = CurveReader(session.connection(), dataset.id, dataset.n_points)
    return reader(indices, start, dataset.n_points if stop < 0 else stop)


def read_table(session: Session, selection: Selection) -> Table:
    """Read the selected curves into one table in memory."""
    dataset = selection.dataset
    y = np.empty((selection.size, dataset.n_points))
    filled = 0
    for block in stream_blocks(session, selection):
        y[filled : filled + len(block.y)] = block.y
        filled += len(block.y)
    x = read_x(session, dataset, selection.x)
    return Table(x, y, read_names(session, selection), dataset.x_column)
