"""JCAMP-DX: every form of numbers, where points lie, blocks, labels, and what is refused."""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidOption, InvalidTable, TooLarge, UnreadableFile
from services.files import ReadOptions
from services.files.jcamp import read_jcamp
from services.files.limits import ReadLimits
from services.files.spool import ColumnFile
from tests.spectra import NTUPLES, a_jcamp, ordinates

FORMS = ("AFFN", "PAC", "SQZ", "DIF", "DUP", "DIFDUP")


class Found:
    """The tables of a file, with their numbers."""

    def __init__(self, data, **options):
        with tempfile.TemporaryFile() as file:
            self.heads = read_jcamp(data, ColumnFile(file, 0), ReadOptions(**options))
            file.seek(0)
            numbers = np.fromfile(file)
        self.tables = [
            numbers[h.offset : h.offset + len(h.columns) * h.rows].reshape(-1, h.rows)
            for h in self.heads
        ]
        self.names = [name for head in self.heads for name in head.columns[1:]]
        self.codes = [warning.code for head in self.heads for warning in head.warnings]

    @property
    def x(self):
        return self.tables[0][0].tolist()

    @property
    def y(self):
        return self.tables[0][1].tolist()

    @property
    def attributes(self):
        return self.heads[0].labels.attributes[0]


def even(lines, count, last=None, **labels):
    """A file of even x from 0."""
    labels = {"FIRSTX": 0, "LASTX": count - 1 if last is None else last, "NPOINTS": count} | labels
    return a_jcamp(lines, **labels)


def refused(error, data, code, **options):
    with pytest.raises(error) as raised:
        Found(data, **options)
    assert raised.value.facts[0].code == code
    return raised.value.facts[0]


class TestNumbers:
    @pytest.mark.parametrize(
        "line",
        [
            "0 1 2 3 3 2 1 0 -1 -2 -3",
            "0 1 2 3 3 2 1 0-1-2-3",
            "0+1+2+3+3+2+1+0-1-2-3",
            "0ABCCBA@abc",
            "0,1,2,3;3;2 , 1 ,0,-1,-2,-3",
            "0 1JJ%jjjjjj",
            "0AJJ%jjjjjj",
            "0 1JT%jX",
            "0ABCTBA@abc",
        ],
    )
    def test_the_published_example_in_every_form(self, line):
        found = Found(even([line], 10))
        assert found.y == [1, 2, 3, 3, 2, 1, 0, -1, -2, -3]
        assert found.codes == []

    @given(
        st.sampled_from(FORMS),
        st.lists(st.integers(-999, 999) | st.integers(-(10**14), 10**14), min_size=1, max_size=60),
        st.integers(2, 9),
    )
    def test_every_form_gives_back_what_was_written(self, form, numbers, width):
        found = Found(even(ordinates(form, numbers, width), len(numbers)))
        assert found.y == numbers
        assert found.codes == []

    @given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 400)), min_size=1, max_size=6))
    def test_long_runs_come_back(self, runs):
        numbers = [number for number, count in runs for _ in range(count)]
        for form in ("DUP", "DIFDUP"):
            found = Found(even(ordinates(form, numbers, 700), len(numbers)))
            assert (found.y, found.codes) == (numbers, [])

    def test_a_repetition_may_be_counted_by_several_digits(self):
        found = Found(even(["0A1JU00A2"], 302))
        assert found.y == [*range(11, 312), 12]

    @pytest.mark.parametrize(
        ("line", "numbers"),
        [
            ("1.5E3 7", [53, 7]),  # E behind an abscissa is a digit,
            ("1.5e+0 7", [7]),  # unless a sign follows.
            ("2 1.5E3 1e-1 1E+2", [1500, 0.1, 100]),
            ("2 .5 5. -.5", [0.5, 5, -0.5]),
            ("2A.5J.25", [1.5, 2.75]),
            ("A2 7", [7]),
        ],
    )
    def test_exponents_and_points(self, line, numbers):
        assert Found(a_jcamp([line], DELTAX=1)).y == numbers

    def test_ordinates_are_multiplied_by_the_factor_once(self):
        numbers = [1, 3, 7, 12345]
        found = Found(even(ordinates("DIF", numbers), 4, YFACTOR="0.1"))
        assert found.y == [number * 0.1 for number in numbers]

    def test_a_question_mark_is_missing(self):
        found = Found(even(["0 1 ? 3", "3A?TC"], 7))
        assert np.isnan(np.array(found.y)).tolist() == [
            False,
            True,
            False,
            False,
            True,
            True,
            False,
        ]

    @pytest.mark.parametrize(
        "line", ["0 1 2 x", "x 1", "0S3", "0 1S0x", "0?J", "0J1", "0 1 2 ,, 3"]
    )
    def test_anything_else_is_refused_with_its_line(self, line):
        fact = refused(InvalidTable, even([line], 2), "not_a_number")
        assert fact.line == 9
        assert fact.detail.startswith("Line 9: correct")


