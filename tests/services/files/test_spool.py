"""A spool gives back the numbers that were put in, from memory or from a file."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from services.errors import TooLarge
from services.files.spool import MEMORY_BYTES, Spool, SpooledTable, closed_on_error
from services.fingerprint import table_sha256
from services.tables import Table
from tests.factories import load_table


@pytest.fixture(params=[1, 200, 1 << 20])
def size(request):
    """Nearly everything in the file, some of it, or nothing."""
    return request.param


def some_values(columns=5, rows=40):
    return np.random.default_rng(3).normal(size=(columns, rows))


def filled(values, borders, size=MEMORY_BYTES):
    spool = Spool(len(values), memory_bytes=size, piece_bytes=size)
    for piece in np.split(values, borders, axis=1):
        spool.append(piece)
    return spool


@pytest.mark.parametrize("borders", [[], [1], [7, 7, 30]])
def test_columns_come_back_however_the_rows_came(borders, size):
    values = some_values()
    with closing(filled(values, borders, size)) as spool:
        assert spool.rows == 40
        for start, stop in [(0, 5), (1, 2), (3, 5), (2, 2)]:
            found = spool.read(start, stop)
            assert found.tobytes() == values[start:stop].tobytes()
            assert found.flags.c_contiguous
        spool.append(values)
        assert np.array_equal(spool.read(4, 5)[0], np.tile(values[4], 2))


def test_every_gap_is_the_same_nan():
    values = np.array([[1.0], [np.nan]])
    values.view(np.uint64)[1] |= 12345
    with closing(filled(values, [])) as spool:
        assert spool.read(1, 2).tobytes() == np.array([np.nan]).tobytes()


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("most_bytes", [1, 700, 1 << 20])
def test_a_table_parts_x_from_the_curves(at, most_bytes, size):
    values, names = some_values(), ["a", "b", "c", "d", "e"]
    wanted = Table(values[at], np.delete(values, at, axis=0), tuple(names[:at] + names[at + 1 :]))
    with closing(SpooledTable(filled(values, [9], size), tuple(names), at)) as table:
        pieces = list(table.read_parts(most_bytes))
        assert (table.x_name, table.names) == (names[at], wanted.names)
        assert np.concatenate(pieces).tobytes() == wanted.y.tobytes()
        assert all(piece.flags.c_contiguous for piece in pieces)
        assert all(len(piece) == 1 or piece.nbytes <= most_bytes for piece in pieces)
        again = load_table(table)
    assert table_sha256(again) == table_sha256(
        Table(wanted.x, wanted.y, wanted.names, table.x_name)
    )


def test_a_table_in_memory_comes_in_pieces_too():
    values = some_values()
    table = Table(values[0], values[1:], ("a", "b", "c", "d"))
    with closing(table):
        assert [len(piece) for piece in table.read_parts(3 * 8 * 40)] == [3, 1]
        assert load_table(table).y.tobytes() == table.y.tobytes()


def test_more_numbers_than_allowed_are_refused():
    with closing(Spool(2, most_bytes=8 * 2 * 3)) as spool:
        spool.append(np.ones((2, 3)))
        with pytest.raises(TooLarge, match="more than 48 bytes"):
            spool.append(np.ones((2, 1)))


def test_what_fails_leaves_nothing_open():
    spool = Spool(2)
    with pytest.raises(KeyError), closed_on_error(spool):
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        spool.read(0, 1)
