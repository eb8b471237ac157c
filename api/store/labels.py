"""Units and attributes of curves. A curve that has neither has no row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, ForeignKey, String, Text, bindparam, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import Base, insert_rows
from services.labels import UNIT_LENGTH, each_label, write_attributes
from services.tables import Labels

AT_ONCE = 500
"""Curves that one statement names."""

JSONText = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by code point on both databases."""


class CurveLabel(Base):
    """Unit and attributes of one curve; at least one of them is there.

    The attributes are JSON as `services.labels.write_attributes` writes it.
    """

    __tablename__ = "curve_labels"

    dataset_id: Mapped[str] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    unit: Mapped[str | None] = mapped_column(String(UNIT_LENGTH))
    attributes: Mapped[str | None] = mapped_column(JSONText)


class Label(NamedTuple):
    """Unit and attributes of one curve."""

    unit: str | None = None
    attributes: Mapping[str, Any] = {}


NO_LABEL = Label()


def add_labels(connection: Connection, dataset_id: str, first: int, labels: Labels) -> None:
    """Store units and attributes of the curves at the positions from `first` on."""
    if labels.units or labels.attributes:
        each = (Label(*label) for label in each_label(labels))
        _insert(connection, dataset_id, enumerate(each, first))


def _insert(connection: Connection, dataset_id: str, labels: Iterable[tuple[int, Label]]) -> None:
    rows = [
        (dataset_id, index, unit, write_attributes(dict(attributes)) if attributes else None)
        for index, (unit, attributes) in labels
        if unit or attributes
    ]
    if rows:
        insert_rows(connection, CurveLabel, rows)


_LABELS_AT = (
    select(CurveLabel.index, CurveLabel.unit, CurveLabel.attributes)
    .where(CurveLabel.dataset_id == bindparam("dataset_id"))
    .where(CurveLabel.index.in_(bindparam("indices", expanding=True)))
)
_HAS_ANY = select(CurveLabel.index).where(CurveLabel.dataset_id == bindparam("dataset_id")).limit(1)


def read_labels(session: Session, dataset_id: str, indices: Iterable[int]) -> dict[int, Label]:
    """Return unit and attributes of the curves at these positions, where there are any."""
    wanted = sorted(indices)
    found: dict[int, Label] = {}
    if session.scalars(_HAS_ANY, {"dataset_id": dataset_id}).first() is None:
        return found
    for start in range(0, len(wanted), AT_ONCE):
        some = {"dataset_id": dataset_id, "indices": wanted[start : start + AT_ONCE]}
        for index, unit, attributes in session.execute(_LABELS_AT, some):
            found[index] = Label(unit, parse_attributes(attributes))
    return found


def parse_attributes(text: str | None) -> dict[str, Any]:
    """Return stored attributes by name."""
    attributes: dict[str, Any] = orjson.loads(text) if text else {}
    return attributes


def replace_labels(session: Session, dataset_id: str, labels: Mapping[int, Label]) -> None:
    """Replace unit and attributes of the curves at these positions."""
    connection, indices = session.connection(), sorted(labels)
    for start in range(0, len(indices), AT_ONCE):
        some = CurveLabel.index.in_(indices[start : start + AT_ONCE])
        connection.execute(delete(CurveLabel).where(CurveLabel.dataset_id == dataset_id, some))
    _insert(connection, dataset_id, labels.items())