class TestChecks:
    """A line that ends with a difference is followed by one that repeats its last ordinate."""

    def test_the_repeated_ordinate_is_no_point(self):
        assert Found(even(["0A0J1", "1B1J1", "2C2"], 3)).y == [10, 21, 32]

    def test_a_repeated_ordinate_that_differs_counts_and_is_told(self):
        found = Found(even(["0A0J1", "1B2J1", "2C3"], 3))
        assert (found.y, found.codes) == ([10, 22, 33], ["check_ordinate"])
        assert "1 of 2 lines" in found.heads[0].warnings[0].detail
        assert "line 10" in found.heads[0].warnings[0].detail

    def test_a_wrong_check_alone_on_its_line_changes_no_point(self):
        found = Found(even(["0A0J1", "1B1J1", "2@"], 3))
        assert (found.y, found.codes) == ([10, 21, 32], ["check_ordinate"])

    def test_sums_of_decimals_need_not_agree_in_the_last_bit(self):
        assert Found(even(["0@.1J.1", "1A.2", "2 5"], 3, DELTAX=1)).codes == []

    def test_a_line_that_ends_with_a_value_is_not_repeated(self):
        assert Found(even(["0AB", "2BC"], 4)).y == [1, 2, 2, 3]

    def test_the_first_ordinate_is_compared_with_the_header(self):
        assert Found(even(["0 100 2"], 2, FIRSTY=100.5)).codes == []
        assert Found(even(["0 100 2"], 2, FIRSTY=0.1, YFACTOR=0.001)).codes == []
        found = Found(even(["0 100 2"], 2, FIRSTY=0.1))
        assert found.codes == ["firsty"]


