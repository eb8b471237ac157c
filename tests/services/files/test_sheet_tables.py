"""XLSX: where the table is in a sheet, and which sheet it is."""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta

import openpyxl
import pytest

from services.errors import InvalidTable
from services.files import ReadOptions
from services.files.formats import Content, recognize
from services.files.sheets import read_sheet
from services.files.spool import ColumnFile
from tests.calls import same_bits
from tests.files import SHEET, a_sheet, a_workbook, sheet_xml, with_member

ROWS = [["x", "y"], [1, 2.5], [2, 3.5], [3, 4.5]]
VALUES = {"x": [1, 2, 3], "y": [2.5, 3.5, 4.5]}


def read_all(data, **options):
    with tempfile.TemporaryFile(buffering=0) as file:
        into = ColumnFile(file, 0)
        heads = read_sheet(io.BytesIO(data), into, ReadOptions(**options))
        found = []
        for head in heads:
            into.rows, into.offset = head.rows, head.offset
            values = into.read(0, len(head.columns)).tolist()
            found.append(dict(zip(head.columns, values, strict=True)))
    return found, heads


def read(rows, **options):
    (columns,), (head,) = read_all(a_workbook(("A", rows)), **options)
    return columns, head


def refuse(rows, kind=InvalidTable, **options):
    with pytest.raises(kind) as error:
        read(rows, **options)
    return error.value


def shift(rows, down, right):
    return [[] for _ in range(down)] + [[None] * right + row for row in rows]


@pytest.mark.parametrize("down", [0, 1, 3])
@pytest.mark.parametrize("right", [0, 2])
def test_a_table_is_found_wherever_it_lies(down, right):
    columns, head = read(shift(ROWS, down, right))
    assert columns == VALUES
    assert (head.source.first_line, head.source.last_line) == (down + 1, down + 4)


def test_titles_above_are_left_out():
    columns, head = read([["Calibration of 3 May"], ["Operator", "Bo"], [], *ROWS])
    assert columns == VALUES
    assert head.source.skipped == ("Calibration of 3 May", "Operator Bo")
    assert (head.source.first_line, head.source.last_line) == (4, 7)
    assert read([["Calibration"], *ROWS])[1].source.skipped == ("Calibration",)
    columns, head = read([*([f"note {at}"] for at in range(100)), *ROWS])
    assert columns == VALUES
    assert head.source.skipped == tuple(f"note {at}" for at in range(20))


def test_a_merged_title_above_is_left_out():
    workbook, sink = openpyxl.Workbook(), io.BytesIO()
    for row in [["Calibration"], *ROWS]:
        workbook.active.append(row)
    workbook.active.merge_cells("A1:B1")
    workbook.save(sink)
    assert read_all(sink.getvalue())[0] == [VALUES]


def test_a_title_on_numbers_without_names_is_no_name():
    error = refuse([["Calibration"], [1, 2], [3, 4]])
    assert error.facts[0].code == "empty_name"
    assert "header=absent" in error.detail
    columns, head = read([["Calibration"], [1, 2], [3, 4]], header="absent", stem="silicon")
    assert columns == {"x": [1, 3], "silicon": [2, 4]}
    assert head.source.skipped == ("Calibration",)


def test_a_row_of_units_is_kept():
    columns, head = read([["Wavelength", "A"], ["nm", "AU"], [1, 2], [3, 4]])
    assert columns == {"Wavelength": [1, 3], "A": [2, 4]}
    assert (head.labels.x_unit, head.labels.units, head.source.units) == ("nm", ("AU",), "present")
    assert head.source.first_line == 1
    given = read([["a", "b"], ["first", "second"], [1, 2], [3, 4]], units="present")
    assert list(given[0]) == ["a", "b"]


@pytest.mark.parametrize("total", [["Mean", 3.5], ["Sum", None], ["Measured by Bo"]])
@pytest.mark.parametrize("between", [[], [[]], [[], []]])
def test_rows_below_that_begin_with_words_are_left_out(total, between):
    columns, head = read([*ROWS, *between, total, ["SD", 1]])
    assert columns == VALUES
    assert head.source.last_line == 4
    assert head.source.skipped[0].startswith(total[0])
    assert head.source.skipped[1] == "SD 1"


