"""Datasets: the record, its grid, its curves by name, and their values in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, bindparam, case, insert, select
from sqlalchemy.orm import Mapped, Session, make_transient_to_detached, mapped_column

from api.store.base import (
    BINARY,
    Base,
    Blob,
    Document,
    Name,
    Record,
    Timestamp,
    insert_rows,
    new_id,
    now,
)
from api.store.blocks import BLOCK_BYTES, NUMBER, add_blocks
from api.store.labels import add_labels
from api.store.lists import index_lists
from api.store.sketches import add_sketches
from services.errors import Fact, GridError, InvalidTable, error_from
from services.files import Source
from services.fingerprint import extend_sha256, table_sha256
from services.grids import find_grid_faults
from services.labels import UNIT_LENGTH, keep_storable
from services.quality import MOST_WARNINGS, TableSummary, summarize
from services.tables import NO_LABELS, Curves, FloatArray, Labels, TableWarning

MORE_WARNINGS = "more_warnings"
"""Code of the warning that says how many warnings were not kept."""

MOST_FILES = 10_000
"""Most reports on files that a record keeps, however often curves are appended."""

LARGE_TABLE = 4 << 20
"""Bytes of values from which another thread computes the fingerprint."""


class Dataset(Record):
    """Record of one x column and its curves. Values never change; curves can be appended."""

    __tablename__ = "datasets"
    __table_args__ = index_lists()
    unlisted = ("n_warnings", "files")

    description: Mapped[str] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(Document)
    x_column: Mapped[str] = mapped_column(Name)
    x_unit: Mapped[str | None] = mapped_column(String(UNIT_LENGTH))
    is_grid: Mapped[bool]
    n_points: Mapped[int]
    n_curves: Mapped[int]
    x_min: Mapped[float | None]
    x_max: Mapped[float | None]
    n_gaps: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    source: Mapped[dict[str, Any]] = mapped_column(Document)
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(Document)
    n_warnings: Mapped[int]
    files: Mapped[list[dict[str, Any]] | None] = mapped_column(Document)
    updated_at: Mapped[datetime] = mapped_column(Timestamp)

    @property
    def usable_as(self) -> list[str]:
        """Roles that the curves can have in a fit or a mapping."""
        return _list_uses(is_grid=self.is_grid)

    @classmethod
    def make_listed(cls, columns: dict[str, Any]) -> dict[str, Any]:
        return columns | {"usable_as": _list_uses(is_grid=columns["is_grid"])}


def _list_uses(*, is_grid: bool) -> list[str]:
    return ["training", "library", "test"] if is_grid else ["test"]


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


def describe_dataset(  # noqa: PLR0913 - the fields of the record
    curves: Curves,
    source: Source,
    labels: Labels,
    *,
    warnings: Sequence[TableWarning],
    name: str,
    description: str = "",
    attributes: dict[str, Any] | None = None,
) -> tuple[Dataset, Labels, TableSummary]:
    """Make the record of a new dataset, which is not stored; with labels that can be."""
    summary, sha256 = _describe(curves)
    labels, lost = keep_storable(labels, curves.names)
    faults = _warn_of_grid(curves)
    created = now()
    dataset = Dataset(
        id=new_id(),
        name=name,
        description=description,
        attributes=attributes or {},
        **_columns_of(curves, summary),
        x_unit=labels.x_unit,
        is_grid=not faults,
        sha256=sha256,
        source=asdict(source),
        files=None,
        warnings=[],
        n_warnings=0,
        version=1,
        created_at=created,
        updated_at=created,
    )
    _warn(dataset, [*warnings, *lost, *faults], summary)
    return dataset, labels, summary


def add_dataset(  # noqa: PLR0913 - the fields of the record
    session: Session,
    curves: Curves,
    source: Source,
    labels: Labels = NO_LABELS,
    *,
    warnings: Sequence[TableWarning] = (),
    files: list[dict[str, Any]] | None = None,
    name: str,
    description: str = "",
    attributes: dict[str, Any] | None = None,
) -> Dataset:
    """Store curves as a new dataset.

    Slow work that does not need the database comes first, before the first statement begins the
    transaction.
    """
    dataset, labels, summary = describe_dataset(
        curves,
        source,
        labels,
        warnings=warnings,
        name=name,
        description=description,
        attributes=attributes,
    )
    dataset.files = files
    _insert(session, dataset, curves.x)
    _add_curves(session, dataset, curves, labels, summary, first=0)
    return dataset


def _insert(session: Session, dataset: Dataset, x: FloatArray) -> None:
    """Insert the record and its grid."""
    connection = session.connection()
    # A plain INSERT takes a third of the time of a flush.
    connection.execute(insert(Dataset), dataset.as_dict())
    make_transient_to_detached(dataset)
    session.add(dataset)
    insert_rows(connection, Grid, [(dataset.id, x.astype("<f8", copy=False).tobytes())])


def _describe(curves: Curves) -> tuple[TableSummary, str]:
    """Summarize curves and compute their fingerprint, large ones in two threads at once."""
    if len(curves.names) * curves.x.nbytes < LARGE_TABLE:
        return summarize(curves, with_x=True), table_sha256(curves)
    with ThreadPoolExecutor(1) as pool:
        sha256 = pool.submit(table_sha256, curves)
        return summarize(curves, with_x=True), sha256.result()


def _columns_of(curves: Curves, summary: TableSummary) -> dict[str, Any]:
    """Make the columns of a record that follow from the curves."""
    # SQLite does not keep the sign of zero; adding 0.0 removes it on PostgreSQL too.
    least, largest = (float(pick.reduce(curves.x)) + 0.0 for pick in (np.fmin, np.fmax))
    return {
        "x_column": curves.x_name,
        "n_points": curves.x.size,
        "n_curves": len(curves.names),
        "x_min": None if math.isnan(least) else least,
        "x_max": None if math.isnan(largest) else largest,
        "n_gaps": summary.n_gaps,
    }


def append_curves(  # noqa: PLR0913 - everything about the curves
    session: Session,
    dataset: Dataset,
    curves: Curves,
    labels: Labels = NO_LABELS,
    summary: TableSummary | None = None,
    *,
    warnings: Sequence[TableWarning] = (),
    files: list[dict[str, Any]] | None = None,
) -> None:
    """Append curves to a dataset, which the caller has locked.

    `summary` describes the curves, if the caller made it before the lock. A dataset keeps the unit
    of its x, if it has one.

    Raises
    ------
    GridError
        The x column differs from that of the dataset.
    InvalidTable
        The dataset already has a curve of one of the names.
    """
    _check_same_x(read_grid(session, dataset), curves)
    taken = find_curves(session, dataset, curves.names)
    facts = [
        Fact(f"The dataset has a curve {name!r} already.", "duplicate_name", column=name)
        for name in curves.names
        if name in taken or name == dataset.x_column
    ][:20]
    if facts:
        raise InvalidTable(f"{facts[0].detail} Nothing was appended.", facts)
    summary = summary or summarize(curves, with_x=False)
    labels, lost = keep_storable(labels, curves.names)
    first = dataset.n_curves
    dataset.n_curves += len(curves.names)
    dataset.n_gaps += summary.n_gaps
    dataset.sha256 = extend_sha256(dataset.sha256, curves.names, curves.read_parts(BLOCK_BYTES))
    dataset.updated_at = now()
    _warn(dataset, [*warnings, *lost, *_warn_of_unit(dataset, labels)], summary)
    dataset.x_unit = dataset.x_unit or labels.x_unit
    if files:
        dataset.files = [*(dataset.files or []), *files][:MOST_FILES]
    session.flush()
    _add_curves(session, dataset, curves, labels, summary, first=first)


def _warn_of_grid(curves: Curves) -> list[TableWarning]:
    """Warn of an x column that is no grid, so that no fit can use it."""
    return [
        TableWarning(
            fault.code,
            f"{fault.detail} So these curves can be test points, but neither training curves nor"
            " a library. For those give every row a different x, or choose another x column with"
            " x_column.",
            fault.column,
            fault.row,
        )
        for fault in find_grid_faults(curves.x, curves.x_name)[:1]
    ]


def _warn_of_unit(dataset: Dataset, labels: Labels) -> list[TableWarning]:
    """Warn of new curves whose x has the same values but another unit."""
    if labels.x_unit is None or dataset.x_unit in (None, labels.x_unit):
        return []
    detail = f"The new curves have x in {labels.x_unit!r}, the dataset has {dataset.x_unit!r}."
    return [TableWarning("other_unit", f"{detail} It was kept.", dataset.x_column)]


def _add_curves(  # noqa: PLR0913 - everything about the curves
    session: Session,
    dataset: Dataset,
    curves: Curves,
    labels: Labels,
    summary: TableSummary,
    *,
    first: int,
) -> None:
    """Insert rows, labels, blocks and sketches of curves; the record already counts them."""
    dataset_id, named = dataset.id, zip(curves.names, summary.curves, strict=True)
    connection = session.connection()
    rows = [(dataset_id, i, name, *figures) for i, (name, figures) in enumerate(named, first)]
    if rows:
        insert_rows(connection, Curve, rows)
    add_labels(connection, dataset.id, first, labels)
    add_blocks(connection, dataset.id, first, curves)
    add_sketches(connection, dataset.id, dataset.n_points, first, dataset.n_curves)


def _warn(dataset: Dataset, warnings: Sequence[TableWarning], summary: TableSummary) -> None:
    """Append these warnings and those of the curves; if too many, the last counts the rest."""
    dataset.n_warnings += len(warnings) + summary.n_warnings
    warnings = [*warnings, *summary.warnings]
    kept = [warning for warning in dataset.warnings if warning["code"] != MORE_WARNINGS]
    kept += map(asdict, warnings)
    if dataset.n_warnings > MOST_WARNINGS:
        kept = kept[: MOST_WARNINGS - 1]
        detail = f"There are {dataset.n_warnings - len(kept)} more warnings."
        kept.append(asdict(TableWarning(MORE_WARNINGS, detail)))
    dataset.warnings = kept


def _check_same_x(x: FloatArray, table: Curves) -> None:
    other, wanted = table.x, "Send the same x in the same order:"
    if x.size != other.size:
        detail = f"{wanted} the dataset has {x.size} rows, the new curves have {other.size}."
        raise error_from(GridError, Fact(detail, "other_x", column=table.x_name))
    differs = np.flatnonzero(~((x == other) | (np.isnan(x) & np.isnan(other))))
    if differs.size:
        row = int(differs[0])
        detail = f"{wanted} row {row} has {float(other[row])!r}, in the dataset {float(x[row])!r}."
        raise error_from(GridError, Fact(detail, "other_x", row=row, column=table.x_name))


def read_grid(session: Session, dataset: Dataset) -> FloatArray:
    """Read the x column, shape (n_points,)."""
    query = select(Grid.data).where(Grid.dataset_id == dataset.id)
    data = session.scalars(query, execution_options=BINARY).one()
    return np.frombuffer(data, dtype=NUMBER)


SHORT_GRID = 1 << 16
"""Most points of an x column that is read together with its record."""


# Statements of small requests are built once: building one takes longer than sending it.
_DATASETS = (
    select(Dataset, case((Dataset.n_points <= bindparam("short"), Grid.data)))
    .join(Grid)
    .where(Dataset.id.in_(bindparam("ids", expanding=True)))
)
_NAMES_AT = (
    select(Curve.index, Curve.name)
    .where(Curve.dataset_id == bindparam("dataset_id"))
    .where(Curve.index.in_(bindparam("indices", expanding=True)))
    .order_by(Curve.index)
)


def read_datasets(session: Session, *ids: str) -> dict[str, tuple[Dataset, FloatArray | None]]:
    """Read datasets in one statement, each with its x column if that is short; by id.

    Datasets that do not exist are left out. A request that is only queued reads no long column.
    """
    # PostgreSQL raises an error for NUL.
    wanted = {dataset_id for dataset_id in ids if "\0" not in dataset_id}
    return {
        dataset.id: (dataset, None if data is None else np.frombuffer(data, dtype=NUMBER))
        for dataset, data in session.execute(
            _DATASETS, {"ids": sorted(wanted), "short": SHORT_GRID}
        )
    }


def find_curves(session: Session, dataset: Dataset, names: Sequence[str]) -> dict[str, int]:
    """Return the position of each named curve; unknown names are left out."""
    query = select(Curve.name, Curve.index).where(Curve.dataset_id == dataset.id)
    if len(names) > dataset.n_curves // 10:
        # Reading all curves is faster than that many searches.
        wanted = set(names)
        return {name: index for name, index in session.execute(query) if name in wanted}
    found: dict[str, int] = {}
    for start in range(0, len(names), 500):
        found.update(session.execute(query.where(Curve.name.in_(names[start : start + 500]))).all())
    return found


def read_curve_names(session: Session, dataset: Dataset, indices: Iterable[int]) -> dict[int, str]:
    """Return the name of the curve at each position."""
    found: dict[int, str] = {}
    wanted = sorted(indices)
    for start in range(0, len(wanted), 500):
        some = {"dataset_id": dataset.id, "indices": wanted[start : start + 500]}
        found.update(session.execute(_NAMES_AT, some).all())
    return found


def read_gap_counts(session: Session, dataset: Dataset, indices: Sequence[int]) -> list[int]:
    """Return how many gaps each of a few curves has."""
    query = select(Curve.index, Curve.n_gaps).where(
        Curve.dataset_id == dataset.id, Curve.index.in_(indices)
    )
    found = dict(session.execute(query).all())
    return [found[index] for index in indices]
