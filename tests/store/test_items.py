"""Stored items of mappings: 12 bytes each, and read with the x and y of their test dataset."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import func, select, text

from api.jobs.kinds import FITS, MAPPINGS
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.schemas.mappings import MappingRequest
from api.store import mappings, values
from api.store.base import find
from api.store.datasets import add_dataset
from api.store.fits import read_chosen
from api.store.mappings import (
    ItemBlock,
    ItemFilter,
    Mapping,
    read_first_items,
    read_page_of_items,
    send_items,
    stream_items,
)
from api.store.migrate import migrate
from services.files import Source
from services.mapping.assign import assign
from services.mapping.functions import Functions
from services.mapping.items import ITEM
from services.mapping.limits import admission_limits
from services.tables import Table

SOURCE = Source("json", None, None, None, None)
FILTERS = [
    ItemFilter(),
    ItemFilter(mapped=True),
    ItemFilter(mapped=False),
    ItemFilter(functions=[1]),
    ItemFilter(functions=[-1, 2]),
    ItemFilter(mapped=True, functions=[]),
]


def some_points(columns, rows):
    """Points with all that may happen to them: gaps, no x, -0.0, and none or many functions."""
    rng = np.random.default_rng(rows)
    x = rng.choice([*np.arange(20.0), 0.5, np.nan, -0.0], size=rows)
    y = np.round(rng.normal(size=(columns, rows)), 1)
    y[rng.random((columns, rows)) < 0.1] = np.nan
    y[rng.random((columns, rows)) < 0.1] = -0.0
    return Table(x, y, tuple(f"t{i}" for i in range(columns)))


def map_points(database, test, policy):
    """Store a mapping of three functions; return its id and its items as they were found."""
    rng, grid = np.random.default_rng(3), np.arange(20.0)
    library = Table(grid, rng.normal(size=(6, 20)), tuple("abcdef"))
    training = Table(grid, library.y[:3] + 0.4, ("u", "v", "w"))
    ids = []
    for table in (training, library, test):
        with database.writing() as session:
            ids.append(add_dataset(session, table, SOURCE, name="d").id)
    fit = submit(database, FITS, FitRequest().load({"training_id": ids[0], "ideal_id": ids[1]}))
    body = MappingRequest().load({"fit_id": fit.id, "test_id": ids[2], "policy": policy})
    mapping = submit(database, MAPPINGS, body)
    assert mapping.state == "succeeded"
    with database.reading() as session:
        matches = read_chosen(session, fit)
    figures = (
        np.array([getattr(match, name) for match in matches])
        for name in ("scale", "offset", "max_deviation")
    )
    scale, offset, deviation = figures
    limits = admission_limits(deviation, mapping.tolerance_factor)
    curves = library.y[[match.ideal_index for match in matches]]
    found = assign(test, grid, Functions(curves, scale, offset, limits), mapping.options)
    return mapping.id, np.concatenate(list(found))


def kept(items, wanted):
    """Positions of the items that pass a filter, by the words of the filter."""
    return [
        place
        for place, item in enumerate(items)
        if wanted.mapped in (None, item["reason"] == 0)
        and (wanted.functions is None or item["function"] in wanted.functions)
    ]


@pytest.fixture(params=[(1, 40, 7), (3, 8, 1), (5, 11, 16), (2, 300, 10_000)])
def stored(request, database, monkeypatch):
    """A database with a mapping, in blocks of some items, and its items as they were found."""
    columns, rows, block_items = request.param
    monkeypatch.setattr(mappings, "BLOCK_ITEMS", block_items)
    monkeypatch.setattr(values, "BATCH_BYTES", 800)
    mapping_id, items = map_points(database, some_points(columns, rows), "all")
    with database.reading() as session:
        return database, find(session, Mapping, mapping_id), items


def test_the_items_are_those_that_were_found(stored):
    database, mapping, items = stored
    assert {0, 1, 2, 3} <= set(items["reason"].tolist()) | {2}
    for wanted in FILTERS:
        places = kept(items, wanted)
        for after in (-1, 0, 6, items.size - 2, items.size):
            expected = items[[place for place in places if place > after]]
            with database.reading() as session:
                found = list(stream_items(session, mapping, wanted, after))
            sent = list(send_items(database, mapping, wanted, after))
            none = np.empty(0, ITEM)
            assert np.concatenate([none, *(i for _, i in found)]).tobytes() == expected.tobytes()
            assert np.concatenate([none, *sent]).tobytes() == expected.tobytes()
            assert [p for some, _ in found for p in some.tolist()] == [
                place for place in places if place > after
            ]


def test_a_page_has_as_many_as_it_should(stored):
    database, mapping, items = stored
    for wanted in FILTERS:
        places = kept(items, wanted)
        for limit in (1, 5, 10_000):
            with database.reading() as session:
                page = read_page_of_items(session, mapping, wanted, 2, limit)
            expected = [place for place in places if place > 2]
            assert page.items.tobytes() == items[expected[:limit]].tobytes()
            assert page.next == ([expected[limit - 1]] if len(expected) > limit else None)
    with database.reading() as session:
        page = read_first_items(session, mapping, 5)
    first = min(5, mappings.BLOCK_ITEMS)
    assert page.items.tobytes() == items[:first].tobytes()


def test_an_item_takes_twelve_bytes(stored):
    database, _, items = stored
    with database.reading() as session:
        count, nbytes = session.execute(
            select(func.sum(ItemBlock.count), func.sum(func.length(ItemBlock.data)))
        ).one()
    assert (count, nbytes) == (items.size, 12 * items.size)


@pytest.mark.parametrize("policy", ["all", "nearest", "first"])
def test_items_from_before_are_packed_and_go_back_again(database, monkeypatch, policy):
    monkeypatch.setattr(mappings, "BLOCK_ITEMS", 13)
    made = [map_points(database, some_points(columns, 50), policy) for columns in (1, 4)]
    for _ in range(2):
        migrate(database, "0009")
        query = text("SELECT data FROM item_blocks WHERE mapping_id = :id ORDER BY first")
        for mapping_id, items in made:
            with database.reading() as session:
                blocks = session.scalars(query, {"id": mapping_id}).all()
            assert b"".join(bytes(block) for block in blocks) == items.tobytes()
        migrate(database)
        for mapping_id, items in made:
            with database.reading() as session:
                mapping = find(session, Mapping, mapping_id)
                found = [some for _, some in stream_items(session, mapping, ItemFilter())]
            assert np.concatenate(found).tobytes() == items.tobytes()


def test_a_migration_that_is_interrupted_can_run_again(database, monkeypatch):
    monkeypatch.setattr(mappings, "BLOCK_ITEMS", 13)
    mapping_id, items = map_points(database, some_points(2, 50), "all")
    migrate(database, "0009")
    with database.writing() as session:
        # The last block is no whole number of items, so the migration fails there.
        last = session.scalar(text("SELECT max(first) FROM item_blocks"))
        whole = session.scalar(text("SELECT data FROM item_blocks WHERE first = :f"), {"f": last})
        cut = text("UPDATE item_blocks SET data = :data WHERE first = :f")
        session.execute(cut, {"data": bytes(whole)[:-1], "f": last})
    with pytest.raises(ValueError, match="buffer size"):
        migrate(database)
    with database.writing() as session:
        session.execute(cut, {"data": bytes(whole), "f": last})
    migrate(database)
    with database.reading() as session:
        mapping = find(session, Mapping, mapping_id)
        found = [some for _, some in stream_items(session, mapping, ItemFilter())]
    assert np.concatenate(found).tobytes() == items.tobytes()
