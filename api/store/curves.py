"""Lists of the curves of a dataset, by name and attribute, and counts of their attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from api.store.datasets import Curve, Dataset
from api.store.labels import CurveLabel, parse_attributes
from api.store.lists import Page, contains, find_text
from services.labels import write_attribute

MOST_VALUES = 50
"""Values that are counted of one attribute."""


_EXACT = 2**53
"""Whole number up to which all are float64."""


@dataclass(frozen=True, slots=True)
class CurveFilter:
    """Which curves of a dataset are wanted; None and nothing mean all.

    `attributes` are pairs of a name and a value as text.
    """

    name: str | None = None
    contains: str | None = None
    attributes: Sequence[tuple[str, str]] = ()


_SAME = and_(CurveLabel.dataset_id == Curve.dataset_id, CurveLabel.index == Curve.index)
_SHOWN = (
    Curve.index,
    Curve.name,
    Curve.n_gaps,
    Curve.y_min,
    Curve.y_max,
    Curve.y_mean,
    CurveLabel.unit,
    CurveLabel.attributes,
)


def read_page_of_curves(
    session: Session, dataset: Dataset, wanted: CurveFilter, after: int, limit: int
) -> Page:
    """Return the wanted curves after position `after`, in the order of the dataset."""
    # Only curves with labels can have an attribute: then their table leads.
    lead: Any = CurveLabel if wanted.attributes else Curve
    query = select(*_SHOWN).select_from(lead)
    if wanted.attributes:
        query = query.join(Curve, _SAME)
    else:
        # PostgreSQL would read the labels of all curves before these, too.
        behind = and_(CurveLabel.dataset_id == dataset.id, CurveLabel.index > after)
        query = query.outerjoin(CurveLabel, and_(_SAME, behind))
    rows = session.execute(
        query.where(lead.dataset_id == dataset.id, lead.index > after)
        .where(*_conditions(session, wanted))
        .order_by(lead.index)
        .limit(limit + 1)
    ).all()
    curves = [
        dict(row._mapping) | {"attributes": parse_attributes(row.attributes)}  # noqa: SLF001 - its public name
        for row in rows[:limit]
    ]
    return Page(curves, [curves[-1]["index"]] if len(rows) > limit else None)


def read_curve(session: Session, dataset: Dataset, index: int) -> dict[str, Any] | None:
    """Return the curve at a position, None if there is none."""
    page = read_page_of_curves(session, dataset, CurveFilter(), index - 1, 1)
    return next((curve for curve in page.items if curve["index"] == index), None)


def count_values(
    session: Session, dataset: Dataset, wanted: CurveFilter, attribute: str
) -> list[dict[str, Any]]:
    """Count the wanted curves by the value of an attribute; return the most frequent values."""
    begin = f"\n{write_attribute(attribute, 0)[:-1]}"
    query = select(_behind(session, CurveLabel.attributes, begin).label("behind"))
    if wanted.name is not None or wanted.contains is not None:
        query = query.join(Curve, _SAME)
    query = query.where(CurveLabel.dataset_id == dataset.id, *_conditions(session, wanted))
    # OFFSET keeps both databases from computing the text again wherever it is used.
    behind = query.offset(0).subquery().c.behind
    # The value is the rest of its line (services/labels.py).
    value = _before(session, behind, "\n").label("value")
    rows = session.execute(
        select(value, func.count())
        .where(behind.is_not(None))
        .group_by(value)
        .order_by(func.count().desc(), value)
        .limit(MOST_VALUES)
    )
    return [{"value": orjson.loads(row.value), "count": row[1]} for row in rows]


def _behind(session: Session, column: Any, text: str) -> ColumnElement[str]:
    """Make the SQL expression of a column behind a text; NULL if that is not there."""
    if session.get_bind().dialect.name != "sqlite":
        # Places of characters take PostgreSQL several times as long.
        return func.nullif(func.split_part(column, text, 2), "")
    place = func.nullif(find_text(session, column, text), 0)
    return func.substr(column, place + len(text))


def _before(session: Session, column: Any, text: str) -> ColumnElement[str]:
    """Make the SQL expression of a column before a text, which is there."""
    if session.get_bind().dialect.name != "sqlite":
        return func.split_part(column, text, 1)
    return func.substr(column, 1, find_text(session, column, text) - 1)


def _conditions(session: Session, wanted: CurveFilter) -> Iterator[ColumnElement[bool]]:
    """Yield the SQL conditions of the wanted curves."""
    if wanted.name is not None:
        yield Curve.name == wanted.name
    if wanted.contains is not None:
        yield contains(session, Curve.name, wanted.contains)
    for attribute, text in wanted.attributes:
        lines = (f"\n{write_attribute(attribute, value)}\n" for value in _read_values(text))
        yield or_(*(find_text(session, CurveLabel.attributes, line) > 0 for line in lines))


def _read_values(text: str) -> list[Any]:
    """Return the values that a text stands for: itself, and the JSON that it is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    if type(value) is int:
        return [text, value, float(value)]
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return [text, value, int(value)]
    return [text, value]