class TestAbscissae:
    def test_x_runs_from_first_to_last_by_even_steps(self):
        found = Found(even(["7 1 2 3", "407 4 5 6 7"], 7, 1000.1, FIRSTX="7.3", XFACTOR=1))
        assert found.x == np.linspace(7.3, 1000.1, 7).tolist()

    def test_abscissae_of_lines_are_multiplied_by_the_factor(self):
        lines = ["14 1 2", "18 3 4"]
        found = Found(even(lines, 4, 10, FIRSTX=7, XFACTOR=0.5))
        assert (found.x, found.codes) == ([7, 8, 9, 10], [])

    def test_lines_that_lie_elsewhere_are_told(self):
        found = Found(even(["0 1 2", "3 3 4"], 4))
        assert (found.x, found.codes) == ([0, 1, 2, 3], ["abscissae"])
        assert "line 10 begins at x = 3, computed 2" in found.heads[0].warnings[0].detail

    def test_a_rounded_abscissa_is_no_contradiction(self):
        assert Found(even(["0 1 2 3", "0 4", "0 5 6"], 6, 0.25)).codes == []

    @pytest.mark.parametrize(
        ("labels", "step"),
        [
            ({"DELTAX": 2}, 2),
            ({"DELTAX": 2, "LASTX": 6}, 2),
            ({"LASTX": 6}, 2),
            ({"LASTX": 6, "NPOINTS": 1e10}, 2),
            ({"LASTX": 8, "NPOINTS": 5}, 2),
            ({"LASTX": 6, "DELTAX": -7}, 2),
        ],
    )
    def test_steps_without_a_right_number_of_points(self, labels, step):
        found = Found(a_jcamp(["0 1 2", "4 3 4"], **{"FIRSTX": 0} | labels))
        assert found.x == [0, step, 2 * step, 3 * step]
        expected = ["npoints"] * ("NPOINTS" in labels) + ["lastx"] * (labels.get("LASTX") == 8)
        assert found.codes == expected

    def test_x_may_start_where_its_first_line_does(self):
        assert Found(a_jcamp(["50 1 2"], DELTAX=-1, XFACTOR=0.1)).x == [5, 4]

    def test_lines_of_single_ordinates_need_not_be_even(self):
        found = Found(even(["0 1", "1 2", "10 3"], 3, 10))
        assert (found.x, found.codes) == ([0, 1, 10], [])
        assert Found(a_jcamp(["5 1"])).x == [5]

    def test_missing_points_are_refused(self):
        lines = ["0 1 2", "2 3", "8 5 6"]
        fact = refused(InvalidTable, even(lines, 10), "no_abscissae")
        assert "line 10 begins at x = 2, computed 4.5" in fact.detail

    def test_steps_that_nothing_says_are_refused(self):
        fact = refused(InvalidTable, a_jcamp(["0 1 2"], FIRSTX=0), "no_abscissae")
        assert "add DELTAX" in fact.detail

    @pytest.mark.parametrize("label", ["FIRSTX", "LASTX", "DELTAX", "XFACTOR", "YFACTOR"])
    def test_a_label_without_a_number_is_refused_by_name(self, label):
        labels = {"FIRSTX": 0, "DELTAX": 1} | {label: "one"}
        fact = refused(InvalidTable, a_jcamp(["0 1 2"], **labels), "bad_label")
        assert label in fact.detail

    @pytest.mark.parametrize("label", ["XFACTOR", "YFACTOR"])
    def test_a_factor_of_nothing_is_refused(self, label):
        refused(InvalidTable, even(["0 1 2"], 2, **{label: "0.0"}), "bad_label")

    def test_an_infinite_product_is_refused_with_its_row(self):
        fact = refused(InvalidTable, even(["0 1 9"], 2, YFACTOR="1e308"), "not_finite")
        assert (fact.row, fact.column) == (1, "a title")


class TestPairs:
    @pytest.mark.parametrize(
        "lines",
        [
            ["1,2 3,4", "5,?"],
            ["1, 2; 3, 4;", "5, ?"],
            ["1 2 3 4", "5 ?"],
            ["1\t2", "", "3\t4", "5\t?;"],
            ["1,2,", "3,4,", "5,?"],
            ["1 , 2 ; 3 , 4", "5 , ?"],
        ],
    )
    def test_pairs_are_parted_by_commas_semicolons_or_blanks(self, lines):
        for table in ("XYPOINTS", "XYDATA", "PEAK TABLE"):
            found = Found(a_jcamp(lines, "(XY..XY)", table, XFACTOR=2, YFACTOR=10))
            assert found.x == [2, 6, 10]
            assert np.array_equal(found.y, [20, 40, np.nan], equal_nan=True)

    def test_half_a_pair_is_refused_with_its_line(self):
        data = a_jcamp(["1,2 3,4", "5", "6,7"], "(XY..XY)")
        assert refused(InvalidTable, data, "odd_pairs").line == 7

    def test_the_number_of_pairs_is_compared(self):
        found = Found(a_jcamp(["1,2 3,4"], "(XY..XY)", NPOINTS=3))
        assert found.codes == ["npoints"]


