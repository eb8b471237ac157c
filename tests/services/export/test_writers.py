"""Files of `services.export.writers`, read back by common libraries."""

from __future__ import annotations

import csv
import io
import math
import tracemalloc
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.export.batches import (
    LISTED_MATCHES,
    MATCHES,
    POINTS,
    PointBatches,
    matches_batch,
    values_batch,
    values_schema,
)
from services.export.writers import (
    CSV_ROWS,
    GROUP_ROWS,
    arrow_stream,
    csv_lines,
    csv_rows,
    csv_values,
    parquet_file,
)
from services.mapping.items import ITEM, REASONS
from tests.calls import same_bits, some_doubles

WRITERS = {"csv": csv_rows, "parquet": parquet_file, "arrow": arrow_stream}
FUNCTIONS = [
    {"training": "a", "ideal": "f,1", "limit": 0.5},
    {"training": "b", "ideal": "f,1", "limit": None},
]


def read(kind, pieces):
    """A file as pandas and pyarrow give it, one list a column."""
    data = io.BytesIO(b"".join(pieces))
    if kind == "csv":
        frame = pd.read_csv(data, keep_default_na=False, na_values=[""])
        columns = {name: frame[name].tolist() for name in frame}
        return {
            name: [None if isinstance(v, float) and math.isnan(v) else v for v in column]
            for name, column in columns.items()
        }
    table = pq.read_table(data) if kind == "parquet" else pa.ipc.open_stream(data).read_all()
    return table.to_pydict()


def some_items():
    items = np.zeros(4, ITEM)
    items["point"] = [0, 0, 1, 2]
    items["column"] = [0, 1, 1, 0]
    items["function"] = [0, 1, -1, -1]
    items["reason"] = [0, 0, REASONS.index("missing_value"), REASONS.index("deviation")]
    items["x"] = [1.5, 1.5, np.nan, -0.0]
    items["y"] = [0.1, 5e-324, np.nan, 3.0]
    items["deviation"] = [0.25, np.inf, np.nan, np.nan]
    return items


SOME_POINTS = {
    "point": [0, 0, 1, 2],
    "column": ["u", "v", "v", "u"],
    "x": [1.5, 1.5, None, -0.0],
    "y": [0.1, 5e-324, None, 3.0],
    "training": ["a", "b", None, None],
    "ideal": ["f,1", "f,1", None, None],
    "deviation": [0.25, None, None, None],
    "limit": [0.5, None, None, None],
    "reason": [None, None, "missing_value", "deviation"],
}


def digits(text):
    """Digits that count; repr has the fewest that give the number back."""
    return Decimal(text).normalize().as_tuple().digits


def blocks_of(values, rows):
    return [values[:, start : start + rows] for start in range(0, values.shape[1], rows)]


class TestCellsAsText:
    """No name is a formula for a spreadsheet; numbers are never touched."""

    @pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\ta", '=",a', "-"])
    def test_what_begins_like_a_formula_gets_a_quote_mark(self, name):
        values = np.array([[-1.0], [-2.0]])
        header, line = csv.reader(_text(csv_values(["x", name], [values], as_text=True)))
        assert (header, line) == (["x", f"'{name}"], ["-1.0", "-2.0"])
        batch = pa.RecordBatch.from_pydict({name: [name, None], "n": [-1, -2], "y": [-0.5, None]})
        header, *lines = csv.reader(_text(csv_rows(batch.schema, [batch], as_text=True)))
        assert header == [f"'{name}", "n", "y"]
        assert lines == [[f"'{name}", "-1", "-0.5"], ["", "-2", ""]]
        # As long as nobody asks, a file can be posted again.
        header, *lines = csv.reader(_text(csv_rows(batch.schema, [batch])))
        assert (header[0], lines[0][0]) == (name, name)

    def test_so_does_a_return(self):
        assert b"'\ra" in next(csv_values(["\ra"], [], as_text=True))

    @pytest.mark.parametrize("name", ["a=1", "'=1", " =1", "1", "a", "é", '"=1"'])
    def test_other_names_stay(self, name):
        batch = pa.RecordBatch.from_pydict({name: [name]})
        plain, as_text = (
            list(csv_rows(batch.schema, [batch], as_text=wanted)) for wanted in (False, True)
        )
        assert plain == as_text


def _text(pieces):
    return io.StringIO(b"".join(pieces).decode(), newline="")


