"""Mappings: the record, which is also the job, and its items in blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ForeignKey, Select, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import BINARY, Base, Blob, Database, Document, find, insert_rows
from api.store.jobs import Job, index_queue
from api.store.lists import Page, index_lists
from api.store.values import StoredRows, X, count_batch_rows, stream_rows
from services.mapping.items import (
    ITEM,
    REASONS,
    STORED,
    Items,
    Row,
    find_cells,
    find_functions,
)
from services.mapping.options import MapOptions
from services.tables import FloatArray

BLOCK_ITEMS = 65_536
"""Items per block (786 kB)."""


class Mapping(Job):
    """Record of a mapping: its fit and test dataset, its options, its results and state."""

    __tablename__ = "mappings"
    __table_args__ = (*index_lists("fit_id", "test_id", "state"), index_queue())
    unlisted = (*Job.unlisted, "test_sha256", "columns", "functions")

    fit_id: Mapped[str] = mapped_column(ForeignKey("fits.id"))
    test_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    policy: Mapped[str] = mapped_column(String(8))
    tolerance_factor: Mapped[float]
    alignment: Mapped[str] = mapped_column(String(8))
    x_tolerance: Mapped[float | None]
    test_sha256: Mapped[str] = mapped_column(String(64))
    columns: Mapped[list[str]] = mapped_column(Document)
    n_points: Mapped[int]
    mapped_points: Mapped[int]
    unmapped_points: Mapped[int]
    n_assignments: Mapped[int]
    unmapped_reasons: Mapped[dict[str, int]] = mapped_column(Document)
    functions: Mapped[list[dict[str, Any]]] = mapped_column(Document)

    @property
    def options(self) -> MapOptions:
        """The options in the form that services take."""
        return MapOptions(
            self.policy,  # type: ignore[arg-type] # the schema allows the three words only
            self.tolerance_factor,
            self.alignment,  # type: ignore[arg-type]
            self.x_tolerance,
        )


class ItemBlock(Base):
    """Consecutive items of a mapping, in the layout of `services.mapping.items.STORED`.

    `cell` is the cell of the first one: test row × number of columns + position of the column.
    """

    __tablename__ = "item_blocks"

    mapping_id: Mapped[str] = mapped_column(
        ForeignKey("mappings.id", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    data: Mapped[bytes] = mapped_column(Blob)
    cell: Mapped[int]


def add_items(session: Session, mapping: Mapping, spool: IO[bytes]) -> None:
    """Store the items of a mapping from a file of consecutive packed items."""
    connection, first, cell = session.connection(), 0, 0
    while data := spool.read(BLOCK_ITEMS * STORED.itemsize):
        stored = np.frombuffer(data, STORED)
        # Unless it begins with a new cell, the block continues the last cell of the one before.
        cells = find_cells(stored, cell + int(stored["code"][0] & 1) if first else 0)
        row = mapping.id, first, stored.size, data, int(cells[0])
        insert_rows(connection, ItemBlock, [row])
        first, cell = first + stored.size, int(cells[-1])


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Filter for items.

    `functions` are positions in the mapping's list; None means any.
    """

    mapped: bool | None = None
    functions: Sequence[int] | None = None

    def keep(self, functions: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which items are wanted, by their functions."""
        chosen = np.ones(functions.size, dtype=bool)
        if self.mapped is not None:
            chosen &= (functions >= 0) == self.mapped
        if self.functions is not None:
            chosen &= np.isin(functions, self.functions)
        return chosen


class ItemReader:
    """Reader for the items of one mapping, whose x and y are in its test dataset.

    With `ahead` it reads more rows of the dataset than it needs, and keeps them for the next
    block: a row of many curves is scattered over the dataset.
    """

    def __init__(self, mapping: Mapping, *, ahead: bool) -> None:
        self._columns = len(mapping.columns)
        self._test = StoredRows(mapping.test_id, mapping.n_points // self._columns)
        self._ahead = ahead
        self._first = 0
        self._values = np.empty((1 + self._columns, 0))

    def read(
        self,
        session: Session,
        block: tuple[bytes, int],
        wanted: ItemFilter,
        after: int = -1,
        most: int | None = None,
    ) -> tuple[NDArray[np.intp], Items]:
        """Return positions in a block, and items, after `after` that pass the filter.

        `block` has its data and the cell of its first item. At most `most` items are returned.
        """
        data, cell = block
        stored = np.frombuffer(data, STORED)
        functions, reasons = find_functions(stored)
        keep = wanted.keep(functions)
        keep[: max(0, after + 1)] = False
        places = np.flatnonzero(keep)[:most]
        items = np.empty(places.size, dtype=ITEM)
        if places.size:
            rows, columns = np.divmod(find_cells(stored, cell)[places], self._columns)
            values = self._read_rows(session, int(rows[0]), int(rows[-1]) + 1)
            at = rows - self._first
            items["point"], items["column"] = rows, columns
            items["function"], items["reason"] = functions[places], reasons[places]
            items["x"], items["y"] = values[0, at], values[columns + 1, at]
            items["deviation"] = stored["deviation"][places]
        return places, items

    def _read_rows(self, session: Session, start: int, stop: int) -> FloatArray:
        """Return x and the curves of rows from `self._first` on, which include those asked for."""
        if not self._first <= start <= stop <= self._first + self._values.shape[1]:
            if self._ahead:
                stop = max(
                    stop, min(start + count_batch_rows(1 + self._columns), self._test.n_points)
                )
            columns = [X, *range(self._columns)]
            batches = list(stream_rows(session, self._test, columns, start, stop))
            self._first, self._values = start, np.concatenate(batches, axis=1)
        return self._values


def stream_items(
    session: Session,
    mapping: Mapping,
    wanted: ItemFilter,
    after: int = -1,
    most: int | None = None,
) -> Generator[tuple[NDArray[np.intp], Items], None, None]:
    """Yield positions and items after position `after` that pass the filter, by block.

    With `most`, at most so many of each block.
    """
    reader = ItemReader(mapping, ahead=most is None)
    with session.execute(_blocks(mapping, after).execution_options(yield_per=1)) as rows:
        for first, data, cell in rows:
            places, items = reader.read(session, (data, cell), wanted, after - first, most)
            yield places + first, items


def _blocks(mapping: Mapping, after: int) -> Select[int, bytes, int]:
    return (
        select(ItemBlock.first, ItemBlock.data, ItemBlock.cell)
        .where(
            ItemBlock.mapping_id == mapping.id,
            ItemBlock.first + ItemBlock.count > after + 1,
        )
        .order_by(ItemBlock.first)
        .execution_options(**BINARY)
    )


def send_items(
    database: Database, mapping: Mapping, wanted: ItemFilter, after: int = -1
) -> Iterator[Items]:
    """Yield items like `stream_items`, each block in its own transaction, for slow clients.

    The blocks agree, because items never change. Raises NotFound if the mapping is deleted in
    between.
    """
    reader = ItemReader(mapping, ahead=True)
    while True:
        with database.reading() as session:
            find(session, Mapping, mapping.id)
            block = session.execute(_blocks(mapping, after).limit(1)).one_or_none()
            if block is None:
                return
            first, data, cell = block
            _, items = reader.read(session, (data, cell), wanted, after - first)
        after = first + len(data) // STORED.itemsize - 1
        yield items


def read_page_of_items(
    session: Session, mapping: Mapping, wanted: ItemFilter, after: int = -1, limit: int = 100
) -> Page:
    """Return the items after position `after` that pass the filter."""
    positions: list[int] = []
    found: list[Items] = [np.empty(0, dtype=ITEM)]
    with closing(stream_items(session, mapping, wanted, after, limit + 1)) as blocks:
        for places, items in blocks:
            positions += places.tolist()
            found.append(items)
            if len(positions) > limit:
                break
    items = np.concatenate(found)[:limit]
    return Page(items, [positions[limit - 1]] if len(positions) > limit else None)


def read_first_items(session: Session, mapping: Mapping, limit: int) -> Page:
    """Return the first page of items, without reading a whole block.

    The page is empty unless the mapping succeeded.
    """
    query = select(ItemBlock.count, func.substr(ItemBlock.data, 1, limit * STORED.itemsize)).where(
        ItemBlock.mapping_id == mapping.id, ItemBlock.first == 0
    )
    block = session.execute(query).one_or_none() if mapping.state == "succeeded" else None
    if block is None:
        return Page(np.empty(0, dtype=ITEM), None)
    count, data = block
    _, items = ItemReader(mapping, ahead=False).read(session, (data, 0), ItemFilter())
    return Page(items, [limit - 1] if count > limit else None)


def find_mappings_of_fit(session: Session, fit_id: str, limit: int = 10) -> list[str]:
    """Return ids of mappings that use a fit, at most `limit`."""
    return list(session.scalars(select(Mapping.id).where(Mapping.fit_id == fit_id).limit(limit)))


def find_mappings_of_test(session: Session, dataset_id: str, limit: int = 10) -> list[str]:
    """Return ids of mappings of a test dataset, at most `limit`."""
    return list(
        session.scalars(select(Mapping.id).where(Mapping.test_id == dataset_id).limit(limit))
    )


_UNMAPPED = {"training": None, "ideal": None, "limit": None}


def make_point_columns(
    items: Items, columns: Sequence[str], functions: Sequence[dict[str, Any]]
) -> dict[str, list[Any]]:
    """Return the fields of items by name, one list each; NaN means no value."""
    mapped = items["function"].tolist()
    named = [functions[function] if function >= 0 else _UNMAPPED for function in mapped]
    return {
        "point": items["point"].tolist(),
        "column": [columns[column] for column in items["column"].tolist()],
        "x": items["x"].tolist(),
        "y": items["y"].tolist(),
        "training": [function["training"] for function in named],
        "ideal": [function["ideal"] for function in named],
        "deviation": items["deviation"].tolist(),
        "limit": [function["limit"] for function in named],
        "reason": [REASONS[reason] for reason in items["reason"].tolist()],
    }


def make_point_dicts(
    rows: Iterable[Row], columns: Sequence[str], functions: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the fields of each item by name."""
    return [
        {
            "point": point,
            "column": columns[column],
            "x": x,
            "y": y,
            "training": named["training"],
            "ideal": named["ideal"],
            "deviation": deviation,
            "limit": named["limit"],
            "reason": REASONS[reason],
        }
        for point, column, function, reason, x, y, deviation in rows
        for named in (functions[function] if function >= 0 else _UNMAPPED,)
    ]
