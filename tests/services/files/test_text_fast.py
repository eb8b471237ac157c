"""The fast reader of plain lines agrees with the careful one, or leaves lines to it."""

from __future__ import annotations

import io
import itertools
import re
from contextlib import ExitStack, closing
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.errors import CurveError
from services.files import ReadLimits, ReadOptions, text
from services.files.text_fast import read_plain
from services.fingerprint import table_sha256
from tests.examples import examples
from tests.factories import load_table

LIMITS = ReadLimits(max_columns=4, max_rows=12)


def careful_only(*_args, **_options):
    """Take nothing for plain."""


def outcome(data, *, chunk=1 << 16, careful=False):
    """Fingerprint and source of a file, or what is wrong with it."""
    with ExitStack() as stack:
        if careful:
            stack.enter_context(mock.patch.object(text, "read_plain", careful_only))
        options = ReadOptions(limits=LIMITS)
        try:
            found = text.read_text(io.BytesIO(data), "csv", options, chunk_bytes=chunk)
        except CurveError as error:
            return type(error), error.detail, error.facts
        with closing(found):
            return table_sha256(load_table(found.parts[0].curves)), found.source


def plain(data, delimiter=",", columns=2, codec="utf-8"):
    """Values by row, lines and decimal mark of plain lines."""
    found = read_plain(data, codec, delimiter, columns)
    return found and (found.values.T.tolist(), found.lines, found.decimal)


NUMBERS = [[1.0, 2.5], [-3.0, 4000.0]]


@pytest.mark.parametrize(
    "data",
    [
        b"1,2.5\n-3,4e3\n",
        b"1,2.5\n-3,4e3",
        b"1,2.5\r\n-3,4e3\r\n",
        b"1,2.5\r-3,4e3\r",
        b"1,2.5\r\r\n-3,4e3\r\r\n",
        b"+1.,2.50\n-03.,.4E+4\n",
        b" 1 ,   2.5  \n-3, 4e3 \n",
        b'"1","2.5"\n-3,"4e3"\n',
        b'" 1",2.5\r\n"-3"," 4e3 "',
    ],
)
def test_numbers_and_what_stands_around_them(data):
    assert plain(data) == (NUMBERS, 2, ".")


@pytest.mark.parametrize(
    "data", [b"\n\n1,2.5\n\n  \n-3,4e3\n\n", b"\r\n\r1,2.5\n\n\r\n-3,4e3\n\r\n"]
)
def test_blank_lines_count_as_lines(data):
    values, lines, _ = plain(data)
    assert (values, lines) == (NUMBERS, 7)