@pytest.mark.parametrize("word", ["2O", "Lamp", "n/a?"])
def test_a_number_beside_another_word_is_a_row_that_is_wrong(word):
    error = refuse([*ROWS, [word, 3.5]])
    assert error.facts[0].code == "not_a_number"
    assert "Say last_line=4 if the table ends above." in error.facts[0].detail
    assert read([*ROWS, [word, 3.5]], last_line=4)[0] == VALUES


def test_hidden_columns_are_read_with_a_warning():
    workbook = openpyxl.Workbook()
    for cells in ROWS:
        workbook.active.append(cells)
    workbook.active.column_dimensions["B"].hidden = True
    workbook.active.column_dimensions["Q"].hidden = True
    sink = io.BytesIO()
    workbook.save(sink)
    (columns,), (head,) = read_all(sink.getvalue())
    assert columns == VALUES
    (warning,) = head.warnings
    assert warning.code == "hidden_columns"
    assert "the first is column B" in warning.detail


def test_numbers_behind_words_are_a_second_table():
    error = refuse([*ROWS, [], ["x", "y"], [1, 2], [2, 3]])
    assert error.facts[0].code == "two_tables"
    assert "first_line=1 and last_line=4" in error.detail
    assert "first_line=6" in error.detail
    rows = [*ROWS, [], ["x", "y"], [1, 2], [2, 3]]
    assert read(rows, first_line=6)[0] == {"x": [1, 2], "y": [2, 3]}
    assert read(rows, first_line=1, last_line=4)[0] == VALUES


def test_lines_without_numbers_are_refused_by_the_option():
    for lines in ({"first_line": 9}, {"first_line": 4, "last_line": 2}, {"last_line": 1}):
        assert refuse(ROWS, **lines).facts[0].parameter == "first_line"


def test_a_bad_cell_in_the_last_row_is_no_summary():
    for cell in ("3..0", "3 %", True):
        assert refuse([*ROWS, [cell, 5]]).facts[0].column == "x"
    assert refuse([*ROWS, [4, "bad"]]).facts[0].column == "y"


def test_empty_rows_and_columns_are_no_data():
    columns, head = read([["x", None, "y"], [1, None, 2], [], [3, None, None], [], ["  ", " "]])
    assert same_bits(columns["y"], [2, math.nan, math.nan])
    assert same_bits(columns["x"], [1, math.nan, 3])
    assert head.source.last_line == 4


def test_blanks_beside_and_below_are_no_data():
    assert read([["x", "y", " "], *ROWS[1:], [None, None, "  "]])[0] == VALUES


TWO = [[*a, None, None, *b] for a, b in zip(ROWS, ROWS, strict=True)]


def test_two_tables_side_by_side_are_refused_with_their_ranges():
    error = refuse(TWO)
    assert error.facts[0].code == "two_tables"
    assert "A1:B4 and E1:F4" in error.detail
    assert "x_column=#5 and columns=#6" in error.detail
    assert read(TWO, x_column="#5", columns=["#6"])[0] == VALUES
    assert read(TWO, columns=["#2"])[0] == VALUES


def test_pairs_may_have_empty_columns_between_them():
    rows = [[1, 2, None, 5, 6], [2, 3, None, 6, 7], [None, None, None, 7, 8]]
    found, heads = read_all(a_workbook(("A", [["x", "a", None, "x", "b"], *rows])), layout="pairs")
    assert found == [{"x": [1, 2], "a": [2, 3]}, {"x": [5, 6, 7], "b": [6, 7, 8]}]
    assert heads[1].source.layout == "pairs"


def test_a_column_of_words_is_left_out_where_others_are_named():
    rows = [["x", "label", "y"], [1, "a", 2], [2, "b", 3]]
    assert refuse(rows).facts[0].column == "label"
    assert read(rows, columns=["y"])[0] == {"x": [1, 2], "y": [2, 3]}


def test_an_index_of_pandas_is_left_out():
    columns, head = read([[None, "x", "y"], [0, 5, 6], [1, 7, 8]])
    assert columns == {"x": [5, 7], "y": [6, 8]}
    assert [warning.code for warning in head.warnings] == ["index"]


def test_words_and_numbers_for_a_gap():
    rows = [["x", "y"], [1, "missing"], [2, -9999], [3, 4]]
    assert refuse(rows, gap=["-9999"]).facts[0].row == 0
    columns, head = read(rows, gap=["missing", "-9999"])
    assert same_bits(columns["y"], [math.nan, math.nan, 4])
    assert head.source.gap == ("missing", "-9999")