class TestCsvLines:
    def test_writes_names_and_rows(self):
        pieces = list(csv_lines(["x", "y"], [[1.5, 2.0], np.array([0.1, np.nan])]))
        assert pieces == [b"x,y\n", b"1.5,0.1\n2.0,\n"]

    def test_the_header_may_be_left_out(self):
        assert list(csv_lines(["x"], [[1.0]], header=False)) == [b"1.0\n"]

    def test_a_table_without_rows_has_its_header(self):
        assert list(csv_lines(["x", "y"], [[], np.array([])])) == [b"x,y\n"]

    def test_gaps_are_empty_cells(self):
        columns = [["a", "b"], [None, math.nan], np.array([np.nan, 1.0])]
        assert b"".join(csv_lines("abc", columns, header=False)) == b"a,,\nb,,1.0\n"

    def test_words_and_whole_numbers_stay_as_they_are(self):
        columns = [[7, None], ["a,b", 'c "d"'], np.array([1, 2]), np.array(["é", " f "])]
        lines = b"".join(csv_lines("abcd", columns, header=False)).decode()
        assert lines == '7,"a,b",1,é\n,"c ""d""",2, f \n'

    def test_the_only_cell_of_a_line_is_never_blank(self):
        """Readers skip blank lines, and then the row would be lost."""
        for lines in (
            csv_lines(["x"], [[1.0, None]], header=False),
            csv_lines(["x"], [[None, 2]], header=False),
            csv_lines(["x"], [["a", None]], header=False),
            csv_values(["x"], [np.array([[1.0, np.nan]])]),
        ):
            assert b'""\n' in b"".join(lines)

    def test_names_are_quoted_where_needed(self):
        assert next(csv_lines(["x", "a,b", 'c"d'], [])) == b'x,"a,b","c""d"\n'

    def test_numbers_are_short_and_exact(self):
        numbers = [0.1, -0.0, 5e-324, 1e16, 1e-05, 1.7976931348623157e308, 2 / 3]
        for column in (numbers, np.array(numbers)):
            lines = b"".join(csv_lines(["x"], [column], header=False)).decode().split()
            assert same_bits([float(line) for line in lines], numbers)
            assert list(map(digits, lines)) == [digits(repr(number)) for number in numbers]

    def test_columns_of_unequal_length_are_an_error(self):
        with pytest.raises(ValueError, match="same length"):
            list(csv_lines(["x", "y"], [[1.0, 2.0], [1.0]]))

    @pytest.mark.parametrize("count", [CSV_ROWS - 1, CSV_ROWS, 2 * CSV_ROWS + 1])
    def test_pieces_are_whole_lines(self, count):
        pieces = list(csv_lines(["x", "y"], np.arange(2.0 * count).reshape(2, count)))
        assert all(piece.endswith(b"\n") for piece in pieces)
        assert [piece.count(b"\n") for piece in pieces[1:-1]] == [CSV_ROWS] * (len(pieces) - 2)
        assert b"".join(pieces).count(b"\n") == count + 1

    def test_the_first_piece_needs_no_other(self):
        """A client sees the header at once, however long the table is."""
        assert next(csv_lines(["x"], [range(10**12)])) == b"x\n"

    @given(
        st.lists(
            st.tuples(
                st.floats(allow_infinity=False), st.text(st.characters(exclude_categories=["C"]))
            ),
            min_size=1,
        )
    )
    def test_the_csv_module_reads_the_same(self, rows):
        numbers, words = zip(*rows, strict=True)
        text = b"".join(csv_lines(["x", "word"], [np.array(numbers), words])).decode()
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        assert header == ["x", "word"]
        assert [word for _, word in lines] == list(words)
        read = [float(number) if number else math.nan for number, _ in lines]
        np.testing.assert_array_equal(read, numbers)
        assert np.array_equal(
            np.signbit(read), np.signbit(np.where(np.isnan(numbers), np.nan, numbers))
        )