class TestDecimals:
    def test_commas_in_the_header_are_commas_in_the_table(self):
        found = Found(even(["0,5 0,25 1,5"], 2, "1,5", FIRSTX="0,5", YFACTOR="0,5"))
        assert (found.x, found.y) == ([0.5, 1.5], [0.125, 0.75])
        assert found.heads[0].source.decimal == ","

    def test_a_point_in_the_header_parts_numbers_by_commas(self):
        found = Found(even(["0,1,2"], 2, "1.0"))
        assert (found.y, found.heads[0].source.decimal) == ([1, 2], ".")

    def test_commas_that_can_be_either_are_settled_by_the_number_of_points(self):
        assert Found(even(["0,1,2"], 2)).y == [1, 2]
        fact = refused(InvalidTable, even(["0,5 0,25 1,5"], 2), "ambiguous_decimal")
        assert (fact.parameter, fact.line) == ("decimal", 9)

    def test_the_client_may_say_it(self):
        data = even(["0,0 0,25 1,5"], 2)
        assert Found(data, decimal=",").y == [0.25, 1.5]
        assert Found(data, decimal=".").codes == ["npoints"]
        pairs = a_jcamp(["1,5 2,5"], "(XY..XY)")
        assert (Found(pairs).y, Found(pairs, decimal=",").y) == ([5, 5], [2.5])

    def test_points_of_thousands_do_not_make_a_decimal_comma(self):
        assert Found(even(["0 1.5 2"], 2, NPOINTS="2,000")).y == [1.5, 2]


class TestText:
    def test_comments_blank_lines_and_spelling_of_labels_do_not_count(self):
        data = b"""  ##title= a $$ no title
$$ a line
##=a comment that
goes on
## First-X =0 $$ zero
##last_x=2
##NPOINTS=3
##x y data=( x++(y..y) ) $$ points

0 1 $$ 7
1 2 3
##end=
"""
        found = Found(data)
        assert (found.names, found.y) == (["a"], [1, 2, 3])
        assert found.attributes == {"TITLE": "a"}

    @pytest.mark.parametrize("ending", [b"\r\n", b"\r", b"\r\r\n"])
    def test_every_end_of_a_line(self, ending):
        data = even(["0 1 2", "2 3"], 3).replace(b"\n", ending) + b"\x1a\0\0"
        assert (found := Found(data)).y == [1, 2, 3]
        assert found.codes == []

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
    def test_titles_beyond_ascii(self, encoding):
        data = even(["0 1 2"], 2, TITLE="Säure").decode().encode(encoding)
        assert Found(data).names == ["Säure"]

    def test_a_missing_bracket_and_data_on_the_line_of_the_label(self):
        assert Found(a_jcamp([], "(X++(Y..Y)) 0 1 2", DELTAX=1)).y == [1, 2]
        assert Found(a_jcamp(["0 1 2"], "(X++(Y..Y)", DELTAX=1)).y == [1, 2]

    def test_a_file_without_its_end_is_read_with_a_warning(self):
        data = even(["0 1 2"], 2).replace(b"##END=\n", b"")
        assert (found := Found(data)).y == [1, 2]
        assert found.codes == ["no_end"]


