"""Parquet and Arrow: every numeric type is read by value; others are refused by name."""

from __future__ import annotations

import io
import math
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.errors import InvalidTable, TooLarge, UnreadableFile
from services.files import ReadLimits, ReadOptions, columnar_sources, read_text
from services.files.columnar import read_columnar
from services.files.columnar_sources import ParquetSource
from services.files.spool import ColumnFile
from services.fingerprint import table_sha256
from tests.calls import same_bits, some_doubles
from tests.factories import load_table
from tests.files import a_parquet, an_arrow

WRITERS = {
    "parquet": (a_parquet, "parquet"),
    "stream": (an_arrow, "arrow"),
    "batches": (lambda columns: an_arrow(columns, rows=2), "arrow"),
    "file": (lambda columns: an_arrow(columns, file=True, compression="lz4"), "arrow"),
}
EACH = pytest.mark.parametrize("writer", WRITERS)
X = [0.0, 1.0, 2.0, 3.0]


def read_bytes(data, format, **options):
    """Columns by name, and what was found."""
    with tempfile.TemporaryFile(buffering=0) as file:
        into = ColumnFile(file, 0)
        found = read_columnar(data, format, into, ReadOptions(**options))
        values = into.read(0, len(found.columns))
    return dict(zip(found.columns, values.tolist(), strict=True)), found


def read(columns, writer, **options):
    make, reader = WRITERS[writer]
    return read_bytes(make(columns), reader, **options)


NUMBERS = {
    "int8": (pa.array([1, None, -3, 4], pa.int8()), [1, math.nan, -3, 4]),
    "int64": (
        pa.array([2**53, -(2**53), 2**62, -(2**63)]),
        [2.0**53, -(2.0**53), 2.0**62, -(2.0**63)],
    ),
    "uint64": (
        pa.array([0, 2**63, 2**64 - 2**11, None], pa.uint64()),
        [0, 2.0**63, 2.0**64 - 2**11, math.nan],
    ),
    "float16": (np.float16([0.5, 2, math.nan, 0.1]), [0.5, 2, math.nan, 0.0999755859375]),
    "float32": (np.float32([0.1, 2, 3, 4]), [0.10000000149011612, 2, 3, 4]),
    "nulls": (pa.array([None, 1.5, math.nan, -0.0]), [math.nan, 1.5, math.nan, -0.0]),
    "decimal": (
        pa.array([Decimal("0.1"), None, Decimal("-3.25"), Decimal("99999.99")]),
        [0.1, math.nan, -3.25, 99999.99],
    ),
    "wide decimal": (
        pa.array([Decimal("0.1"), None, Decimal("-3.25"), Decimal("1E-10")], pa.decimal256(50, 18)),
        [0.1, math.nan, -3.25, 1e-10],
    ),
    "dictionary": (pa.array([1.5, None, 1.5, 2.0]).dictionary_encode(), [1.5, math.nan, 1.5, 2]),
    "dictionary of int": (pa.array([7, 7, 8, 7]).dictionary_encode(), [7, 7, 8, 7]),
    "null": (pa.nulls(4), [math.nan] * 4),
    "text without any": (pa.nulls(4, pa.string()), [math.nan] * 4),
}

REFUSED = {
    "int64": (pa.array([1, 2**53 + 1, 2**53, 1]), 1, "inexact"),
    "uint64": (pa.array([1, 0, 2**64 - 1, 1], pa.uint64()), 2, "inexact"),
    "decimal": (
        pa.array([Decimal(1), Decimal(2), None, Decimal("0.1234567890123456789")]),
        3,
        "inexact",
    ),
    "infinite": (np.array([1, 2, -math.inf, 0]), 2, "not_finite"),
    "float32": (np.float32([1, 2, 3, math.inf]), 3, "not_finite"),
    "text": (pa.array([None, "a", "b", None]), 1, "not_a_number"),
    "categories": (pa.array(["a", "b", "a", None]).dictionary_encode(), 0, "not_a_number"),
    "bool": (pa.array([None, None, True, False]), 2, "not_a_number"),
    "dates": (pa.array([None, None, None, date(2026, 1, 1)]), 3, "not_a_number"),
    "times": (pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 4), 0, "not_a_number"),
    "bytes": (pa.array([b"1"] * 4), 0, "not_a_number"),
    "lists": (pa.array([[1.0]] * 4), None, "not_a_number"),
    "structures": (pa.array([{"a": 1.0}] * 4), None, "not_a_number"),
}


