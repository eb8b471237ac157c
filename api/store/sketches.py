"""Sketches of large datasets, stored beside the blocks; a fit reads them before any values.

A sketch describes a curve in about 150 bytes (services/bounds/sketch.py). All sketches of a
dataset share one basis, which is made when the dataset first has SKETCHED curves. Curves appended
later use the same basis, so a sketch never changes. If no basis helps, as with noise, there are no
sketches, and the dataset tries again each time it has doubled.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, ForeignKey, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from api.store.base import BINARY, Base, Blob
from api.store.blocks import NUMBER, CurveReader, stream_values
from services.bounds.sketch import SAMPLE, Basis, Sketch, make_basis, make_sketch

SKETCHED = 4096
"""Number of curves from which a dataset has sketches; fewer curves are read as fast."""

PIECE = 16_384
"""Target size of a piece, in sketches."""


class SketchBasis(Base):
    """Basis of the sketches of a dataset."""

    __tablename__ = "sketch_bases"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    n_points: Mapped[int]
    exponent: Mapped[int]
    centre: Mapped[float]
    data: Mapped[bytes] = mapped_column(Blob)


class SketchBlock(Base):
    """Sketches of the curves of one block, in the layout of `Sketch.to_bytes`."""

    __tablename__ = "sketch_blocks"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    data: Mapped[bytes] = mapped_column(Blob)


def add_sketches(
    connection: Connection, dataset_id: str, n_points: int, before: int, after: int
) -> None:
    """Sketch the new curves of a dataset, whose blocks are stored.

    `before` and `after` are the numbers of curves before and after they were added.
    """
    if after < SKETCHED:
        return
    basis, first = read_basis(connection, dataset_id, after), before
    if basis is None:
        if before >= SKETCHED and _doublings(before) == _doublings(after):
            return
        sample = CurveReader(connection, dataset_id, n_points)(_spread(after))
        basis, first = make_basis(sample), 0
        if basis is None:
            return
        _add_basis(connection, dataset_id, basis)
    for start, curves in stream_values(connection, dataset_id, first, after):
        indices = np.arange(start, start + len(curves))
        data = make_sketch(indices, curves, basis).to_bytes()
        row = {"dataset_id": dataset_id, "first": start, "count": len(curves), "data": data}
        connection.execute(insert(SketchBlock), [row])


def _doublings(curves: int) -> int:
    return (curves // SKETCHED).bit_length()


def _spread(curves: int) -> NDArray[np.intp]:
    """Return positions spread over a dataset."""
    return np.unique(np.linspace(0, curves - 1, SAMPLE, dtype=np.intp))


def _add_basis(connection: Connection, dataset_id: str, basis: Basis) -> None:
    assert basis.vectors is not None  # noqa: S101 - for the type checker: `make_basis` sets them
    row = {
        "dataset_id": dataset_id,
        "n_points": basis.n,
        "exponent": basis.exponent,
        "centre": basis.centre,
        "data": basis.vectors.astype(NUMBER, copy=False).tobytes(),
    }
    connection.execute(insert(SketchBasis), [row])


def read_basis(connection: Connection, dataset_id: str, n_curves: int) -> Basis | None:
    """Read the basis of the sketches of a dataset with `n_curves` curves; None if it has none."""
    if n_curves < SKETCHED:
        return None
    query = select(
        SketchBasis.n_points, SketchBasis.exponent, SketchBasis.centre, SketchBasis.data
    ).where(SketchBasis.dataset_id == dataset_id)
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    n, exponent, centre, data = found
    return Basis(n, exponent, centre, np.frombuffer(data, NUMBER).reshape(n, -1))


def stream_sketches(
    connection: Connection, dataset_id: str, n_coordinates: int, places: tuple[int, int]
) -> Iterator[Sketch]:
    """Yield the sketches of the blocks that begin in a range of positions, in pieces."""
    query = (
        select(SketchBlock.first, SketchBlock.count, SketchBlock.data)
        .where(SketchBlock.dataset_id == dataset_id)
        .where(SketchBlock.first >= places[0], SketchBlock.first < places[1])
        .order_by(SketchBlock.first)
        .execution_options(yield_per=1, **BINARY)
    )
    parts: list[bytes] = []
    start = stop = 0
    with connection.execute(query) as rows:
        for first, count, data in rows:
            start = start if parts else first
            parts.append(data)
            stop = first + count
            if stop - start >= PIECE:
                yield Sketch.from_bytes(np.arange(start, stop), b"".join(parts), n_coordinates)
                parts = []
    if parts:
        yield Sketch.from_bytes(np.arange(start, stop), b"".join(parts), n_coordinates)
