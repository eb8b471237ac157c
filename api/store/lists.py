"""Lists of records: pages in the order of a column, each found by a search in an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Index, func, literal, select, tuple_
from sqlalchemy.orm import Session

from api.store.base import Record


def index_lists(*filters: str) -> tuple[Index, ...]:
    """Make the indexes of a list: one for each order, alone and under each filter.

    Every list also filters by name.
    """
    alone = [("created_at",), ("name",), ("name", "created_at")]
    filtered = [(column, order) for column in filters for order in ("created_at", "name")]
    return tuple(Index(None, *columns, "id") for columns in (*alone, *filtered))


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, and the key after which the next part starts (None at the end).

    `items` are records, their fields, or an array of items.
    """

    items: Any
    next: list[Any] | None


def read_page(  # noqa: PLR0913 - the words of a list in the contract
    session: Session,
    model: type[Record],
    *,
    filters: Mapping[str, str],
    words: str | None = None,
    sort: str,
    after: Sequence[Any] | None,
    limit: int,
) -> Page:
    """Return the fields of records in the order of (sort column, id), after the key `after`.

    `words` is a part of the name. The `unlisted` columns are left out. Plain rows take half the
    time of records.
    """
    by, down = sort.removeprefix("-"), sort.startswith("-")
    # A single filter leads the order, as it leads its index. PostgreSQL would drop a column that
    # equals a value from the order, and could then walk past the records of all other values.
    leads = len(filters) == 1
    order = [name for name in dict.fromkeys((*filters, by, "id")) if leads or name not in filters]
    key = None if after is None else {**filters, by: after[0], "id": after[1]}
    columns = model.__table__.columns
    shown = [column for column in columns if column.key not in model.unlisted]
    place = [columns[name] for name in order]
    query = (
        select(*shown)
        .where(*_bounds(columns, filters, place, key, down=down))
        .order_by(*(column.desc() if down else column for column in place))
        .limit(limit + 1)
    )
    if words is not None:
        query = query.where(contains(session, columns["name"], words))
    rows = session.execute(query).all()
    names = [column.key for column in shown]
    records = [model.make_listed(dict(zip(names, row, strict=True))) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(records, [records[-1][by], records[-1]["id"]] if more else None)


def _bounds(
    columns: Any,
    filters: Mapping[str, str],
    place: Sequence[ColumnElement[Any]],
    key: Mapping[str, Any] | None,
    *,
    down: bool,
) -> Iterator[ColumnElement[bool]]:
    """Yield the SQL conditions of the records after a key, or of all, that pass the filters."""
    if key is not None:
        # A comparison of rows is a search in the index of the columns; an OR would be a scan.
        end = tuple_(*(literal(key[str(column.key)], column.type) for column in place))
        yield tuple_(*place) < end if down else tuple_(*place) > end
    for name, value in filters.items():
        if columns[name] is not place[0]:
            yield columns[name] == value
        else:
            # The key is one of the two bounds already, and SQLite searches for one only.
            if key is None or down:
                yield columns[name] >= value
            if key is None or not down:
                yield columns[name] <= value


def contains(session: Session, name: Any, words: str) -> ColumnElement[bool]:
    """Make the SQL condition that a name contains a text; A to Z are as a to z."""
    # Bytes change the case of these letters only, as `lower` does on SQLite, and on PostgreSQL in
    # the collation of names.
    return find_text(session, func.lower(name), words.encode().lower().decode()) > 0


def find_text(session: Session, column: Any, text: str) -> ColumnElement[int]:
    """Make the SQL expression of the place of a text in a column, from 1; 0 if it is not there."""
    find = func.instr if session.get_bind().dialect.name == "sqlite" else func.strpos
    place: ColumnElement[int] = find(column, text)
    return place