@EACH
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_every_type_keep_their_value(writer, kind):
    cells, expected = NUMBERS[kind]
    columns, _ = read({"x": X, kind: cells}, writer)
    assert same_bits(columns[kind], expected)


@EACH
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_float64_is_refused_by_name_and_row(writer, kind):
    cells, row, code = REFUSED[kind]
    with pytest.raises(InvalidTable) as error:
        read({"x": X, "bad one": cells}, writer)
    fact = error.value.facts[0]
    assert (fact.column, fact.row, fact.code) == ("bad one", row, code)
    assert "bad one" in fact.detail


@EACH
def test_every_double_comes_back_bit_for_bit(writer):
    doubles = some_doubles(10_000)
    columns, _ = read({"x": np.arange(10_000.0), "y": doubles}, writer)
    assert same_bits(columns["y"], doubles)


@given(arrays(np.int64, st.integers(1, 5)))
def test_a_whole_number_is_exact_or_refused(cells):
    columns = {"x": np.arange(float(cells.size)), "y": cells}
    try:
        found, _ = read(columns, "stream")
    except InvalidTable as error:
        refused = {fact.row for fact in error.facts}
    else:
        refused = set()
        assert list(map(int, found["y"])) == cells.tolist()
    assert refused == {i for i, cell in enumerate(cells.tolist()) if int(float(cell)) != cell}


@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=4), min_size=1, max_size=4)
)
def test_a_decimal_is_what_csv_gives_or_refused(cells):
    cells = pa.array(cells)
    try:
        found, _ = read({"x": list(map(float, range(len(cells)))), "y": cells}, "stream")
    except InvalidTable:
        assert any(Decimal(repr(float(cell))) != cell for cell in cells.to_pylist())
    else:
        assert found["y"] == [float(str(cell)) for cell in cells.to_pylist()]


@EACH
def test_names_are_cleaned_and_checked(writer):
    columns, found = read({" x ": X, "y.1": X, "a b ": X}, writer)
    assert list(columns) == ["x", "y.1", "a b"]
    assert found.x == 0
    for names in (["x", "y", "y "], ["x", ""], ["x", "a\nb"]):
        table = pa.table([pa.array(X)] * len(names), names=names)
        with pytest.raises(InvalidTable):
            read(table, writer)


@EACH
def test_no_rows_are_no_table_and_one_column_is_none(writer):
    with pytest.raises(InvalidTable, match="only one column"):
        read({"x": X}, writer)
    _, found = read({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())}, writer)
    assert found.rows == 0


class TestPandas:
    """The index of a DataFrame: first if it has a name, as in CSV; else no column."""

    FRAME = pd.DataFrame({"y2": [1.0, 2.0], "y1": [3.0, None]}, index=[0.5, 1.5])

    def test_an_index_with_a_name_is_a_column_as_in_csv(self):
        frame = self.FRAME.rename_axis("t")
        columns, found = read_bytes(frame.to_parquet(), "parquet")
        assert (list(columns), found.x) == (["t", "y2", "y1"], 0)
        curves = read_text(io.BytesIO(frame.to_csv().encode()), format="csv").parts[0].curves
        assert same_bits(columns["y1"], load_table(curves).y[1])
        curves.close()

    def test_an_index_without_a_name_is_refused_where_it_may_be_x(self):
        with pytest.raises(InvalidTable, match="rename_axis"):
            read_bytes(self.FRAME.to_parquet(), "parquet")

    def test_an_index_without_a_name_beside_x_is_left_out(self):
        frame = self.FRAME.assign(x=[7.0, 8.0])
        columns, _ = read_bytes(frame.to_parquet(), "parquet")
        assert list(columns) == ["y2", "y1", "x"]
        columns, _ = read_bytes(self.FRAME.to_parquet(), "parquet", x_column="y1")
        assert list(columns) == ["y2", "y1"]

    @pytest.mark.parametrize("broken", [b"{", b"[]", b'{"index_columns": [1, {}, null]}'])
    def test_metadata_that_are_no_index_do_not_matter(self, broken):
        table = pa.table({"x": X, "y": X}).replace_schema_metadata({"pandas": broken})
        assert list(read(table, "parquet")[0]) == ["x", "y"]


