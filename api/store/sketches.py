"""Sketches of large datasets, stored beside the blocks; a fit reads them before any values.

A sketch describes a curve in about 150 bytes (services/bounds/sketch.py). All sketches of a
dataset share one basis, which is made when the dataset first has SKETCHED curves. Curves appended
later use the same basis, so a sketch never changes. Where none can be made, because too many curves
have gaps or are constant, there are no sketches, and the dataset tries again each time it has
doubled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, ForeignKey, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from api.store.base import BINARY, Base, Blob
from api.store.blocks import NUMBER, CurveReader, stream_values
from services.bounds.sketch import (
    MOST_POINTS,
    N_VECTORS,
    SAMPLE,
    Basis,
    Sketch,
    make_basis,
    make_sketch,
)

SKETCHED = 4096
"""Number of curves from which a dataset has sketches; fewer curves are read as fast."""

PIECE = 16_384
"""Target size of a piece, in sketches."""


def may_have_sketches(n_curves: int, n_points: int) -> bool:
    """Tell whether a dataset of this size has sketches, unless no basis was found."""
    return n_curves >= SKETCHED and 2 * N_VECTORS < n_points <= MOST_POINTS


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
    if not may_have_sketches(after, n_points):
        return
    basis, first = read_basis(connection, dataset_id, after), before
    if basis is None:
        if before >= SKETCHED and _doublings(before) == _doublings(after):
            return
        sample = CurveReader(connection, dataset_id, n_points)(_spread(after))
        basis, first = make_basis(sample, largest_rest_share=np.inf), 0
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


class SketchReader:
    """Sketches of the blocks that begin in a range of positions; see `Sketches` of the services.

    Parameters
    ----------
    connection : Connection
    dataset_id : str
    basis : Basis
        From `read_basis`.
    cuts : sequence of ndarray
        Positions of the curves of each of these blocks, in order.
    """

    def __init__(
        self,
        connection: Connection,
        dataset_id: str,
        basis: Basis,
        cuts: Sequence[NDArray[np.intp]],
    ) -> None:
        self.basis = basis
        self._connection = connection
        self._dataset_id = dataset_id
        self.places = list(_join(cuts))

    def read(self, number: int) -> Sketch:
        """Read the sketches of a piece."""
        places = self.places[number]
        query = (
            select(SketchBlock.data)
            .where(SketchBlock.dataset_id == self._dataset_id)
            .where(SketchBlock.first >= int(places[0]), SketchBlock.first <= int(places[-1]))
            .order_by(SketchBlock.first)
        )
        data = b"".join(self._connection.scalars(query, execution_options=BINARY))
        return Sketch.from_bytes(places, data, self.basis.n_coordinates)


def _join(cuts: Sequence[NDArray[np.intp]]) -> Iterator[NDArray[np.intp]]:
    """Join blocks to pieces of `PIECE` curves or a few more."""
    first = stop = None
    for cut in cuts:
        first, stop = cut[0] if first is None else first, cut[-1] + 1
        if stop - first >= PIECE:
            yield np.arange(first, stop)
            first = None
    if first is not None:
        yield np.arange(first, stop)