class TestBlocks:
    def test_blocks_of_a_file_are_called_by_their_titles(self):
        outer = b"##TITLE=all\n##DATA TYPE=LINK\n##BLOCKS=4\n"
        inner = [
            a_jcamp(["1,2"], "(XY..XY)", TITLE=title, ORIGIN=f"{at}")
            for at, title in enumerate(["a", "a", "", "x"])
        ]
        found = Found(outer + b"".join(inner) + b"##END=\n")
        assert found.names == ["a", "a (2)", "3", "x (2)"]
        assert [head.labels.attributes[0]["ORIGIN"] for head in found.heads] == [*"0123"]
        assert [head.offset for head in found.heads] == [0, 2, 4, 6]

    def test_names_stay_different_when_titles_look_like_numbered_ones(self):
        titles = ["a (2)", "a", "a", "a", "2", "", "y" * 300, "y" * 300]
        blocks = [a_jcamp(["1,2"], "(XY..XY)", TITLE=title) for title in titles]
        names = Found(b"".join(blocks)).names
        assert names[:6] == ["a (2)", "a", "a (3)", "a (4)", "2", "6"]
        assert len(set(names)) == 8
        assert max(map(len, names)) <= 200

    def test_a_single_curve_is_called_by_the_stem(self):
        assert Found(even(["0 1 2"], 2), stem="ethanol").names == ["ethanol"]
        assert Found(even(["0 1 2"], 2)).names == ["a title"]

    def test_blocks_may_follow_each_other_without_an_end(self):
        blocks = [a_jcamp(["1,2"], "(XY..XY)", TITLE=title) for title in "ab"]
        assert Found(b"".join(blocks).replace(b"##END=\n", b"", 1)).names == ["a", "b"]

    @pytest.mark.parametrize(
        ("columns", "names"),
        [
            (["b"], ["b"]),
            (["#2", "x"], ["a"]),
            (["#4", "#2"], ["a", "a (2)"]),
            ((), [*"ab", "a (2)"]),
        ],
    )
    def test_the_client_may_choose_tables(self, columns, names):
        data = b"".join(a_jcamp(["1,2"], "(XY..XY)", TITLE=title) for title in "aba")
        found = Found(data, columns=columns)
        assert found.names == names
        assert [table.tolist() for table in found.tables] == [[[1], [2]]] * len(names)

    @pytest.mark.parametrize(
        ("options", "error", "code"),
        [
            ({"columns": ["b"]}, InvalidTable, "unknown_column"),
            ({"columns": ["x"]}, InvalidTable, "one_column"),
            ({"x_column": "a title"}, InvalidOption, "invalid"),
            ({"x_column": "b"}, InvalidTable, "unknown_column"),
        ],
    )
    def test_a_column_that_cannot_be_chosen_is_refused(self, options, error, code):
        refused(error, even(["0 1 2"], 2), code, **options)

    def test_pages_of_ntuples(self):
        found = Found(NTUPLES)
        assert found.names == ["fid / FID/REAL", "fid / FID/IMAG"]
        assert [table.tolist() for table in found.tables] == [
            [[0, 0.5, 1], [2, 4, 6]],
            [[0, 0.5, 1], [30, 40, 50]],
        ]
        assert found.codes == []
        assert [head.labels.units for head in found.heads] == [("V",), ("mV",)]
        assert [head.labels.x_unit for head in found.heads] == ["SECONDS", "SECONDS"]
        assert found.heads[1].labels.attributes[0]["PAGE"] == "N=2"

    def test_pages_of_peaks_are_called_by_their_page(self):
        data = NTUPLES.replace(b"DEPENDENT, DEPENDENT, PAGE", b"DEPENDENT, , PAGE")
        data = data.replace(b"(X++(R..R)), XYDATA $$ real\n0 1 2 3", b"(XR..XR), PEAKS\n1,2;3,4")
        data = data.replace(b"##PAGE= N=1\n", b"##PAGE= N=1\n##NPOINTS=2\n")
        found = Found(data)
        assert found.names == ["fid / N=1", "fid / N=2"]
        assert found.tables[0].tolist() == [[0.5, 1.5], [4, 8]]
        assert found.codes == []

    @pytest.mark.parametrize(
        "table",
        [
            "PEAK ASSIGNMENTS=(XYMA)",
            "XYDATA=(XYW..XYW)",
            "RADATA=(R++(A..A))",
            "DATA TABLE=(XZ..XZ)",
        ],
    )
    def test_other_tables_are_left_out_by_name_or_refused(self, table):
        other = f"##TITLE=b\n##{table}\n1,2,3\n##END=\n".encode()
        assert table in refused(InvalidTable, other, "no_rows").detail
        found = Found(even(["0 1 2"], 2) + other)
        assert (found.names, found.codes) == (["a title"], ["left_out"])
        assert table in found.heads[0].warnings[0].detail

    def test_a_structure_holds_no_curve(self):
        data = b"##TITLE=s\n##JCAMP-CS=3.7\n##ATOMLIST=\n 1 C\n##END=\n"
        refused(InvalidTable, data, "no_rows")
        assert Found(data + even(["0 1 2"], 2)).names == ["a title"]

    def test_a_text_without_a_title_is_no_jcamp(self):
        refused(UnreadableFile, b"x,y\n1,2\n", "damaged")
        refused(UnreadableFile, b"", "damaged")