class TestLimits:
    @EACH
    @pytest.mark.parametrize(
        ("limits", "code"),
        [
            ({"max_columns": 1}, "too_many_columns"),
            ({"max_rows": 3}, "too_many_rows"),
            ({"max_bytes": 63}, "too_many_bytes"),
        ],
    )
    def test_what_is_larger_is_refused_before_it_is_read(self, writer, limits, code):
        with pytest.raises(TooLarge) as error:
            read({"x": X, "y": X}, writer, limits=ReadLimits(**limits))
        assert error.value.facts[0].code == code
        read({"x": X, "y": X}, writer, limits=ReadLimits(2, 4, max_bytes=100_000))

    def test_a_file_may_not_swell_beyond_the_expansion(self):
        data = a_parquet({"x": np.zeros(2_000_000), "y": np.zeros(2_000_000)})
        with pytest.raises(TooLarge) as error:
            read_bytes(data, "parquet")
        assert error.value.facts[0].code == "expansion"
        read_bytes(data, "parquet", limits=ReadLimits(expansion=1_000_000))


CUTS = [(writer, cut) for writer in WRITERS for cut in (0, 1, 3, 8, 11, 100)]
# A stream may end without its mark.
CUTS += [(writer, cut) for writer in ("parquet", "file") for cut in (-1, -9)]


@pytest.mark.parametrize(("writer", "cut"), CUTS)
def test_a_file_that_is_cut_is_unreadable(writer, cut):
    make, reader = WRITERS[writer]
    with pytest.raises(UnreadableFile):
        read_bytes(make({"x": X, "y": X})[:cut], reader)


def test_the_fingerprint_is_that_of_csv():
    columns = {"x": X, "y": [0.1, 1e300, -0.0, 5e-324]}
    with tempfile.TemporaryFile(buffering=0) as file:
        into = ColumnFile(file, 0)
        read_columnar(a_parquet(columns), "parquet", into, ReadOptions())
        (y,) = into.read(1, 2)
    text = "x,y\n" + "".join(f"{a!r},{b!r}\n" for a, b in zip(*columns.values(), strict=True))
    curves = read_text(io.BytesIO(text.encode()), format="csv").parts[0].curves
    table = load_table(curves)
    curves.close()
    assert same_bits(y, table.y[0])
    assert table_sha256(table)


@pytest.mark.parametrize("kind", ["number", "text"])
def test_many_short_columns_of_a_parquet_file_are_read_together(monkeypatch, kind):
    asked = []
    batches = ParquetSource.batches

    def count(self, columns, rows):
        asked.append(list(columns))
        return batches(self, columns, rows)

    monkeypatch.setattr(ParquetSource, "batches", count)
    other = pa.nulls(2, pa.string()) if kind == "text" else [1.5, -0.0]
    columns, _ = read({"x": [0.0, 1.0]} | {f"y{at}": other for at in range(300)}, "parquet")
    assert len(columns) == 301
    assert len(asked) == (2 if kind == "text" else 1)


def test_large_columns_of_a_parquet_file_are_read_apart(monkeypatch):
    monkeypatch.setattr(columnar_sources, "_BATCH_BYTES", 3 * 8 * 50)
    curves = {f"y{at}": np.arange(50.0) * at for at in range(8)}
    data = a_parquet({"x": np.arange(50.0)} | curves, row_group_size=20, use_dictionary=False)
    source = ParquetSource(data)
    groups = list(source.group(range(9)))
    assert list(chain.from_iterable(groups)) == list(range(9))
    assert max(map(len, groups)) < 3
    columns, _ = read_bytes(data, "parquet")
    for name, values in curves.items():
        assert same_bits(columns[name], values)