@pytest.mark.parametrize(
    "word", ["", "nan", "NaN", "NA", "na", "null", "NONE", " Null ", '""', '"NA"']
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_gaps(word, place):
    cells = ["1", "2", "3"]
    cells[place] = word
    values, lines, decimal = plain((",".join(cells) + "\n").encode(), columns=3)
    expected = [1.0, 2.0, 3.0]
    expected[place] = np.nan
    np.testing.assert_equal(values, [expected])
    assert (lines, decimal) == (1, None)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_decimal_mark_is_the_one_that_stands_there(delimiter):
    for row, mark in [("1{}2.5", "."), ("1{}2,5", ","), ("1{}2", None)]:
        assert plain(row.format(delimiter).encode(), delimiter)[2] == mark
    assert plain(f"1.5{delimiter}2,5".encode(), delimiter) is None


def test_utf_16():
    assert plain("1,2.5\n-3,4e3".encode("utf-16-le"), codec="utf-16-le") == (NUMBERS, 2, ".")
    assert plain(b"1\n", codec="utf-16-le") is None


@pytest.mark.parametrize(
    "data",
    [
        b"1\n",
        b"1,2,3\n",
        b"1,2,3\n4\n",
        b"1,2\n3\n4,5\n",
        b"\n",
        b"",
        b'""\n',
        b'1,2\n" "\n',
        b'1,"2\n3"\n',
        b'1,"2,3\n',
        b'"1,2"\n',
        b'1,"2"3\n',
        b'1,2"3"\n',
        b'1,"2""3"\n',
        b'1, "2"\n',
        b"1,inf\n",
        b"1,-Infinity\n",
        b"1,nan(1)\n",
        b"1,1e999\n",
        b"1,0x1\n",
        b"1,2_0\n",
        b"1,2 0\n",
        b"1,n a\n",
        b"nan\n1,2\n",
        b"1,2\n NA \n",
        b"1,\t2\n",
        b"1,\xd9\xa1\n",
        b"1,\xff\n",
        b"1,\0\n",
        b"1,2%\n",
        b"1,.\n",
        b"1,+\n",
        b"1,e5\n",
        b"1,1e\n",
        b"1,True\n",
        b"1,2;3\n",
        b"1,2|\n",
    ],
)
def test_what_needs_care(data):
    assert plain(data) is None


def test_no_row_of_spaces_takes_long():
    """An hour if each space were looked at from each other one."""
    assert plain(b"1,2" + b" " * 300_000 + b"3\n") is None
    assert plain(b"1," + b" " * 300_000 + b"2.5\n") == ([[1.0, 2.5]], 1, ".")


def test_words_over_the_letters_of_numbers_are_numbers_for_both_or_for_none():
    grammar = re.compile(r"[+-]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+)(?:[eE][+-]?[0-9]+)?")
    for letters in itertools.product("+-.e09", repeat=5):
        word = "".join(letters)
        found = plain(f"{word},1\n".encode())
        number = float(word) if grammar.fullmatch(word) else np.inf
        assert (found and found[0][0][0]) == (number if np.isfinite(number) else None), word


finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.one_of(finite.map(repr), finite.map("{:.17e}".format), st.integers().map(str))
blank = st.sampled_from(["", " ", "nan", "NA", "null", " None"])
odd = st.sampled_from(
    [
        "inf",
        "-nan",
        "1e999",
        "1,5",
        "1_0",
        "x",
        "\u0661",
        "\xa01",
        "1 2",
        "\t1",
        '"',
        '1""',
        "-",
        "\0",
    ]
)
around = st.sampled_from(["{}"] * 9 + ['"{}"', " {}", "{}  ", '" {} "', '"{}\n"', ' "{}"', '"{}'])
cells = st.builds(
    lambda shape, cell: shape.format(cell),
    around,
    st.one_of(numbers, numbers, numbers, numbers, blank, odd),
)
ends = st.sampled_from(["\n"] * 6 + ["\r\n", "\r", "\r\r\n", "\n\n", "\n \n", '\n""\n', ""])


@st.composite
def files(draw):
    """Draw a file that is plain in most places."""
    width = draw(st.integers(2, 4))
    delimiter = draw(st.sampled_from(",,;\t|"))
    row = st.lists(cells, min_size=width, max_size=width)
    rows = draw(
        st.lists(st.tuples(row | row | row | st.lists(cells, max_size=5), ends), max_size=9)
    )
    body = "".join(delimiter.join(row) + end for row, end in rows)
    if delimiter != "," and draw(st.booleans()):
        body = body.replace(".", ",")
    header = delimiter.join("abcd"[:width])
    data = bytearray(
        f"{header}\n{body}".encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    )
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=2)
    ):
        if place < len(data):
            data[-place] = byte
    return bytes(data)


@examples(300)
@given(files(), st.sampled_from([7, 30, 1 << 16]))
@example(b"a,b\n1,2\n1,2\nnan\n1,2\n", 7)
@example(b'a,b\n1,"2\n1,2\n1,2\n3"\n', 7)
@example(b"a;b\n1;2\n1;2,5\n1.5;2\n", 7)
@example(b"a,b\n1,2\n" + b"\r" * 99 + b"1,2\r\r\n3,4", 7)
@example(b"a,b\n" + b"1,2\n" * 13, 7)
@example(b"a,b\n" + b'""\n' * 13, 30)
@example("\ufeffa,b\n1,2\u0a00\n".encode("utf-16-le"), 7)
def test_both_ways_agree_on_any_file(data, chunk):
    careful = outcome(data, chunk=chunk, careful=True)
    assert outcome(data, chunk=chunk) == careful


@examples(200)
@given(files())
def test_where_a_file_is_cut_makes_no_difference(data):
    """Unless it is no text: then the error may be told earlier."""
    found = outcome(data)
    cut = outcome(data, chunk=7)
    assert cut == found or "unreadable-file" in (
        getattr(found[0], "code", 0),
        getattr(cut[0], "code", 0),
    )