class TestLabels:
    def test_units_and_attributes(self):
        data = even(
            ["0 1 2"],
            2,
            CASREGISTRYNO="64-17-5",
            DATA_TYPE="INFRARED  SPECTRUM",
            Owner="a\n  b",
            **{"$PRIVATE": "p", "EMPTY": "", "MAXY": 1},
        )
        found = Found(data)
        assert found.attributes == {
            "TITLE": "a title",
            "CAS REGISTRY NO": "64-17-5",
            "DATA TYPE": "INFRARED  SPECTRUM",
            "OWNER": "a\nb",
        }
        assert found.heads[0].labels.x_unit == "1/CM"
        assert found.heads[0].labels.units == ("ABSORBANCE",)

    def test_labels_behind_the_table_count(self):
        data = even(["0 1 2"], 2).replace(b"##END=", b"##MP=3\n##END=")
        assert Found(data).attributes["MP"] == "3"

    @pytest.mark.parametrize("letter", ["n", "ä"])
    def test_attributes_are_cut_by_leaving_out_the_longest(self, letter):
        lengths = {"NAMES": 1000, "ORIGIN": 3000, "OWNER": 10_000, "CLASS": 900}
        data = even(["0 1 2"], 2, **{name: letter * n for name, n in lengths.items()})
        found = Found(data)
        assert list(found.attributes)[:2] == ["TITLE", "NAMES"]
        assert len(json.dumps(found.attributes, ensure_ascii=False).encode()) <= 4096
        assert found.codes == ["label_left_out"]
        assert "OWNER" in found.heads[0].warnings[0].detail
        assert found.heads[0].warnings[0].column == "a title"


class TestBounds:
    LIMITS = ReadLimits(max_rows=1000, max_columns=4, expansion=2)

    @pytest.mark.parametrize("line", ["0A1s99999999", "0A1Js99999999", "0A1S99999999999999"])
    def test_repetitions_are_refused_before_they_are_made(self, line):
        refused(TooLarge, a_jcamp([line], DELTAX=1), "too_many_rows")

    def test_repetitions_within_the_rows_may_not_expand_too_far(self):
        limits = ReadLimits(max_rows=10**9)
        refused(TooLarge, a_jcamp(["0A1s9999999"], DELTAX=1), "expansion", limits=limits)

    def test_more_digits_than_any_count_has_are_damage(self):
        refused(InvalidTable, a_jcamp([f"0A1s{'9' * 5000}"], DELTAX=1), "not_a_number")

    @pytest.mark.parametrize("form", ["(X++(Y..Y))", "(XY..XY)"])
    def test_points_are_counted(self, form):
        lines = ["0 1"] * 1000
        labels = {"FIRSTX": 0, "LASTX": 0, "NPOINTS": 1000}
        assert len(Found(a_jcamp(lines, form, **labels), limits=self.LIMITS).x) == 1000
        data = a_jcamp([*lines, "0 1"], form, **labels)
        refused(TooLarge, data, "too_many_rows", limits=self.LIMITS)

    def test_tables_are_counted(self):
        block = a_jcamp(["1,2"], "(XY..XY)")
        assert len(Found(2 * block, limits=self.LIMITS).names) == 2
        refused(TooLarge, 3 * block, "too_many_columns", limits=self.LIMITS)

    def test_the_expansion_counts_over_all_blocks(self):
        block = a_jcamp(["0A1s9999"], DELTAX=1)
        limits = ReadLimits(expansion=2)
        assert len(Found(5 * block, limits=limits).names) == 5
        refused(TooLarge, 6 * block, "expansion", limits=limits)

    def test_the_number_of_points_in_the_header_is_a_claim(self):
        data = even(["0 1 2"], 2, NPOINTS="1e300", DELTAX=1)
        assert Found(data).codes == ["npoints"]

    def test_long_lines_and_many_labels_take_little(self):
        lines = ["0 " + "1 " * 100_000]
        assert len(Found(even(lines, 100_000)).x) == 100_000
        labels = b"".join(b"##L%d=%d\n" % (at, at) for at in range(10_000))
        found = Found(even(["0 1 2"], 2).replace(b"##END", labels + b"##END"))
        assert found.codes == ["label_left_out"]
