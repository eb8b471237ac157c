"""Datasets: the record, its grid, its curves by name, and their values in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, func, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import (
    Base,
    Blob,
    Document,
    Name,
    Page,
    Record,
    Timestamp,
    new_id,
    now,
)
from services.blocks import Block
from services.errors import Fact, GridError, InvalidTable
from services.readers import Source
from services.tables import FloatArray, Table, extend_sha256, table_sha256

BLOCK_BYTES = 4 << 20
"""Size of a block, unless a single curve is longer."""

FEW = 4
"""Curves of one block that are read by themselves; more, and the whole block is read."""


class Dataset(Record):
    """One x column and its curves. Values never change; curves are only appended."""

    __tablename__ = "datasets"

    description: Mapped[str] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(Document)
    x_column: Mapped[str] = mapped_column(Name)
    n_points: Mapped[int]
    n_curves: Mapped[int]
    x_min: Mapped[float | None]
    x_max: Mapped[float | None]
    n_gaps: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    source: Mapped[dict[str, Any]] = mapped_column(Document)
    updated_at: Mapped[datetime] = mapped_column(Timestamp)


class Grid(Base):
    """The x column of a dataset, little-endian float64."""

    __tablename__ = "grids"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    data: Mapped[bytes] = mapped_column(Blob)


class Curve(Base):
    """One curve of a dataset, without its values."""

    __tablename__ = "curves"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Name)
    n_gaps: Mapped[int]
    y_min: Mapped[float | None]
    y_max: Mapped[float | None]
    y_mean: Mapped[float | None]


class CurveBlock(Base):
    """Values of some curves, one after the other, little-endian float64, NaN is a gap."""

    __tablename__ = "curve_blocks"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    data: Mapped[bytes] = mapped_column(Blob)


def add_dataset(  # noqa: PLR0913 - the fields of the record
    session: Session,
    table: Table,
    source: Source,
    *,
    name: str,
    description: str = "",
    attributes: dict[str, Any] | None = None,
) -> Dataset:
    """Store a table as a new dataset."""
    numbers = table.x[~np.isnan(table.x)]
    created = now()
    dataset = Dataset(
        id=new_id(),
        name=name,
        description=description,
        attributes=attributes or {},
        x_column=table.x_name,
        n_points=table.x.size,
        n_curves=0,
        x_min=float(numbers.min()) if numbers.size else None,
        x_max=float(numbers.max()) if numbers.size else None,
        n_gaps=0,
        sha256=table_sha256(Table(table.x, table.y[:0], (), table.x_name)),
        source=asdict(source),
        created_at=created,
        updated_at=created,
    )
    _add_curves(session, dataset, table)
    session.add(dataset)
    session.flush()
    session.add(Grid(dataset_id=dataset.id, data=table.x.astype("<f8", copy=False).tobytes()))
    session.flush()
    return dataset


def append_curves(session: Session, dataset: Dataset, table: Table) -> None:
    """Add curves behind those a dataset has; it must be locked, so batches come in turn.

    Raises
    ------
    GridError
        The x column is not the dataset's own.
    InvalidTable
        A curve of that name is there already.
    """
    _check_same_x(read_grid(session, dataset), table)
    taken = curve_indices(session, dataset, table.names)
    facts = [
        Fact(f"The dataset has a curve {name!r} already.", "duplicate_name", column=name)
        for name in table.names
        if name in taken or name == dataset.x_column
    ][:20]
    if facts:
        raise InvalidTable(f"{facts[0].detail} Nothing was appended.", facts)
    dataset.updated_at = now()
    _add_curves(session, dataset, table)


def _check_same_x(x: FloatArray, table: Table) -> None:
    if x.size != table.x.size:
        raise GridError(
            f"The dataset has {x.size} rows, the new curves have {table.x.size};"
            " send the same x in the same order.",
            [Fact("Another number of rows.", "other_x", column=table.x_name)],
        )
    other = np.flatnonzero(~((x == table.x) | (np.isnan(x) & np.isnan(table.x))))
    if other.size:
        row = int(other[0])
        detail = f"x is {float(table.x[row])!r} here and {float(x[row])!r} in the dataset."
        raise GridError(
            f"Row {row}: {detail} Send the same x in the same order.",
            [Fact(detail, "other_x", row=row, column=table.x_name)],
        )


def _add_curves(session: Session, dataset: Dataset, table: Table) -> None:
    """Rows and blocks of new curves; the record's counts and fingerprint with them."""
    first, curves = dataset.n_curves, len(table.names)
    rows = [
        {"dataset_id": dataset.id, "index": first + position, "name": name, **statistics}
        for position, (name, statistics) in enumerate(
            zip(table.names, _statistics(table.y), strict=True)
        )
    ]
    step = max(1, BLOCK_BYTES // (8 * table.x.size))
    blocks = [
        {
            "dataset_id": dataset.id,
            "first": first + start,
            "count": min(step, curves - start),
            "data": table.y[start : start + step].astype("<f8", copy=False).tobytes(),
        }
        for start in range(0, curves, step)
    ]
    dataset.n_curves += curves
    dataset.n_gaps += sum(row["n_gaps"] for row in rows)
    dataset.sha256 = extend_sha256(dataset.sha256, table.names, table.y)
    session.add(dataset)
    session.flush()
    # The plain statement, not the ORM's: half the time for the 50 curves of a small dataset.
    connection = session.connection()
    if rows:
        connection.execute(insert(Curve), rows)
    for block in blocks:
        connection.execute(insert(CurveBlock), [block])


def _statistics(y: FloatArray) -> Iterator[dict[str, Any]]:
    """Gaps, least, largest and mean number of each curve; None where there is no number."""
    gaps = np.isnan(y).sum(axis=1)
    with np.errstate(over="ignore"):
        figures = np.stack((y.min(axis=1), y.max(axis=1), np.sum(y, axis=1) / y.shape[1]))
        for row in np.flatnonzero((gaps > 0) & (gaps < y.shape[1])):
            some = y[row, ~np.isnan(y[row])]
            figures[:, row] = some.min(), some.max(), np.sum(some) / some.size
    for n_gaps, values in zip(gaps.tolist(), figures.T.tolist(), strict=True):
        least, largest, mean = (value if math.isfinite(value) else None for value in values)
        yield {"n_gaps": n_gaps, "y_min": least, "y_max": largest, "y_mean": mean}


def read_grid(session: Session, dataset: Dataset) -> FloatArray:
    """The x column, shape (n_points,)."""
    data = session.scalars(select(Grid.data).where(Grid.dataset_id == dataset.id)).one()
    return np.frombuffer(data, dtype="<f8")


def page_of_curves(session: Session, dataset: Dataset, after: int, limit: int) -> Page:
    """Curves behind position `after`, in the order of the dataset."""
    curves = session.scalars(
        select(Curve)
        .where(Curve.dataset_id == dataset.id, Curve.index > after)
        .order_by(Curve.index)
        .limit(limit + 1)
    ).all()
    more = len(curves) > limit
    return Page(curves[:limit], [curves[limit - 1].index] if more else None)


def curve_indices(session: Session, dataset: Dataset, names: Sequence[str]) -> dict[str, int]:
    """Position of each named curve; names that no curve has are left out."""
    found: dict[str, int] = {}
    for start in range(0, len(names), 500):
        some = names[start : start + 500]
        query = select(Curve.name, Curve.index).where(
            Curve.dataset_id == dataset.id, Curve.name.in_(some)
        )
        found.update(session.execute(query).all())
    return found


@dataclass(frozen=True, slots=True)
class Selection:
    """Some curves of a dataset, by ascending position; None stands for the first `n_curves`."""

    dataset: Dataset
    n_curves: int
    indices: NDArray[np.intp] | None = None
    names: Sequence[str] | None = None

    @property
    def size(self) -> int:
        return self.n_curves if self.indices is None else len(self.indices)

    @property
    def positions(self) -> NDArray[np.intp]:
        return np.arange(self.n_curves) if self.indices is None else self.indices


def curve_names(session: Session, dataset: Dataset, indices: Iterable[int]) -> dict[int, str]:
    """Name of the curve at each of the positions."""
    found: dict[int, str] = {}
    wanted = sorted(indices)
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        query = select(Curve.index, Curve.name).where(
            Curve.dataset_id == dataset.id, Curve.index.in_(some)
        )
        query = query.order_by(Curve.index)
        found.update(session.execute(query).all())
    return found


def stream_blocks(session: Session, selection: Selection) -> Iterator[Block]:
    """The selected curves, one stored block at a time."""
    dataset = selection.dataset
    wanted = selection.positions
    query = (
        select(CurveBlock.first, CurveBlock.count, CurveBlock.data)
        .where(CurveBlock.dataset_id == dataset.id, CurveBlock.first < selection.n_curves)
        .order_by(CurveBlock.first)
        .execution_options(yield_per=1)
    )
    if selection.indices is not None:
        query = query.where(CurveBlock.first.in_(_blocks_with(session, dataset, wanted)))
    with session.execute(query) as rows:
        for first, count, data in rows:
            inside = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, first + count)]
            y = np.frombuffer(data, dtype="<f8").reshape(count, dataset.n_points)
            whole = len(inside) == count
            yield Block(inside, y if whole else np.take(y, inside - first, axis=0))


