"""Values of curves in blocks, which are written once and read whole or in part."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    ForeignKey,
    Integer,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from api.store.base import BINARY, Base, Blob, insert_rows
from services.tables import Curves, FloatArray

BLOCK_BYTES = 4 << 20
"""Bytes per block; a block of one curve can be larger."""

LARGE_PART = 4
"""A whole block is read when more than 1/LARGE_PART of it is wanted."""

NUMBER = np.dtype("<f8")


class CurveBlock(Base):
    """Values of consecutive curves as little-endian float64; NaN is a gap."""

    __tablename__ = "curve_blocks"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    data: Mapped[bytes] = mapped_column(Blob)


def add_blocks(connection: Connection, dataset_id: str, first: int, curves: Curves) -> None:
    """Store curves at the positions from `first` on."""
    for some in curves.read_parts(BLOCK_BYTES):
        count = len(some)
        row = dataset_id, first, count, some.astype(NUMBER, copy=False).data.cast("B")
        insert_rows(connection, CurveBlock, [row])
        first += count
        del some, row  # Do not keep a long curve while the next one is read.


def stream_values(
    connection: Connection, dataset_id: str, start: int, stop: int
) -> Iterator[tuple[int, FloatArray]]:
    """Yield each block that starts in a range: the position of its first curve, and its values."""
    query = (
        select(CurveBlock.first, CurveBlock.count, CurveBlock.data)
        .where(CurveBlock.dataset_id == dataset_id)
        .where(CurveBlock.first >= start, CurveBlock.first < stop)
        .order_by(CurveBlock.first)
        .execution_options(yield_per=1, **BINARY)
    )
    with connection.execute(query) as rows:
        for first, count, data in rows:
            yield first, np.frombuffer(data, NUMBER).reshape(count, -1)


class _Blocks(NamedTuple):
    """Position of the first curve, number of curves and key of each block of a dataset."""

    firsts: NDArray[np.intp]
    counts: Sequence[int]
    keys: Sequence[int]


class CurveReader:
    """Reader for curves of a dataset by position.

    Reading a single curve takes 30 µs on SQLite, because the file has a page map (`auto_vacuum`,
    ADR 0010). Without the map, SQLite also reads the earlier pages of the block.
    """

    def __init__(self, connection: Connection, dataset_id: str, n_points: int) -> None:
        self._connection = connection
        self._dataset_id = dataset_id
        self._n = n_points
        self._is_sqlite = connection.dialect.name == "sqlite"

    @functools.cached_property
    def _blocks(self) -> _Blocks:
        """The blocks of the dataset, read when the first curve is read."""
        key: Any = literal_column("rowid") if self._is_sqlite else CurveBlock.first
        query = (
            select(CurveBlock.first, CurveBlock.count, key)
            .where(CurveBlock.dataset_id == self._dataset_id)
            .order_by(CurveBlock.first)
        )
        found = self._connection.execute(query).all()
        firsts = np.array([first for first, _, _ in found], dtype=np.intp)
        return _Blocks(firsts, [count for _, count, _ in found], [key for _, _, key in found])

    def cut(self, start: int, stop: int) -> list[NDArray[np.intp]]:
        """Return the positions of the curves of each block that begins in a range."""
        blocks = zip(self._blocks.firsts.tolist(), self._blocks.counts, strict=True)
        return [np.arange(first, first + n) for first, n in blocks if start <= first < stop]

    def __call__(
        self, indices: NDArray[np.intp], start: int = 0, stop: int | None = None
    ) -> FloatArray:
        """Read curves in any order, rows `start` to `stop`, shape (len(indices), rows)."""
        stop = self._n if stop is None else stop
        y = np.empty((len(indices), stop - start))
        block_of = self.block_of(indices)
        order = np.argsort(block_of, kind="stable")
        edges = np.flatnonzero(np.diff(block_of[order])) + 1
        for places in np.split(order, edges) if len(indices) else ():
            block = int(block_of[places[0]])
            rows = indices[places] - self._blocks.firsts[block]
            y[places] = self._read(block, rows, start, stop)
        return y

    def block_of(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the number of the block of each curve."""
        return np.searchsorted(self._blocks.firsts, indices, side="right") - 1

    def _read(self, block: int, rows: NDArray[np.intp], start: int, stop: int) -> FloatArray:
        wanted = len(rows) * (stop - start)
        if LARGE_PART * wanted > self._blocks.counts[block] * self._n:
            query = select(CurveBlock.data).where(
                CurveBlock.dataset_id == self._dataset_id,
                CurveBlock.first == int(self._blocks.firsts[block]),
            )
            data = self._connection.scalars(query, execution_options=BINARY).one()
            return np.frombuffer(data, NUMBER).reshape(-1, self._n)[rows, start:stop]
        offsets = [row * self._n + start for row in rows.tolist()]
        part = self._part_of_file if self._is_sqlite else self._part_by_query
        data = b"".join(part(self._blocks.keys[block], offsets, stop - start))
        return np.frombuffer(data, NUMBER).reshape(len(rows), -1)

    def _part_of_file(self, key: int, offsets: list[int], count: int) -> Iterator[bytes]:
        raw: Any = self._connection.connection.driver_connection
        with raw.blobopen("curve_blocks", "data", key, readonly=True) as blob:
            for offset in offsets:
                blob.seek(offset * NUMBER.itemsize)
                yield blob.read(count * NUMBER.itemsize)

    def _part_by_query(self, key: int, offsets: list[int], count: int) -> Iterator[bytes]:
        size = NUMBER.itemsize
        # One query for all parts; one query each would take ten times as long.
        starts = func.unnest(cast([offset * size + 1 for offset in offsets], ARRAY(Integer)))
        parts = starts.table_valued("start", with_ordinality="place").render_derived()
        query = (
            select(func.substr(CurveBlock.data, parts.c.start, count * size))
            .join(parts, literal_column("true"))
            .where(CurveBlock.dataset_id == self._dataset_id, CurveBlock.first == key)
            .order_by(parts.c.place)
        )
        yield from self._connection.scalars(query, execution_options=BINARY)
