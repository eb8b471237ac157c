"""Datasets in the store: blocks, appending, and two writers at once."""

from __future__ import annotations

import itertools
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from api.store import blocks, datasets
from api.store.base import find_version
from api.store.datasets import Curve, Dataset, add_dataset, append_curves, read_datasets
from api.store.selections import Selection, read_curves, read_table, stream_blocks
from services.errors import GridError, InvalidTable
from services.files import Source
from services.files.spool import Spool, SpooledTable
from services.fingerprint import table_sha256
from services.quality import LOST_POINT
from services.tables import Table

SOURCE = Source("json", None, None, None, None)


def a_table(n_curves=5, n_points=7, prefix="y", seed=1):
    random = np.random.default_rng(seed)
    y = random.normal(size=(n_curves, n_points))
    y[0, 0] = np.nan
    return Table(
        np.arange(n_points, dtype=float), y, tuple(f"{prefix}{i}" for i in range(n_curves))
    )


def stored(database, table):
    with database.writing() as session:
        return add_dataset(session, table, SOURCE, name="d").id


def appended(database, dataset_id, table):
    with database.writing() as session:
        append_curves(session, find_version(session, Dataset, dataset_id, None), table)


def read(database, dataset_id):
    with database.reading() as session:
        [(dataset, x)] = read_datasets(session, dataset_id).values()
        return dataset, read_table(session, Selection(dataset, x, dataset.n_curves))