def _blocks_with(session: Session, dataset: Dataset, indices: NDArray[np.intp]) -> list[int]:
    """First curve of each block that holds one of the curves."""
    firsts = np.array(_firsts(session, dataset))
    return list(np.unique(firsts[np.searchsorted(firsts, indices, side="right") - 1]).tolist())


def _firsts(session: Session, dataset: Dataset) -> Sequence[int]:
    return session.scalars(
        select(CurveBlock.first)
        .where(CurveBlock.dataset_id == dataset.id)
        .order_by(CurveBlock.first)
    ).all()


def read_curves(
    session: Session, dataset: Dataset, indices: NDArray[np.intp], start: int = 0, stop: int = -1
) -> FloatArray:
    """Values of curves in any order, rows `start` to `stop`, shape (len(indices), rows)."""
    stop = dataset.n_points if stop < 0 else stop
    y = np.empty((len(indices), stop - start))
    firsts = np.array(_firsts(session, dataset))
    block_of = np.searchsorted(firsts, indices, side="right") - 1
    for block in np.unique(block_of):
        places = np.flatnonzero(block_of == block)
        first = int(firsts[block])
        if len(places) > FEW:
            values = _part(session, dataset, first, None)
            rows = values.reshape(-1, dataset.n_points)
            y[places] = rows[indices[places] - first, start:stop]
            continue
        for place in places:
            offset = (int(indices[place]) - first) * dataset.n_points
            y[place] = _part(session, dataset, first, (offset + start, stop - start))
    return y


def _part(
    session: Session, dataset: Dataset, first: int, numbers: tuple[int, int] | None
) -> FloatArray:
    """Numbers (offset, how many) of a block, or all of them."""
    data: Any = CurveBlock.data
    if numbers is not None:
        offset, count = numbers
        data = func.substr(CurveBlock.data, 8 * offset + 1, 8 * count)
    query = select(data).where(CurveBlock.dataset_id == dataset.id, CurveBlock.first == first)
    return np.frombuffer(session.scalars(query).one(), dtype="<f8")


def read_table(session: Session, selection: Selection) -> Table:
    """The selected curves as one table in memory."""
    dataset = selection.dataset
    y = np.empty((selection.size, dataset.n_points))
    names = curve_names(session, dataset, selection.positions.tolist())
    filled = 0
    for block in stream_blocks(session, selection):
        y[filled : filled + len(block.y)] = block.y
        filled += len(block.y)
    ordered = tuple(names[index] for index in selection.positions.tolist())
    return Table(read_grid(session, dataset), y, ordered, dataset.x_column)
