"""Mappings: the record, which is also the job, and its items in blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ForeignKey, Select, String, func, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import BINARY, Base, Blob, Database, Document, find
from api.store.jobs import Job, index_queue
from api.store.lists import Page, index_lists
from services.mapping.items import ITEM, MAPPED, REASONS, Items, Row
from services.mapping.options import MapOptions

BLOCK_ITEMS = 65_536
"""Items per block (2.9 MB)."""


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
    """Consecutive items of a mapping, in the layout of `services.mapping.items.ITEM`."""

    __tablename__ = "item_blocks"

    mapping_id: Mapped[str] = mapped_column(
        ForeignKey("mappings.id", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    data: Mapped[bytes] = mapped_column(Blob)


def add_items(session: Session, mapping: Mapping, spool: IO[bytes]) -> None:
    """Store the items of a mapping from a file of consecutive items."""
    first = 0
    while data := spool.read(BLOCK_ITEMS * ITEM.itemsize):
        count = len(data) // ITEM.itemsize
        row = {"mapping_id": mapping.id, "first": first, "count": count, "data": data}
        session.execute(insert(ItemBlock), [row])
        first += count


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Filter for items.

    `functions` are positions in the mapping's list; None means any.
    """

    mapped: bool | None = None
    functions: Sequence[int] | None = None

    def keep(self, items: Items) -> NDArray[np.bool_]:
        chosen = np.ones(len(items), dtype=bool)
        if self.mapped is not None:
            chosen &= (items["reason"] == MAPPED) == self.mapped
        if self.functions is not None:
            chosen &= np.isin(items["function"], self.functions)
        return chosen


def stream_items(
    session: Session, mapping: Mapping, wanted: ItemFilter, after: int = -1
) -> Generator[tuple[NDArray[np.intp], Items], None, None]:
    """Yield positions and items after position `after` that pass the filter, by block."""
    with session.execute(_blocks(mapping, after).execution_options(yield_per=1)) as rows:
        for first, data in rows:
            places, items = _kept(np.frombuffer(data, dtype=ITEM), wanted, after - first)
            yield places + first, items


def _blocks(mapping: Mapping, after: int) -> Select[int, bytes]:
    return (
        select(ItemBlock.first, ItemBlock.data)
        .where(
            ItemBlock.mapping_id == mapping.id,
            ItemBlock.first + ItemBlock.count > after + 1,
        )
        .order_by(ItemBlock.first)
        .execution_options(**BINARY)
    )


def _kept(items: Items, wanted: ItemFilter, after: int) -> tuple[NDArray[np.intp], Items]:
    """Return positions in a block, and items, after `after` that pass the filter."""
    keep = wanted.keep(items)
    keep[: max(0, after + 1)] = False
    places = np.flatnonzero(keep)
    return places, items[places]


def send_items(
    database: Database, mapping: Mapping, wanted: ItemFilter, after: int = -1
) -> Iterator[Items]:
    """Yield items like `stream_items`, each block in its own transaction, for slow clients.

    The blocks agree, because items never change. Raises NotFound if the mapping is deleted in
    between.
    """
    while True:
        with database.reading() as session:
            find(session, Mapping, mapping.id)
            block = session.execute(_blocks(mapping, after).limit(1)).one_or_none()
        if block is None:
            return
        first, data = block
        items = np.frombuffer(data, dtype=ITEM)
        _, kept = _kept(items, wanted, after - first)
        after = first + len(items) - 1
        yield kept


def read_page_of_items(
    session: Session, mapping: Mapping, wanted: ItemFilter, after: int = -1, limit: int = 100
) -> Page:
    """Return the items after position `after` that pass the filter."""
    positions: list[int] = []
    found: list[Items] = [np.empty(0, dtype=ITEM)]
    with closing(stream_items(session, mapping, wanted, after)) as blocks:
        for places, items in blocks:
            positions += places[: limit + 1].tolist()
            found.append(items[: limit + 1])
            if len(positions) > limit:
                break
    items = np.concatenate(found)[:limit]
    return Page(items, [positions[limit - 1]] if len(positions) > limit else None)


def read_first_items(session: Session, mappings: Sequence[Mapping], limit: int) -> dict[str, Page]:
    """Return the first page of items of each mapping, without reading whole blocks.

    The page is empty unless the mapping succeeded.
    """
    ended = [mapping.id for mapping in mappings if mapping.state == "succeeded"]
    size = ITEM.itemsize
    query = select(
        ItemBlock.mapping_id,
        ItemBlock.count,
        func.substr(ItemBlock.data, 1, limit * size),
    ).where(ItemBlock.mapping_id.in_(ended), ItemBlock.first == 0)
    pages = {mapping.id: Page(np.empty(0, dtype=ITEM), None) for mapping in mappings}
    for mapping_id, count, data in session.execute(query):
        more = count > limit
        pages[mapping_id] = Page(np.frombuffer(data, dtype=ITEM), [limit - 1] if more else None)
    return pages


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