@pytest.fixture(params=[1, 100, 1 << 20])
def block_bytes(request, monkeypatch):
    """Blocks of one curve, of a few, and of all."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("block_bytes")
def test_a_table_comes_back_bit_for_bit_whatever_the_blocks(database):
    table = a_table()
    dataset, found = read(database, stored(database, table))
    assert found.names == table.names
    assert found.y.tobytes() == table.y.tobytes()
    assert dataset.sha256 == table_sha256(table)


@pytest.mark.usefixtures("block_bytes")
def test_some_curves_and_rows_are_read_in_the_order_asked(database):
    table = a_table(n_curves=12)
    dataset_id = stored(database, table)
    wanted = np.array([11, 0, 3, 4, 5, 6, 7, 2])
    with database.reading() as session:
        dataset = session.get(Dataset, dataset_id)
        found = read_curves(session, dataset, wanted, 2, 5)
    assert found.tobytes() == table.y[wanted, 2:5].tobytes()


@pytest.mark.usefixtures("block_bytes")
def test_a_selection_streams_its_curves_only_and_in_order(database):
    table = a_table(n_curves=12)
    dataset_id = stored(database, table)
    chosen = np.array([0, 5, 11])
    with database.reading() as session:
        [(dataset, x)] = read_datasets(session, dataset_id).values()
        blocks = list(stream_blocks(session, Selection(dataset, x, 12, chosen)))
    assert np.concatenate([block.indices for block in blocks]).tolist() == chosen.tolist()
    assert np.concatenate([block.y for block in blocks]).tobytes() == table.y[chosen].tobytes()


@pytest.mark.usefixtures("block_bytes")
def test_appending_keeps_the_first_curves_and_their_fingerprint(database):
    first, more = a_table(3), a_table(2, prefix="z", seed=2)
    dataset_id = stored(database, first)
    before, _ = read(database, dataset_id)
    appended(database, dataset_id, more)
    after, found = read(database, dataset_id)
    joined = Table(first.x, np.concatenate([first.y, more.y]), first.names + more.names)
    assert before.sha256 == table_sha256(first)
    assert after.sha256 == table_sha256(joined)
    assert found.y.tobytes() == joined.y.tobytes()
    assert (after.version, after.n_curves, after.n_gaps) == (2, 5, 2)


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
def test_a_large_table_is_described_and_hashed_in_two_threads(database, monkeypatch, memory_bytes):
    monkeypatch.setattr(datasets, "LARGE_TABLE", 0)
    table = a_table(40, 3000)
    spool = Spool(41, memory_bytes=memory_bytes, piece_bytes=41 * 8 * 700)
    spool.append(np.vstack([table.x, table.y]))
    with closing(SpooledTable(spool, table.columns, 0)) as curves:
        dataset, found = read(database, stored(database, curves))
    assert dataset.sha256 == table_sha256(table)
    assert dataset.n_gaps == 1
    assert found.y.tobytes() == table.y.tobytes()


@pytest.mark.parametrize("fails", ["table_sha256", "summarize"])
def test_a_failure_of_either_thread_stores_nothing(database, monkeypatch, fails):
    def fail(*_args, **_options):
        raise OSError("broken")

    monkeypatch.setattr(datasets, "LARGE_TABLE", 0)
    monkeypatch.setattr(datasets, fails, fail)
    with pytest.raises(OSError, match="broken"):
        stored(database, a_table())
    with database.reading() as session:
        assert session.scalars(select(Dataset)).all() == []


class Falling:
    """Curves whose file breaks when one piece of them is written."""

    def __init__(self, table):
        self.table = table
        self.looks = itertools.count(1)

    def __getattr__(self, name):
        return getattr(self.table, name)

    def read_parts(self, most_bytes):
        """Described and hashed they are before."""
        if next(self.looks) < 3:
            return self.table.read_parts(most_bytes)
        return self.some(most_bytes)

    def some(self, most_bytes):
        yield from itertools.islice(self.table.read_parts(most_bytes), 1)
        raise OSError("broken")


@pytest.mark.parametrize("block_bytes", [1], indirect=True)
@pytest.mark.usefixtures("block_bytes")
def test_curves_that_cannot_be_read_to_their_end_leave_nothing(database):
    dataset_id = stored(database, a_table(3))
    with pytest.raises(OSError, match="broken"):
        appended(database, dataset_id, Falling(a_table(3, prefix="z")))
    with pytest.raises(OSError, match="broken"):
        stored(database, Falling(a_table(3)))
    dataset, found = read(database, dataset_id)
    assert (dataset.version, dataset.n_curves, found.names) == (1, 3, ("y0", "y1", "y2"))
    with database.reading() as session:
        counts = [len(session.scalars(select(model)).all()) for model in (Dataset, Curve)]
    assert counts == [1, 3]


@pytest.mark.usefixtures("block_bytes")
def test_curves_in_a_spool_are_stored_like_those_in_memory(database):
    table = a_table(12)
    with closing(Spool(13)) as spool:
        spool.append(np.concatenate([table.y[:4], table.x[np.newaxis], table.y[4:]]))
        names = (*table.names[:4], table.x_name, *table.names[4:])
        spooled = SpooledTable(spool, names, 4)
        dataset, found = read(database, stored(database, spooled))
    assert found.y.tobytes() == table.y.tobytes()
    assert dataset.sha256 == table_sha256(table)
    assert (dataset.n_curves, dataset.n_gaps, found.names) == (12, 1, table.names)


def with_lost_points(prefix, count, rows=100):
    """Curves of which each has lost a point."""
    y = np.ones((count, rows))
    y[:, 50] = 1000
    return Table(np.arange(float(rows)), y, tuple(f"{prefix}{i}" for i in range(count)))


def test_a_lost_point_is_a_warning_of_the_record(database):
    table = with_lost_points("y", 2)
    table.x[3] = 3000
    dataset, _ = read(database, stored(database, table))
    assert [(w["column"], w["row"]) for w in dataset.warnings] == [("x", 3), ("y0", 50), ("y1", 50)]
    appended(database, dataset.id, replace(with_lost_points("z", 1), x=table.x))
    dataset, _ = read(database, dataset.id)
    assert [w["column"] for w in dataset.warnings] == ["x", "y0", "y1", "z0"]
    assert {w["code"] for w in dataset.warnings} == {LOST_POINT}


def test_the_last_of_many_warnings_counts_the_others(database):
    dataset, _ = read(database, stored(database, with_lost_points("y", 100)))
    assert [w["column"] for w in dataset.warnings] == [f"y{i}" for i in range(100)]
    for prefix, count in [("a", 1), ("b", 150)]:
        appended(database, dataset.id, with_lost_points(prefix, count))
        dataset, _ = read(database, dataset.id)
        *kept, last = dataset.warnings
        assert [w["column"] for w in kept] == [f"y{i}" for i in range(99)]
        assert last == {
            "code": "more_warnings",
            "column": None,
            "row": None,
            "options": None,
            "detail": f"There are {dataset.n_curves - 99} more warnings.",
        }


def test_appending_what_does_not_fit_changes_nothing(database):
    table = a_table(3)
    dataset_id = stored(database, table)
    with pytest.raises(InvalidTable):
        appended(database, dataset_id, a_table(4))
    other_x = a_table(1, prefix="z")
    other_x.x[3] = 17
    with pytest.raises(GridError, match="row 3"):
        appended(database, dataset_id, other_x)
    dataset, found = read(database, dataset_id)
    assert (dataset.version, found.names) == (1, table.names)


def test_batches_of_many_writers_never_interleave_and_none_is_lost(database):
    dataset_id = stored(database, a_table(1))
    batches = [a_table(3, prefix=f"w{writer}_", seed=writer) for writer in range(12)]
    failures = []

    def append(batch):
        try:
            appended(database, dataset_id, batch)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=append, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    dataset, found = read(database, dataset_id)
    assert (dataset.n_curves, dataset.version) == (37, 13)
    writers = [name.split("_")[0] for name in found.names[1:]]
    assert all(len(set(writers[start : start + 3])) == 1 for start in range(0, 36, 3))
    assert dataset.sha256 == table_sha256(found)
