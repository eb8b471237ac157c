"""Values in batches: the requested rows and columns, however they are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import api.store.blocks
import api.store.values
from api.store.datasets import add_dataset, append_curves
from api.store.values import X, stream_rows
from services.files import Source
from services.tables import Table

COLUMNS = ([X], [X, *range(13)], [3], [12, X, 0], [8, 7, 6, 9], list(range(13))[::-1])
ROWS = ((0, 50), (7, 8), (3, 41), (5, 5))
SOURCE = Source("csv", "utf-8", ",", ".", "present")


def a_table(m, n, first=0):
    """Each value says where it stands; some are gaps."""
    y = np.arange(m * n, dtype=float).reshape(m, n) + 1000 * first
    y[:, ::7] = np.nan
    return Table(np.arange(n) / 3, y, tuple(f"f{first + i}" for i in range(m)))


@pytest.fixture(params=["one curve a block", "some curves a block", "all in one block"])
def stored(request, database, monkeypatch):
    """A database with a dataset of 13 curves of 50 points, and what it holds."""
    curves = {"one curve a block": 1, "some curves a block": 5, "all in one block": 100}
    monkeypatch.setattr(api.store.blocks, "BLOCK_BYTES", 8 * 50 * curves[request.param])
    with database.writing() as session:
        dataset = add_dataset(session, a_table(9, 50), SOURCE, name="d")
    with database.writing() as session:
        dataset = session.merge(dataset)
        append_curves(session, dataset, a_table(4, 50, 9))
    whole = np.vstack([a_table(9, 50).y, a_table(4, 50, 9).y])
    return database, dataset, whole, a_table(1, 50).x


def test_they_are_those_that_are_stored(stored, monkeypatch):
    database, dataset, whole, x = stored
    for batch_bytes in (1, 1000, 10**6):
        monkeypatch.setattr(api.store.values, "BATCH_BYTES", batch_bytes)
        # Row by row takes long: once is enough.
        rows = ROWS[1:2] if batch_bytes == 1 else ROWS
        for indices, (start, stop) in itertools.product(COLUMNS, rows):
            expected = np.array([x if index == X else whole[index] for index in indices])
            with database.reading() as session:
                blocks = list(stream_rows(session, dataset, indices, start, stop))
                turned = list(stream_rows(session, dataset, indices, start, stop, backwards=True))
            assert [b.tobytes() for b in turned[::-1]] == [b.tobytes() for b in blocks]
            assert all(8 * b.size <= max(batch_bytes, 8 * len(indices)) for b in blocks)
            found = np.hstack([np.empty((len(indices), 0)), *blocks])
            np.testing.assert_array_equal(found, expected[:, start:stop])


def test_who_stops_early_leaves_nothing_open(stored, monkeypatch):
    monkeypatch.setattr(api.store.values, "BATCH_BYTES", 1)
    database, dataset, _, _ = stored
    with database.reading() as session:
        blocks = stream_rows(session, dataset, [3, X], 0, 50)
        next(blocks)
        blocks.close()
    with database.writing() as session:
        session.delete(session.merge(dataset))