def test_curves_in_rows():
    rows = [["Run of May"], [], ["nm", 400, 401, 402], ["a", 1, None, 3], [], ["b", 4, 5, "NA"]]
    columns, head = read([*shift(rows, 0, 1), [None, "Made by Bo"]], layout="rows")
    assert list(columns) == ["nm", "a", "b"]
    assert same_bits(columns["nm"], [400, 401, 402])
    assert same_bits(columns["a"], [1, math.nan, 3])
    assert same_bits(columns["b"], [4, 5, math.nan])
    assert (head.source.first_line, head.source.last_line, head.source.layout) == (3, 6, "rows")
    assert head.source.skipped == ("Run of May", "Made by Bo")


def test_curves_in_rows_without_names():
    columns, head = read([[1, 2, 3], [4, 5, 6], [7, 8, 9]], layout="rows")
    assert columns == {"x": [1, 2, 3], "y1": [4, 5, 6], "y2": [7, 8, 9]}
    assert head.source.header == "absent"


def test_a_bad_cell_of_curves_in_rows_is_refused_by_its_place():
    fact = refuse([["nm", 400, 401], ["a", 1, "bad"], ["b", 1, 2]], layout="rows").facts[0]
    assert "C2" in fact.detail
    assert fact.column == "#3"
    assert refuse([["nm", 1, 2], ["a", 1, 2], ["a", 1, 2]], layout="rows").facts[0].code == (
        "duplicate_name"
    )
    assert refuse([["nm", 1, 2]], layout="rows").facts[0].code == "no_rows"
    assert refuse([["nm", "a"], ["b", "c"]], layout="rows").facts[0].code == "no_rows"


@pytest.mark.parametrize("moment", [datetime(2026, 1, 2, 3, tzinfo=UTC), timedelta(hours=1)])
def test_times_as_x_are_refused_with_what_to_do(moment):
    moment = moment.replace(tzinfo=None) if isinstance(moment, datetime) else moment
    error = refuse([["t", "y"], [moment, 1], [moment, 2]])
    assert "seconds since the start" in error.facts[0].detail
    assert (error.facts[0].row, error.facts[0].column) == (0, "t")


# Cells that no reader tells


def with_cells(
    cells, names='<row r="1"><c r="A1" t="str"><v>x</v></c><c r="B1" t="str"><v>y</v></c></row>'
):
    return with_member(a_sheet({"x": [1.0]}), SHEET, sheet_xml(names + cells))


def row(number, second, **attributes):
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<row r="{number}"{more}><c r="A{number}"><v>{number}</v></c>{second}</row>'


@pytest.mark.parametrize(
    "cell", ["<v>#N/A</v>", "<f>NA()</f><v>#N/A</v>", '<f t="shared" si="0"/><v>#N/A</v>']
)
def test_not_available_is_a_gap(cell):
    data = with_cells(row(2, "<c r='B2'><v>5</v></c>") + row(3, f'<c r="B3" t="e">{cell}</c>'))
    (columns,), _ = read_all(data)
    assert same_bits(columns["y"], [5, math.nan])


def test_an_error_that_follows_one_that_is_a_gap_is_refused():
    rows = row(2, '<c r="B2" t="e"><v>#N/A</v></c>') + row(3, '<c r="B3" t="e"><v>#REF!</v></c>')
    with pytest.raises(InvalidTable, match="B3"):
        read_all(with_cells(rows))


def test_an_error_outside_the_table_does_not_matter():
    good = row(2, '<c r="B2"><v>1</v></c>')
    bad = '<row r="3"><c r="A3" t="str"><v>Mean</v></c><c r="B3" t="e"><v>#DIV/0!</v></c></row>'
    assert read_all(with_cells(good + bad))[0] == [{"x": [2], "y": [1]}]
    beside = row(2, '<c r="B2"><v>1</v></c><c r="C2" t="e"><v>#REF!</v></c>')
    with pytest.raises(InvalidTable, match="C2"):
        read_all(with_cells(beside))
    assert read_all(with_cells(beside), columns=["y"])[0] == [{"x": [2], "y": [1]}]


