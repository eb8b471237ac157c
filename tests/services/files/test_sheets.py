"""XLSX: which cells are numbers, gaps or errors, and which sheet."""

from __future__ import annotations

import io
import math
import tempfile
from datetime import UTC, date, datetime, time

import pytest

from services.errors import InvalidOption, InvalidTable, TooLarge, UnreadableFile
from services.files import ReadLimits, ReadOptions
from services.files.sheets import CHUNK_BYTES, read_sheet
from services.files.spool import ColumnFile
from tests.calls import same_bits, some_doubles
from tests.files import SHEET, a_parquet, a_sheet, a_workbook, sheet_xml, with_member


def read(data, chunk_bytes=CHUNK_BYTES, **options):
    with tempfile.TemporaryFile(buffering=0) as file:
        into, options = ColumnFile(file, 0), ReadOptions(**options)
        (found,) = read_sheet(io.BytesIO(data), into, options, chunk_bytes=chunk_bytes)
        into.rows = found.rows
        values = into.read(0, len(found.columns))
    return dict(zip(found.columns, values.tolist(), strict=True)), found


def fact_of(rows, kind=InvalidTable, **options):
    with pytest.raises(kind) as error:
        read(a_workbook(("A", rows)), **options)
    return error.value.facts[0]


def with_cells(cells):
    """A workbook whose sheet has these rows of XML."""
    return with_member(a_sheet({"x": [1.0]}), SHEET, sheet_xml(cells))


NAMES = '<row r="1"><c r="A1" t="str"><v>x</v></c><c r="B1" t="str"><v>y</v></c></row>'


def test_numbers_and_gaps():
    rows = [[" x ", "y"], [1, 2.5], [-0.0, None], [3, "NA"], [4, " nan "], [5, 1e300]]
    columns, found = read(a_workbook(("A", rows)))
    assert same_bits(columns["x"], [1, -0.0, 3, 4, 5])
    assert same_bits(columns["y"], [2.5, math.nan, math.nan, math.nan, 1e300])
    assert (found.x, found.rows) == (0, 5)
    assert (found.source.format, found.source.header, found.source.sheet) == (
        "xlsx",
        "present",
        "A",
    )


def test_every_double_of_a_sheet_keeps_its_bits():
    doubles = [number for number in some_doubles(3000) if abs(number) < 1e308]
    rows = "".join(
        f'<row r="{row}"><c r="A{row}"><v>{row}</v></c><c r="B{row}"><v>{number!r}</v></c></row>'
        for row, number in enumerate(doubles, 2)
    )
    assert same_bits(read(with_cells(NAMES + rows))[0]["y"], doubles)


def test_without_a_header_the_columns_are_x_y1_y2():
    columns, _ = read(a_workbook(("A", [[1, 2, 3], [4, 5, 6]])), header="absent")
    assert columns == {"x": [1, 4], "y1": [2, 5], "y2": [3, 6]}
    assert fact_of([[1, 2, 3], [4, 5, 6]]).code == "no_header"
    columns, found = read(a_workbook(("A", [[1, 2], [3, 4]])), stem="silicon")
    assert columns == {"x": [1, 3], "silicon": [2, 4]}
    assert (found.source.header, found.source.first_line) == ("absent", 1)
    assert list(read(a_workbook(("A", [[1, 2], [3, 4]])))[0]) == ["x", "y1"]
    assert read(a_workbook(("A", [[5, 6, 7], [4, 5, 6]])), header="present")[0] == {
        "5": [4],
        "6": [5],
        "7": [6],
    }


def test_empty_rows_and_columns_around_the_cells_are_not_there():
    rows = [[], [None, None, "x", "y"], [None, None, 1, 2], [], [None, None, 3, 4], [], [None]]
    columns, _ = read(a_workbook(("A", rows)))
    assert same_bits(columns["x"], [1, math.nan, 3])


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("3.5", "text '3.5'"),
        ("abc", "text 'abc'"),
        (True, "true or false"),
        (date(2026, 1, 2), "date"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC).replace(tzinfo=None), "date"),
        (time(1, 2), "time"),
    ],
)
def test_what_is_no_number_is_refused_by_its_cell(cell, what):
    fact = fact_of([["x", "y"], [1, 2], [2, cell], [3, 4]])
    assert (fact.row, fact.column, fact.code) == (1, "y", "not_a_number")
    assert what in fact.detail
    assert "B3" in fact.detail


@pytest.mark.parametrize("tag", ['t="e"', "t='e'", 's="0"  t = "e"', 't="e" s="0"'])
def test_an_error_cell_is_no_gap(tag):
    cells = f'<row r="2"><c r="A2"><v>1</v></c><c r="B2" {tag}><v>#DIV/0!</v></c></row>'
    with pytest.raises(InvalidTable) as error:
        read(with_cells(NAMES + cells))
    fact = error.value.facts[0]
    assert (fact.row, fact.column, fact.code) == (0, "y", "error_cell")
    assert "B2" in fact.detail


