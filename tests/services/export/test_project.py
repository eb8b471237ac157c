"""The one SQLite file that a mapping is exported to."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing

import numpy as np
import pytest

from services.errors import InvalidTable
from services.export.project import MOST_CURVES, Rows, spool_project
from services.scratch import scratch
from services.tables import Table


def a_table(x=(1.0, 2.0), names=("y1",), x_name="x", y=None):
    values = [[float(position)] * len(x) for position in range(len(names))] if y is None else y
    return Table(np.array(x, float), np.array(values, float), tuple(names), x_name)


def in_pieces(table):
    """The rows of a table in two blocks, the first of which is empty if there is one row."""
    block = np.vstack([table.x, table.y])
    return Rows(table.columns, np.split(block, [table.x.size // 2], axis=1))


def rows_of(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def columns_of(path, table):
    return [(name, kind) for _, name, kind, *_ in rows_of(path, f"PRAGMA table_info({table})")]


def write_project(path, *tables):
    *numbers, mapped = tables
    with spool_project(*map(in_pieces, numbers), mapped) as file:
        path.write_bytes(file.read())


class TestSpoolProject:
    def test_writes_four_tables(self, tmp_path):
        path = tmp_path / "project.sqlite"
        training = a_table((2.0, 1.0), ("Y1", "Y2"), "X", [[1.0, np.nan], [3.0, 4.0]])
        ideal = a_table((1.0, 2.0), ('say "hi"', "select"))
        test = a_table((np.nan, 7.5), ("y",))
        mapped = [
            [(1.0, 2.0, 0.5, "select", "Y1")],
            [(7.5, 0.0, None, None, None), (np.float64(2.0), 3.0, 0.1, "select", "Y2")],
        ]
        write_project(path, training, ideal, test, iter(mapped))
        assert columns_of(path, "training_data") == [("X", "REAL"), ("Y1", "REAL"), ("Y2", "REAL")]
        assert rows_of(path, "SELECT * FROM training_data") == [(2.0, 1.0, 3.0), (1.0, None, 4.0)]
        assert [name for name, _ in columns_of(path, "ideal_functions")] == [
            "x",
            'say "hi"',
            "select",
        ]
        assert rows_of(path, 'SELECT "say ""hi""", "select" FROM ideal_functions') == [
            (0, 1),
            (0, 1),
        ]
        assert rows_of(path, "SELECT * FROM test_data") == [(None, 0.0), (7.5, 0.0)]
        assert columns_of(path, "mapped_test_data") == [
            ("X", "REAL"),
            ("Y", "REAL"),
            ("DeltaY", "REAL"),
            ("IdealFunction", "TEXT"),
            ("TrainingFunction", "TEXT"),
        ]
        assert rows_of(path, "SELECT * FROM mapped_test_data") == [
            (1.0, 2.0, 0.5, "select", "Y1"),
            (7.5, 0.0, None, None, None),
            (2.0, 3.0, 0.1, "select", "Y2"),
        ]
        assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]

    def test_numbers_keep_their_bits(self, tmp_path):
        """All but -0.0, which SQLite itself stores as 0."""
        path = tmp_path / "project.sqlite"
        numbers = (5e-324, 1.7976931348623157e308, 0.1, 2.0**53 + 2, -1e-300)
        write_project(path, a_table(numbers), a_table(), a_table(), [])
        assert [x for (x,) in rows_of(path, "SELECT x FROM training_data")] == list(numbers)

    @pytest.mark.parametrize(
        ("x_name", "names", "written"),
        [
            ("x", ("X", "y", "Y"), ["x", "X_2", "y", "Y_2"]),
            ("x", ("y", "Y", "y_2", "Y_3"), ["x", "y", "Y_4", "y_2", "Y_3"]),
            ("x", ("Y_2", "y", "Y"), ["x", "Y_2", "y", "Y_3"]),
            ("x", ("ab", "aB", "Ab", "AB"), ["x", "ab", "aB_2", "Ab_3", "AB_4"]),
            ("x", ("a_2", "A_2", "a", "A"), ["x", "a_2", "A_2_2", "a", "A_3"]),
            ("x", ("Ä", "ä"), ["x", "Ä", "ä_2"]),
        ],
    )
    def test_names_equal_but_for_case_get_a_suffix(self, tmp_path, x_name, names, written):
        path = tmp_path / "project.sqlite"
        write_project(path, a_table(names=names, x_name=x_name), a_table(), a_table(), [])
        assert [name for name, _ in columns_of(path, "training_data")] == written
        first = rows_of(path, "SELECT * FROM training_data")[0]
        assert first == (1.0, *map(float, range(len(names))))

    def test_as_many_curves_as_sqlite_holds(self, tmp_path):
        path = tmp_path / "project.sqlite"
        names = [("\U0001d4d0" * 200)[: -len(end)] + end for end in map(str, range(MOST_CURVES))]
        write_project(path, a_table(), a_table(names=names), a_table(), [])
        assert rows_of(path, "SELECT * FROM ideal_functions")[1] == (2.0, *range(MOST_CURVES))

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_more_curves_are_refused_before_a_file_is_made(self, tmp_path, place):
        tables = [a_table()] * 3
        tables[place] = a_table(names=[f"y{i}" for i in range(MOST_CURVES + 1)])
        with pytest.raises(InvalidTable, match="2000 curves") as raised:
            write_project(tmp_path / "project.sqlite", *tables, [])
        assert raised.value.facts[0].code == "too_many_curves"
        assert list(tmp_path.iterdir()) == []

    def test_rows_keep_their_order_over_many_batches(self, tmp_path):
        path = tmp_path / "project.sqlite"
        x = np.random.default_rng(7).permutation(100_000).astype(float)
        write_project(path, a_table(x, y=[-x]), a_table(), a_table(), [])
        rows = rows_of(path, "SELECT x, y1 FROM training_data")
        assert rows == list(zip(x.tolist(), (-x).tolist(), strict=True))

    def test_a_file_that_fails_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        before = scratch.nbytes

        def mapped():
            yield [(1.0, 2.0, 0.5, "a", "b")]
            raise RuntimeError

        with pytest.raises(RuntimeError):
            spool_project(*(in_pieces(a_table()) for _ in range(3)), mapped())
        assert list(tmp_path.iterdir()) == []
        assert scratch.nbytes == before