def test_errors_in_the_last_rows_are_not_taken_for_empty_ones():
    bad = '<row r="3"><c r="A3" t="e"><v>#DIV/0!</v></c><c r="B3" t="e"><v>#DIV/0!</v></c></row>'
    with pytest.raises(InvalidTable, match="A3"):
        read_all(with_cells(row(2, '<c r="B2"><v>1</v></c>') + bad))


COMPUTE = b'<calcPr calcId="124519" fullCalcOnLoad="1"/>'


def computed(values, asks):
    cells = [f'<c r="B{at}"><f>A{at}*2</f><v>{value}</v></c>' for at, value in enumerate(values, 2)]
    data = with_cells("".join(row(at, cell) for at, cell in enumerate(cells, 2)))
    book = a_member(data, "xl/workbook.xml").split(b"<calcPr")[0]
    return with_member(data, "xl/workbook.xml", book + (COMPUTE if asks else b"") + b"</workbook>")


def a_member(data, name):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


def test_zeros_of_formulas_that_nobody_computed_are_refused():
    with pytest.raises(InvalidTable, match="never computed") as error:
        read_all(computed([0, 0], asks=True))
    assert [(fact.row, fact.column) for fact in error.value.facts] == [(0, "y"), (1, "y")]


@pytest.mark.parametrize(("values", "asks"), [([0, 0], False), ([0, 3], True)])
def test_zeros_of_formulas_that_were_computed_are_numbers(values, asks):
    assert read_all(computed(values, asks=asks))[0] == [{"x": [2, 3], "y": values}]


@pytest.mark.parametrize("value", ["1", "true"])
def test_hidden_rows_are_read_with_a_warning(value):
    cell = '<c r="B{0}"><v>1</v></c>'.format
    (columns,), (head,) = read_all(
        with_cells(row(2, cell(2)) + row(3, cell(3), hidden=value) + row(4, cell(4)))
    )
    assert columns["x"] == [2, 3, 4]
    assert [(warning.code, warning.row) for warning in head.warnings] == [("hidden_rows", 1)]
    assert "row 3" in head.warnings[0].detail


# Sheets


def book(*sheets, hidden=()):
    workbook = openpyxl.load_workbook(io.BytesIO(a_workbook(*sheets)))
    for name in hidden:
        workbook[name].sheet_state = "hidden"
    workbook.active = next(
        at for at, sheet in enumerate(workbook) if sheet.sheet_state == "visible"
    )
    sink = io.BytesIO()
    workbook.save(sink)
    return sink.getvalue()


OTHER = [["x", "z"], [1, 9]]


def test_the_first_visible_sheet_that_is_not_empty_is_read():
    (columns,), (head,) = read_all(book(("A", []), ("B", ROWS), ("C", OTHER)))
    assert (columns, head.source.sheet, head.warnings) == (VALUES, "B", ())


def test_a_hidden_first_sheet_is_passed_over_with_a_warning():
    data = book(("A", OTHER), ("B", ROWS), hidden=["A"])
    (columns,), (head,) = read_all(data)
    assert (columns, head.source.sheet) == (VALUES, "B")
    assert [(w.code, w.options) for w in head.warnings] == [("hidden_sheet", {"sheet": "A"})]
    (columns,), (head,) = read_all(data, sheet="A")
    assert columns == {"x": [1], "z": [9]}
    assert [(w.code, w.options) for w in head.warnings] == [("hidden_sheet", None)]


def test_a_sheet_of_words_is_refused_with_the_names_of_the_others():
    with pytest.raises(InvalidTable, match=r"sheet=.*'Data'") as error:
        read_all(book(("Notes", [["Notes"], ["see Data"]]), ("Data", ROWS)))
    assert (error.value.facts[0].code, error.value.facts[0].parameter) == ("no_rows", "sheet")


def test_a_workbook_whose_only_table_is_hidden_names_it():
    with pytest.raises(InvalidTable, match=r"sheet=.*'B'"):
        read_all(book(("A", []), ("B", ROWS), hidden=["B"]))


def test_open_document_is_told_from_other_archives():
    head = b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
    assert recognize(head) is Content.OPEN_DOCUMENT
    assert "XLSX" in Content.OPEN_DOCUMENT.value
    assert recognize(a_sheet({"x": [1.0]})[:64]) is Content.ZIP
