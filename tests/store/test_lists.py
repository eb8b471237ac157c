"""Lists of records: a page at any depth is a search in an index, never a walk over the records."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select, text

from api.schemas.base import RecordsQuery
from api.schemas.fits import FitsQuery
from api.schemas.mappings import MappingsQuery
from api.store.base import Database, now
from api.store.datasets import Dataset, add_dataset
from api.store.fits import Fit
from api.store.lists import read_page
from api.store.mappings import Mapping
from services.files import Source
from tests.factories import a_table

SOURCE = Source("csv", None, None, None, None)
QUERIES = {Dataset: RecordsQuery, Fit: FitsQuery, Mapping: MappingsQuery}
"""The lists, each with the schema of its query."""

SORTS = RecordsQuery().fields["sort"].validate.choices
FILTERS = {
    # No index finds a part of a name.
    model: [name for name in query().fields if name not in {"limit", "cursor", "sort", "contains"}]
    for model, query in QUERIES.items()
}
CASES = [
    (model, sort, names)
    for model, filters in FILTERS.items()
    for sort in SORTS
    for names in [(), *((name,) for name in filters)]
]
"""Each list in each order, alone and under each filter."""

SEVERAL = [
    (model, sort, names)
    for model in (Fit, Mapping)
    for sort in SORTS
    for names in (("name", "state"), (*FILTERS[model][-2:],), (*FILTERS[model],))
]
PLAIN = {str: "a", int: 1, float: 0.5, dict: {}, bool: True}


def fill(database, count, uses):
    """Store records as a service in use has them, and statistics about them."""
    table = a_table([1.0], [2.0])
    with database.writing() as session:
        datasets = [add_dataset(session, table, SOURCE, name="one").id for _ in range(uses)]
    rng = random.Random(1)  # noqa: S311 - ids are no secrets here
    begun, fits = now(), []

    def values(model, place):
        # A dataset or a fit is used for some time.
        used = place * uses // count
        made = {
            "id": f"{rng.getrandbits(128):032x}",
            # Many records have one name, and many names have one record.
            "name": "one" if place % 12 < 2 else f"record {place}",
            # Two records of each moment.
            "created_at": begun + timedelta(seconds=place // 2),
            "training_id": datasets[used],
            "ideal_id": datasets[used],
            "fit_id": fits and fits[used],
            "test_id": datasets[used],
            "state": "failed" if place % 12 < 3 else "succeeded",
        }
        for column in model.__table__.columns:
            made.setdefault(column.key, PLAIN.get(column.type.python_type, begun))
        return {column.key: made[column.key] for column in model.__table__.columns}

    with database.writing() as session:
        for model in QUERIES:
            rows = [values(model, place) for place in range(count)]
            session.execute(insert(model.__table__), rows)
            fits = [row["id"] for row in rows[:uses]]
    with database.writing() as session:
        session.execute(text("ANALYZE"))


def choose_values(records, names):
    """The most frequent values of the filters that some record has together."""
    found = Counter(tuple(getattr(one, name) for name in names) for one in records)
    return dict(zip(names, found.most_common(1)[0][0], strict=True))


def expected(records, filters, sort):
    """The records of a list, by plain Python."""
    by = sort.removeprefix("-")
    wanted = [one for one in records if all(getattr(one, key) == filters[key] for key in filters)]
    return sorted(wanted, key=lambda one: (getattr(one, by), one.id), reverse=by != sort)


@pytest.fixture
def records(database):
    """Records of each model in the database."""
    fill(database, 60, 2)
    with database.reading() as session:
        return {model: session.scalars(select(model)).all() for model in QUERIES}


@pytest.mark.parametrize("limit", [4, 500])
def test_the_pages_have_each_record_once_and_in_order(database, records, limit):
    for model, sort, names in CASES + SEVERAL:
        filters, found, after = choose_values(records[model], names), [], None
        while True:
            with database.reading() as session:
                page = read_page(
                    session, model, filters=filters, sort=sort, after=after, limit=limit
                )
            found += page.items
            if page.next is None:
                break
            assert len(page.items) == limit
            after = page.next
        wanted = expected(records[model], filters, sort)
        assert len(wanted) > 3
        assert [one["id"] for one in found] == [one.id for one in wanted], (model, sort, names)
        for one, record in zip(found, wanted, strict=True):
            assert one == {name: getattr(record, name) for name in one}
            assert record.as_dict().keys() - one.keys() == set(model.unlisted)


def plans(database):
    """Plan of the first page, and of one at half the depth, of each list in each order."""
    fill(database, 6000, 10)
    sent = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: sent.append(given[2:4]))
    explain = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN (COSTS OFF)"
    with database.reading() as session:
        records = {
            model: session.execute(select(*model.__table__.columns)).all() for model in QUERIES
        }
        for model, sort, names in CASES:
            filters = choose_values(records[model], names)
            wanted = expected(records[model], filters, sort)
            middle = wanted[len(wanted) // 2]
            for after in (None, [getattr(middle, sort.removeprefix("-")), middle.id]):
                read_page(session, model, filters=filters, sort=sort, after=after, limit=50)
                statement, values = sent[-1]
                plan = session.connection().exec_driver_sql(f"{explain} {statement}", values)
                yield model, sort, names, after, [row[-1].strip() for row in plan]


def test_a_page_is_searched_for_in_an_index_of_its_order(new_database_url):
    database = Database(new_database_url("sqlite"))
    for model, sort, names, after, plan in plans(database):
        by = sort.removeprefix("-")
        order = list(dict.fromkeys((*names, by, "id")))
        index = f"{model.__tablename__} USING INDEX ix_{model.__tablename__}_{'_'.join(order)}"
        more, less = ("<", ">") if sort.startswith("-") else (">", "<")
        key = f"({','.join(order)}){more}({','.join('?' * len(order))})"
        if after is None:
            expected = [f"SEARCH {index} ({n}>? AND {n}<?)" for n in names] or [f"SCAN {index}"]
        else:
            bounds = [key, *(f"{name}{less}?" for name in names)]
            expected = [f"SEARCH {index} ({' AND '.join(bounds if more == '>' else bounds[::-1])})"]
        assert plan == expected
    database.close()


@pytest.mark.postgres
def test_and_on_postgresql(new_database_url):
    database = Database(new_database_url("postgres"))
    for model, sort, names, after, plan in plans(database):
        order = list(dict.fromkeys((*names, sort.removeprefix("-"), "id")))
        way = "Index Scan Backward" if sort.startswith("-") else "Index Scan"
        index = f"ix_{model.__tablename__}_{'_'.join(order)}"
        assert plan[:2] == ["Limit", f"->  {way} using {index} on {model.__tablename__}"], plan
        conditions = plan[2:]
        assert len(conditions) == bool(names or after)
        if conditions:
            assert conditions[0].startswith("Index Cond: "), plan
            assert ("ROW(" in conditions[0]) == bool(after)
            assert all(f"({name})" in conditions[0] for name in names)
    database.close()