class TestValues:
    """Columns of numbers, in every format and any cut."""

    @pytest.mark.parametrize("kind", WRITERS)
    @pytest.mark.parametrize("rows", [pytest.param(1, marks=pytest.mark.thorough), 7, 4000])
    def test_every_double_comes_back(self, kind, rows):
        values = np.array(some_doubles(8000)).reshape(4, 2000)
        values[1, [0, 5, 1999]] = np.nan
        names = ["x", 'a, "b"', "y", "ä"]
        blocks = blocks_of(values, rows)
        if kind == "csv":
            found = read(kind, csv_values(names, iter(blocks)))
        else:
            schema = values_schema(names)
            found = read(kind, WRITERS[kind](schema, (values_batch(schema, b) for b in blocks)))
        assert list(found) == names
        for column, expected in zip(found.values(), values, strict=True):
            assert [v is None for v in column] == np.isnan(expected).tolist()
            assert same_bits([v for v in column if v is not None], expected[~np.isnan(expected)])

    @pytest.mark.parametrize("kind", ["parquet", "arrow"])
    def test_the_schema_is_float64_with_nulls(self, kind):
        schema = values_schema(["x"])
        data = b"".join(WRITERS[kind](schema, [values_batch(schema, np.array([[np.nan, 1.0]]))]))
        reader = pq.read_table if kind == "parquet" else lambda s: pa.ipc.open_stream(s).read_all()
        table = reader(io.BytesIO(data))
        assert table.schema == schema
        assert table["x"].null_count == 1

    @pytest.mark.parametrize("kind", WRITERS)
    def test_no_rows_give_a_whole_file(self, kind):
        schema = values_schema(["x", "y"])
        assert read(kind, WRITERS[kind](schema, [])) == {"x": [], "y": []}


class TestRows:
    """Points and matches, in every format."""

    @pytest.mark.parametrize("kind", WRITERS)
    def test_points(self, kind):
        made = PointBatches(["u", "v"], FUNCTIONS)
        items = some_items()
        found = read(kind, WRITERS[kind](POINTS, [made.batch(items[:3]), made.batch(items[3:])]))
        assert found == SOME_POINTS
        assert math.copysign(1, found["x"][3]) == -1

    @pytest.mark.parametrize("kind", ["parquet", "arrow"])
    def test_pandas_takes_the_names_as_categories(self, kind):
        """A dictionary that holds a name twice would be refused."""
        data = io.BytesIO(
            b"".join(
                WRITERS[kind](POINTS, [PointBatches(["u", "v"], FUNCTIONS).batch(some_items())])
            )
        )
        table = pq.read_table(data) if kind == "parquet" else pa.ipc.open_stream(data).read_all()
        frame = table.to_pandas()
        assert frame["ideal"].cat.categories.tolist() == ["f,1"]
        assert table.schema == POINTS

    @pytest.mark.parametrize("kind", WRITERS)
    def test_matches(self, kind):
        rows = [
            ("a", 0, 1, "f\n1", 7, 0.5, 0.5, None, 0.1, 0.2, None, 9, 1.0, -0.0),
            ("b", 1, 1, "null", 8, 1e300, None, 5e-324, 0.1, 0.2, 1.0, 9, 1.0, 0.0),
            ("c", 2, 1, "f", 9, 1.0, 1.0, 1.0, 0.1, 0.2, 1.0, 9, 1.0, 0.0),
        ]
        more = [
            (0.5, -1.0, 0.0, ["tied", "inverted"]),
            (None, None, None, None),
            (1.0, 1.0, 1.0, []),
        ]
        rows = [row + rest for row, rest in zip(rows, more, strict=True)]
        batches = [matches_batch(rows, [{"a": [1, "é"]}, {}, {}]), matches_batch([], [])]
        found = read(kind, WRITERS[kind](LISTED_MATCHES, batches))
        attributes = ['{"a":[1,"é"]}', None, None]
        if kind == "csv":
            rows = [(*row[:-1], " ".join(row[-1] or []) or None) for row in rows]
        assert list(zip(*found.values(), strict=True)) == [
            (*row, text) for row, text in zip(rows, attributes, strict=True)
        ]
        assert list(found) == LISTED_MATCHES.names == [*MATCHES.names, "ideal_attributes"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_long_table_needs_the_memory_of_one_piece(kind):
    """Ten times the rows: not the memory of one piece more, and row groups of bounded size."""
    schema = values_schema(["x", "y"])
    batch = values_batch(schema, np.random.default_rng(1).random((2, GROUP_ROWS // 8)))
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    largest = total = 0
    for piece in WRITERS[kind](schema, (batch for _ in range(80))):
        total += len(piece)
        largest = max(largest, len(piece), pa.total_allocated_bytes() - before)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 40_000_000
    assert largest < 12_000_000
    assert peak < 24_000_000


def test_row_groups_hold_many_batches():
    schema = values_schema(["x"])
    batch = values_batch(schema, np.zeros((1, GROUP_ROWS // 4)))
    data = io.BytesIO(b"".join(parquet_file(schema, [batch] * 9)))
    groups = pq.ParquetFile(data).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [
        GROUP_ROWS,
        GROUP_ROWS,
        GROUP_ROWS // 4,
    ]
