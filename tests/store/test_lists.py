"""Lists of records: a page at any depth is a search in an index, never a walk over the records."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from api.store.base import Database, find, read_page
from api.store.datasets import Dataset, add_dataset
from services.files import Source
from tests.factories import a_table

SOURCE = Source("csv", None, None, None, None)
SORTS = ["created_at", "-created_at", "name", "-name"]


@pytest.fixture
def ids(database):
    """Some datasets, two of each name, by id."""
    table = a_table([1.0], [2.0])
    with database.writing() as session:
        return [add_dataset(session, table, SOURCE, name=f"d{i // 2}").id for i in range(8)]


def key(dataset, sort):
    return getattr(dataset, sort.removeprefix("-")), dataset.id


def pages(database, sort, limit):
    """All pages of a list."""
    after = None
    while True:
        with database.reading() as session:
            page = read_page(session, Dataset, filters={}, sort=sort, after=after, limit=limit)
        yield page.items
        if page.next is None:
            return
        after = page.next


@pytest.mark.parametrize("limit", [1, 3, 8])
@pytest.mark.parametrize("sort", SORTS)
def test_the_pages_have_each_record_once_and_in_order(database, ids, sort, limit):
    with database.reading() as session:
        records = [find(session, Dataset, dataset_id) for dataset_id in ids]
    expected = sorted(records, key=lambda one: key(one, sort), reverse=sort.startswith("-"))
    found = [one.id for page in pages(database, sort, limit) for one in page]
    assert found == [one.id for one in expected]


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_is_searched_for_in_the_index(new_database_url, sort):
    database = Database(new_database_url("sqlite"))
    with database.writing() as session:
        table = a_table([1.0], [2.0])
        last = add_dataset(session, table, SOURCE, name="d")
    sent = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, values, *_: sent.append((statement, values)),
    )
    with database.reading() as session:
        after = list(key(last, sort))
        read_page(session, Dataset, filters={}, sort=sort, after=after, limit=5)
        statement, values = sent[-1]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        first = plan.all()[0][-1]
    database.close()
    assert first.startswith("SEARCH datasets USING INDEX"), first
