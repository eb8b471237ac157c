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
    String,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from api.store.base import BINARY, Base, Blob, insert_rows
from services.narrowing import count_item_bytes, narrow, widen
from services.tables import Curves, FloatArray

BLOCK_BYTES = 4 << 20
"""Bytes of the values of a block before they are narrowed; a block of one curve can be larger."""

LARGE_PART = 4
"""A whole block is read when more than 1/LARGE_PART of it is wanted."""

NUMBER = np.dtype("<f8")


class CurveBlock(Base):
    """Values of consecutive curves, narrowed if all their bits return; NaN is a gap.

    `encoding` says how (services/narrowing.py). SQLite keeps NULL, which is float64, in the head of
    the row, so that it is read without the pages of the block.
    """

    __tablename__ = "curve_blocks"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    data: Mapped[bytes] = mapped_column(Blob)
    encoding: Mapped[str | None] = mapped_column(String(16))


def add_blocks(connection: Connection, dataset_id: str, first: int, curves: Curves) -> None:
    """Store curves at the positions from `first` on."""
    for some in curves.read_parts(BLOCK_BYTES):
        count = len(some)
        stored, encoding = narrow(some)
        row = dataset_id, first, count, stored.data.cast("B"), encoding
        insert_rows(connection, CurveBlock, [row])
        first += count
        del some, stored, row  # Do not keep a long curve while the next one is read.


_VALUES = (
    select(CurveBlock.first, CurveBlock.count, CurveBlock.data, CurveBlock.encoding)
    .where(CurveBlock.dataset_id == bindparam("dataset_id"))
    .where(CurveBlock.first >= bindparam("start"), CurveBlock.first < bindparam("stop"))
    .order_by(CurveBlock.first)
    .execution_options(yield_per=1, **BINARY)
)


def stream_values(
    connection: Connection, dataset_id: str, start: int, stop: int
) -> Iterator[tuple[int, FloatArray]]:
    """Yield each block that starts in a range: the position of its first curve, and its values."""
    places = {"dataset_id": dataset_id, "start": start, "stop": stop}
    with connection.execute(_VALUES, places) as rows:
        for first, count, data, encoding in rows:
            yield first, widen(data, encoding).reshape(count, -1)


class _Block(NamedTuple):
    """Position of the first curve of a block, number of curves, encoding, and key."""

    first: int
    n_curves: int
    encoding: str | None
    key: int


class _Blocks(NamedTuple):
    """Position of the first curve of each block of a dataset, and the blocks."""

    firsts: NDArray[np.intp]
    blocks: Sequence[_Block]


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
            select(CurveBlock.first, CurveBlock.count, CurveBlock.encoding, key)
            .where(CurveBlock.dataset_id == self._dataset_id)
            .order_by(CurveBlock.first)
        )
        blocks = [_Block(*row) for row in self._connection.execute(query)]
        return _Blocks(np.array([block.first for block in blocks], dtype=np.intp), blocks)

    def cut(self, start: int, stop: int) -> list[NDArray[np.intp]]:
        """Return the positions of the curves of each block that begins in a range."""
        return [
            np.arange(block.first, block.first + block.n_curves)
            for block in self._blocks.blocks
            if start <= block.first < stop
        ]

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
            block = self._blocks.blocks[block_of[places[0]]]
            y[places] = self._read(block, indices[places] - block.first, start, stop)
        return y

    def block_of(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the number of the block of each curve."""
        return np.searchsorted(self._blocks.firsts, indices, side="right") - 1

    def _read(self, block: _Block, rows: NDArray[np.intp], start: int, stop: int) -> FloatArray:
        wanted = len(rows) * (stop - start)
        if LARGE_PART * wanted > block.n_curves * self._n:
            query = select(CurveBlock.data).where(
                CurveBlock.dataset_id == self._dataset_id, CurveBlock.first == block.first
            )
            data = self._connection.scalars(query, execution_options=BINARY).one()
            return widen(data, block.encoding).reshape(-1, self._n)[rows, start:stop]
        size = count_item_bytes(block.encoding)
        offsets = [(row * self._n + start) * size for row in rows.tolist()]
        part = self._part_of_file if self._is_sqlite else self._part_by_query
        data = b"".join(part(block.key, offsets, (stop - start) * size))
        return widen(data, block.encoding).reshape(len(rows), -1)

    def _part_of_file(self, key: int, offsets: list[int], size: int) -> Iterator[bytes]:
        """Yield parts of a block, by their first byte and their size."""
        raw: Any = self._connection.connection.driver_connection
        with raw.blobopen("curve_blocks", "data", key, readonly=True) as blob:
            for offset in offsets:
                blob.seek(offset)
                yield blob.read(size)

    def _part_by_query(self, key: int, offsets: list[int], size: int) -> Iterator[bytes]:
        # One query for all parts; one query each would take ten times as long.
        starts = func.unnest(cast([offset + 1 for offset in offsets], ARRAY(Integer)))
        parts = starts.table_valued("start", with_ordinality="place").render_derived()
        query = (
            select(func.substr(CurveBlock.data, parts.c.start, size))
            .join(parts, literal_column("true"))
            .where(CurveBlock.dataset_id == self._dataset_id, CurveBlock.first == key)
            .order_by(parts.c.place)
        )
        yield from self._connection.scalars(query, execution_options=BINARY)
