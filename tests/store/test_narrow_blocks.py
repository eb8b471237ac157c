"""Blocks are narrowed where all bits return; those stored before stay as they were."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import func, select, text

from api.store import blocks
from api.store.base import find
from api.store.blocks import CurveBlock, stream_values
from api.store.datasets import Dataset, add_dataset, append_curves, read_datasets
from api.store.migrate import migrate
from api.store.selections import Selection, read_curves, read_table
from services.files import Source
from services.fingerprint import table_sha256
from services.tables import Table

SOURCE = Source("csv", "utf-8", ",", ".", "present")
POINTS = 40
RANDOM = np.random.default_rng(11)


def some_curves(count):
    return RANDOM.normal(size=(count, POINTS))


KINDS = {
    "int16e-2": np.round(some_curves(6), 2),
    "int32e-6": np.round(some_curves(6), 6),
    "float32": some_curves(6).astype(np.float32).astype(float),
    None: some_curves(6),
}
KINDS["int16e-2"][1, :3] = np.nan, -0.0, 0.0
KINDS["int32e-6"][5, -1] = np.nan
KINDS["float32"][2, 4:7] = np.nan, -0.0, np.float32(1e-45)
ALL = np.concatenate(list(KINDS.values()))


@pytest.fixture(params=[1, 6])
def stored(request, database, monkeypatch):
    """A dataset whose blocks, of one curve or six, have each of the encodings."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8 * POINTS * request.param)
    x = np.arange(POINTS) / 4
    with database.writing() as session:
        names = iter(f"c{i}" for i in range(len(ALL)))
        tables = [Table(x, y, tuple(next(names) for _ in y)) for y in KINDS.values()]
        dataset = add_dataset(session, tables[0], SOURCE, name="d")
        for table in tables[1:]:
            append_curves(session, dataset, table)
    return dataset.id


def read_all(database, dataset_id):
    with database.reading() as session:
        [(dataset, x)] = read_datasets(session, dataset_id).values()
        return dataset, read_table(session, Selection(dataset, x, dataset.n_curves))


def test_each_block_has_its_encoding_and_no_more_bytes_than_that_needs(database, stored):
    with database.reading() as session:
        query = select(CurveBlock.encoding, func.sum(func.length(CurveBlock.data)))
        found = session.execute(query.group_by(CurveBlock.encoding)).all()
    sizes = {"int16e": 2, "int32e": 4, "float3": 4, "None": 8}
    total = dict.fromkeys(sizes, 0)
    for encoding, size in found:
        total[str(encoding)[:6]] += size
    assert total == {kind: 6 * POINTS * size for kind, size in sizes.items()}
    assert stored


def test_all_bits_return(database, stored):
    dataset, table = read_all(database, stored)
    assert table.y.tobytes() == ALL.tobytes()
    assert dataset.sha256 == table_sha256(table)
    with database.reading() as session:
        parts = [y for _, y in stream_values(session.connection(), stored, 0, len(ALL))]
    assert np.concatenate(parts).tobytes() == ALL.tobytes()


@pytest.mark.parametrize(("start", "stop"), [(0, POINTS), (3, 4), (7, 39), (39, 40)])
def test_parts_of_curves_of_all_encodings_are_read_in_any_order(database, stored, start, stop):
    with database.reading() as session:
        dataset = session.get(Dataset, stored)
        for wanted in ([23, 0, 8, 14, 7, 13, 1, 20], [5], list(range(24))[::-1]):
            found = read_curves(session, dataset, np.array(wanted), start, stop)
            assert found.tobytes() == ALL[wanted, start:stop].tobytes()


def test_a_migration_down_and_up_keeps_all_bits(database, stored):
    before, _ = read_all(database, stored)
    migrate(database, "0007")
    with database.reading() as session:
        query = text("SELECT count, data FROM curve_blocks ORDER BY first")
        rows = session.execute(query).all()
    assert b"".join(bytes(data) for _, data in rows) == ALL.tobytes()
    migrate(database)
    after, table = read_all(database, stored)
    assert table.y.tobytes() == ALL.tobytes()
    assert after.sha256 == before.sha256
    with database.writing() as session:
        dataset = find(session, Dataset, stored)
        append_curves(session, dataset, Table(table.x, KINDS["int16e-2"], tuple("abcdef")))
    with database.reading() as session:
        query = select(CurveBlock.encoding).order_by(CurveBlock.first)
        encodings = session.scalars(query).all()
    assert set(encodings[: len(rows)]) == {None}
    assert all(encoding.startswith("int16e") for encoding in encodings[len(rows) :])
    _, table = read_all(database, stored)
    assert table.y.tobytes() == np.concatenate([ALL, KINDS["int16e-2"]]).tobytes()