def test_an_error_cell_of_another_sheet_does_not_matter():
    data = a_workbook(("A", [["x", "y"], [1, 2]]), ("B", [["x", "y"], [1, 2]]))
    bad = '<row r="2"><c r="A2"><v>1</v></c><c r="B2" t="e"><v>#REF!</v></c></row>'
    data = with_member(data, "xl/worksheets/sheet2.xml", sheet_xml(NAMES + bad))
    assert read(data)[0] == {"x": [1.0], "y": [2.0]}
    with pytest.raises(InvalidTable):
        read(data, sheet="B")


def test_the_stored_value_of_a_formula_counts():
    cells = (
        '<row r="2"><c r="A2"><f>1+1</f><v>2</v></c><c r="B2" t="str"><f>A9</f><v></v></c></row>'
    )
    columns, _ = read(with_cells(NAMES + cells))
    assert same_bits(columns["x"], [2])
    # A formula may well give an empty text.
    assert same_bits(columns["y"], [math.nan])


@pytest.mark.parametrize(
    "value",
    [
        *("<f>A9</f>", "<f>A9</f><v></v>", "<f>A9</f><v />", "<f/><v/>"),
        *('<f t="shared" si="0"/>', "<f>IF(A2&lt;1,2,3)</f>\n <v> </v>\n"),
    ],
)
def test_a_formula_that_was_never_computed_is_refused_with_its_place(value):
    cells = f'<row r="2"><c r="A2"><v>1</v></c><c r="B2">{value}</c></row>'
    with pytest.raises(InvalidTable, match="Cell B2 holds a formula") as error:
        read(with_cells(NAMES + cells))
    fact = error.value.facts[0]
    assert (fact.row, fact.column, fact.code) == (0, "y", "formula_without_value")


def test_a_formula_is_found_wherever_the_chunks_end():
    cells = "".join(
        f'<row r="{row}"><c r="A{row}"><v>{row}</v></c><c r="B{row}"><f>A{row}*2</f></c></row>'
        for row in range(2, 12)
    )
    data = with_cells(NAMES + cells)
    for size in (7, 11, 64, 1000):
        with pytest.raises(InvalidTable) as error:
            read(data, chunk_bytes=size)
        assert [fact.row for fact in error.value.facts] == list(range(10))


def test_a_workbook_as_it_is_written_by_a_program_that_computes_nothing():
    data = a_workbook(("A", [["x", "y"], [1, "=A2*2"], [2, "=A3*2"]]))
    with pytest.raises(InvalidTable) as error:
        read(data)
    assert [fact.detail.split()[1] for fact in error.value.facts] == ["B2", "B3"]


def test_an_overflowing_number_is_refused():
    cells = '<row r="2"><c r="A2"><v>1</v></c><c r="B2"><v>1e400</v></c></row>'
    with pytest.raises(InvalidTable) as error:
        read(with_cells(NAMES + cells))
    assert (error.value.facts[0].row, error.value.facts[0].code) == (0, "not_finite")


def test_the_first_sheet_or_the_one_that_is_named():
    data = a_workbook(("A", [["x", "a"], [1, 2]]), ("B b", [["x", "b"], [1, 2]]))
    assert list(read(data)[0]) == ["x", "a"]
    assert list(read(data, sheet="B b")[0]) == ["x", "b"]
    with pytest.raises(InvalidOption, match="'A', 'B b'"):
        read(data, sheet="C")


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([], "no_rows"),
        ([["x"], [1]], "one_column"),
        ([["x", None], [1, 2]], "empty_name"),
        ([["x", "y", "y"], [1, 2, 3]], "duplicate_name"),
        ([["a", "b"], [1, 2]], "unknown_column"),
    ],
)
def test_a_sheet_that_is_no_table(rows, code):
    assert fact_of(rows, x_column="x" if rows else None).code == code


def test_names_that_are_numbers_are_written_as_csv_has_them():
    assert list(read(a_workbook(("A", [["x", 1, 2.5], [1, 2, 3]])))[0]) == ["x", "1", "2.5"]


@pytest.mark.parametrize(
    "limits",
    [{"max_columns": 1}, {"max_rows": 1}, {"max_sheet_bytes": 1000}, {"expansion": 0}],
)
def test_a_sheet_may_not_exceed_the_limits(limits):
    xml = sheet_xml(NAMES + '<row r="2"><c r="A2"><v>1</v></c></row>' + " " * (9 << 20))
    data = with_member(a_sheet({"x": [1.0, 2.0], "y": [1.0, 2.0]}), "xl/filler.xml", xml)
    with pytest.raises(TooLarge):
        read(data, limits=ReadLimits(**limits))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04" + b"\0" * 100,
        a_parquet({"x": [1.0], "y": [1.0]}),
        a_sheet({"x": [1.0], "y": [1.0]})[:-40],
        with_cells("<row><c></row>"),
    ],
    ids=["nothing", "zeros", "Parquet", "cut", "broken XML"],
)
def test_what_is_no_workbook_is_unreadable(data):
    with pytest.raises(UnreadableFile):
        read(data)
