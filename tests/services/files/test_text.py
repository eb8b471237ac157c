"""Text files that are accepted, and the place at which others are refused."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import time
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.errors import CurveError, InvalidOption, InvalidTable, TooLarge, UnreadableFile
from services.export.writers import csv_lines
from services.files import ReadLimits, ReadOptions, Source, pick_x, read_text
from services.files.text_pieces import CHUNK_BYTES
from services.files.words import GAPS
from services.fingerprint import table_sha256
from tests.examples import examples
from tests.factories import load_table

if TYPE_CHECKING:
    from collections.abc import Mapping

NAN = math.nan
SMALL = ReadLimits(max_columns=3, max_rows=3)


def read(data, **options):
    """Read a file into memory."""
    return read_stream(io.BytesIO(data), **options)


def read_stream(stream, format="csv", chunk_bytes=CHUNK_BYTES, **options):
    found = read_text(stream, format, ReadOptions(**options), chunk_bytes=chunk_bytes)
    with closing(found):
        return load_table(found.parts[0].curves), found.source


def columns_of(table):
    """Return all columns by name, x first, as lists."""
    return dict(zip(table.columns, [table.x.tolist(), *table.y.tolist()], strict=True))


def same(left, right):
    """Tell whether two tables agree in names and to the bit."""
    return table_sha256(left) == table_sha256(right)


class Good(NamedTuple):
    """A file that is read."""

    data: bytes
    columns: dict
    source: tuple = ("utf-8", ",", ".")
    options: Mapping = MappingProxyType({})


class Bad(NamedTuple):
    """A file that is refused, and the first fact about it."""

    data: bytes
    code: str
    row: int | None = None
    line: int | None = None
    column: str | None = None
    error: type = InvalidTable
    options: Mapping = MappingProxyType({})


XY = {"x": [1.0, 2.0], "y": [3.0, 4.0]}
TSV = {"format": "tsv"}
ABSENT = {"header": "absent"}

GOOD = {
    "plain": Good(b"x,y\n1,3\n2,4\n", XY),
    "no line end at the end": Good(b"x,y\n1,3\n2,4", XY),
    "windows line ends": Good(b"x,y\r\n1,3\r\n2,4\r\n", XY),
    "carriage returns alone": Good(b"x,y\r1,3\r2,4\r", XY),
    "windows text mode twice": Good(b"x,y\r\r\n1,3\r\r\n2,4\r\r\n", XY),
    "all line ends in one file": Good(b"x,y\r\n1,3\r\r\n\r2,4\n", XY),
    "byte order mark": Good(b"\xef\xbb\xbfx,y\n1,3\n2,4\n", XY, ("utf-8-sig", ",", ".")),
    "two byte order marks": Good(
        b"\xef\xbb\xbf\xef\xbb\xbfx,y\n1,3\n2,4\n", XY, ("utf-8-sig", ",", ".")
    ),
    "utf-16 little": Good(
        b"\xff\xfe" + "x,y\n1,3\n2,4".encode("utf-16-le"), XY, ("utf-16-le", ",", ".")
    ),
    "utf-16 big": Good(
        b"\xfe\xff" + "x;y\r\n1;3\r\n2;4".encode("utf-16-be"), XY, ("utf-16-be", ";", ".")
    ),
    "semicolons": Good(b"x;y\n1;3\n2;4\n", XY, ("utf-8", ";", ".")),
    "tabs": Good(b"x\ty\n1\t3\n2\t4\n", XY, ("utf-8", "\t", ".")),
    "bars": Good(b"x|y\n1|3\n2|4\n", XY, ("utf-8", "|", ".")),
    "tsv": Good(b"x\ty\n1\t3\n2\t4\n", XY, ("utf-8", "\t", "."), TSV),
    "tsv with commas in names": Good(
        b"x, s\ty; m|1\n1\t3\n", {"x, s": [1], "y; m|1": [3]}, ("utf-8", "\t", "."), TSV
    ),
    "tsv with a row of gaps": Good(
        b"x\ty\n \t \n1\t3\n", {"x": [NAN, 1], "y": [NAN, 3]}, ("utf-8", "\t", "."), TSV
    ),
    "tsv without header, first row of gaps": Good(
        b"\t\n1\t3\n", {"x": [NAN, 1], "y1": [NAN, 3]}, ("utf-8", "\t", "."), TSV | ABSENT
    ),
    "decimal comma": Good(b"x;y\n1,5;2,5\n", {"x": [1.5], "y": [2.5]}, ("utf-8", ";", ",")),
    "decimal comma after whole numbers": Good(
        b"x;y\n1;2\n3;4\n-,5;6,\n1e2;1,5E-1\n",
        {"x": [1, 3, -0.5, 100], "y": [2, 4, 6, 0.15]},
        ("utf-8", ";", ","),
    ),
    "decimal comma between tabs": Good(
        b"x\ty\n1,5\t2,5\n", {"x": [1.5], "y": [2.5]}, ("utf-8", "\t", ",")
    ),
    "decimal comma between tabs, without header": Good(
        b"1,5\t2,5\n2,5\t3,5\n",
        {"x": [1.5, 2.5], "y1": [2.5, 3.5]},
        ("utf-8", "\t", ","),
        ABSENT,
    ),
    "comma in names, tabs between": Good(
        b"a, b\tc, d\n1,5\t2,5\n", {"a, b": [1.5], "c, d": [2.5]}, ("utf-8", "\t", ",")
    ),
    "decimal point between semicolons": Good(
        b"x;y\n1;2\n1.5;2.5\n", {"x": [1, 1.5], "y": [2, 2.5]}, ("utf-8", ";", ".")
    ),
    "no decimal mark at all": Good(b"x;y\n1;2\n", {"x": [1], "y": [2]}, ("utf-8", ";", ".")),
    "comma in a name, semicolons between": Good(
        b"x;y, in mm\n1;2,5\n", {"x": [1], "y, in mm": [2.5]}, ("utf-8", ";", ",")
    ),
    "semicolon in a quoted name": Good(b'x,"y;mm"\n1,2\n', {"x": [1], "y;mm": [2]}),
    "quoted cells": Good(b'"x","y"\n"1","3"\n"2",4\n', XY),
    "doubled quotes": Good(b'x,"y ""mm"""\n1,2\n', {"x": [1], 'y "mm"': [2]}),
    "spaces around quoted cells": Good(b' "x" , "y" \n "1" , "3"\n2 ,"4" \n', XY),
    "line breaks in quoted cells": Good(b'"x\n",y\n"\n1","3\r\n"\n2,4\n', XY),
    "a delimiter in a quoted decimal": Good(
        b'x;y\n"1,5";"2"\n', {"x": [1.5], "y": [2]}, ("utf-8", ";", ",")
    ),
    "blank lines": Good(b'\n   \nx,y\n\n1,3\n  \n""\n \t\n2,4\n\n', XY),
    "no-break spaces": Good("x\u00a0,\u00a0y\n\u00a01,3\u00a0\n2\u202f,4\n\u00a0\n".encode(), XY),
    "spaces around names": Good(b"X, Y1 \n1,2\n", {"X": [1], "Y1": [2]}),
    "signs and points": Good(
        b"x,y\n+1,1.\n.5,-.5\n+1.5e+3,1E-3\n", {"x": [1, 0.5, 1500], "y": [1, -0.5, 0.001]}
    ),
    "leading zeros": Good(b"x,y\n007,00.5\n", {"x": [7], "y": [0.5]}),
    "minus zero": Good(b"x,y\n-0,-0.0\n", {"x": [-0.0], "y": [-0.0]}),
    "smallest and largest": Good(
        b"x,y\n5e-324,1.7976931348623157e308\n1e-400,-1.7976931348623157e308\n",
        {"x": [5e-324, 0], "y": [1.7976931348623157e308, -1.7976931348623157e308]},
    ),
    "a row whose sum overflows": Good(b"x,y\n1e308,1e308\n", {"x": [1e308], "y": [1e308]}),
    "gaps in every spelling": Good(
        b"x,a,b,c\n1,,NaN,nan\n2,NA,na,null\n3,None,NONE, NULL \n",
        {"x": [1, 2, 3], "a": [NAN] * 3, "b": [NAN] * 3, "c": [NAN] * 3},
    ),
    "quoted gaps": Good(b'x,y\n1,""\n2,"NA"\n', {"x": [1, 2], "y": [NAN, NAN]}),
    "gaps in x": Good(b"x,y\n,1\n,2\n", {"x": [NAN, NAN], "y": [1, 2]}),
    "numbers as names beside a word": Good(b"t,1,2\n0,5,6\n", {"t": [0], "1": [5], "2": [6]}),
    "names equal but for case": Good(b"x,y1,Y1\n1,2,3\n", {"x": [1], "y1": [2], "Y1": [3]}),
    "x in the middle": Good(b"a,X,b\n1,2,3\n4,5,6\n", {"X": [2, 5], "a": [1, 4], "b": [3, 6]}),
    "x before X": Good(b"X,x\n1,2\n", {"x": [2], "X": [1]}),
    "no x: the first": Good(b"t,y\n1,2\n", {"t": [1], "y": [2]}),
    "x by name": Good(b"x,t\n1,2\n", {"t": [2], "x": [1]}, options={"x_column": " t"}),
    "header absent": Good(
        b"1,2,3\n4,5,6\n", {"x": [1, 4], "y1": [2, 5], "y2": [3, 6]}, options=ABSENT
    ),
    "header absent, decimal comma": Good(
        b"1,5;2,5\n", {"x": [1.5], "y1": [2.5]}, ("utf-8", ";", ","), ABSENT
    ),
    "names in many scripts": Good(
        "время;Größe\n1;2\n".encode(), {"время": [1], "Größe": [2]}, ("utf-8", ";", ".")
    ),
    "two columns of numbers": Good(b"\n0,1\n2,3\n", {"x": [0, 2], "y1": [1, 3]}),
    "two columns of numbers, decimal comma": Good(
        b"0,5;1,5\n2,5;3,5\n", {"x": [0.5, 2.5], "y1": [1.5, 3.5]}, ("utf-8", ";", ",")
    ),
    "one row of numbers": Good(b"0,1\n", {"x": [0], "s": [1]}, options={"stem": "s"}),
    "a title without delimiters": Good(
        b"x y\n1,2\n", {"x": [1], "x1": [2]}, options={"stem": "x1"}
    ),
    "two columns of numbers, empty ones behind": Good(
        b"1\t3\t\t\n2\t4\t\t\n", {"x": [1, 2], "s": [3, 4]}, ("utf-8", "\t", "."), {"stem": "s"}
    ),
    "header absent, empty columns behind": Good(
        b"1,2,3,\n4,5,6,\n", {"x": [1, 4], "y1": [2, 5], "y2": [3, 6]}, options=ABSENT
    ),
    "a row of names above, said to be absent": Good(
        b"x,y\n1,2\n", {"x": [1], "y1": [2]}, options=ABSENT
    ),
    "a delimiter at the end of each line": Good(b"x,y,\n1,3,\n2,4,\n", XY),
    "a delimiter at the end of each row of numbers": Good(b"x,y\n1,3,\n2,4,\n", XY),
    "a delimiter at the end of the names": Good(b"x,y,\n1,3\n2,4\n", XY),
    "an empty column between": Good(b"x,,y\n1,,3\n2,,4\n", XY),
    "empty rows at the end": Good(b"x,y\n1,3\n2,4\n,\n , \n", XY),
    "a quote inside a name": Good(b'5" x,y"mm"\n1,2\n', {'5" x': [1], 'y"mm"': [2]}),
    "rare words for gaps": Good(
        b"x,a,b,c\n1,#N/A,n/a,-\n2,--,-nan,1.#QNAN\n",
        {"x": [1, 2], "a": [NAN] * 2, "b": [NAN] * 2, "c": [NAN] * 2},
    ),
    "an exponent of Fortran": Good(b"x,y\n1,1.0D+00\n2,2.5d-3\n", {"x": [1, 2], "y": [1, 0.0025]}),
    "a real minus sign": Good("x,y\n1,\u22122.5\n".encode(), {"x": [1], "y": [-2.5]}),
    "comments": Good(b"# Sample: one\n% two\nx,y\n1,3\n# between\n2,4\n# end\n", XY),
    "names in a comment": Good(
        b"# wl  a\n400.0  0.1\n400.5  0.2\n",
        {"wl": [400, 400.5], "a": [0.1, 0.2]},
        ("utf-8", "space", "."),
    ),
    "blanks between, no names": Good(
        b"  400.0  0.1\n\t400.5 \t0.2  \n",
        {"x": [400, 400.5], "y1": [0.1, 0.2]},
        ("utf-8", "space", "."),
    ),
    "blanks between decimal commas": Good(
        b"x y\n400,5 1,25\n401,0 1,5\n",
        {"x": [400.5, 401], "y": [1.25, 1.5]},
        ("utf-8", "space", ","),
    ),
    "a preamble": Good(
        b"Data from demo\n\nDate: Tue\nPixels: 4\n>>>Begin<<<\n178.1\t-0.1\n178.3\t0.2\n",
        {"x": [178.1, 178.3], "s": [-0.1, 0.2]},
        ("utf-8", "\t", "."),
        {"stem": "s"},
    ),
    "a preamble and names": Good(b"Instrument A, new, 2020\nDate;1\n\nx,y\n1,3\n2,4\n", XY),
    "figures below": Good(b"x,y\n1,3\n2,4\nMean,3.5\nStd. dev.: ,0.7\n", XY),
    "lines behind the table": Good(b"x,y\n1,3\n2,4\n\nEnd of file\nBy,nobody\n", XY),
    "a row of units": Good(
        b"x;y\n[nm];[counts]\n300,00;6,893\n301,00;7,47\n",
        {"x": [300, 301], "y": [6.893, 7.47]},
        ("utf-8", ";", ","),
    ),
    "names, units and comments": Good(b"x,y\nnm,a.u.\nComment,sample 1\n1,3\n2,4\n", XY),
    "a line that names the delimiter": Good(
        b"sep=;\nx;y\n1,5;2,5\n", {"x": [1.5], "y": [2.5]}, ("utf-8", ";", ",")
    ),
    "an index of pandas": Good(b",x,y\n0,1,3\n1,2,4\n", XY),
    "first and last line": Good(
        b"V,I\n0,1\n1,2\n\nx,y\n1,3\n2,4\n5,6\n", XY, options={"first_line": 5, "last_line": 7}
    ),
    "another comment": Good(b"$ note, 2\nx,y\n1,3\n2,4\n", XY, options={"comment": "$"}),
    "delimiter said": Good(
        b"x,a;b\n1,2;3\n", {"x,a": [1.2], "b": [3]}, ("utf-8", ";", ","), {"delimiter": ";"}
    ),
    "decimal said": Good(
        b"x;y\n1;1,234\n2;3,456\n",
        {"x": [1, 2], "y": [1.234, 3.456]},
        ("utf-8", ";", ","),
        {"decimal": ","},
    ),
    "thousands said": Good(
        b'x\ty\n998\t1\n"1,001"\t"12,345.5"\n',
        {"x": [998, 1001], "y": [1, 12345.5]},
        ("utf-8", "\t", "."),
        {"thousands": ","},
    ),
    "thousands by blanks": Good(
        "x;y\n1 234;1\u00a0234\u202f567,5\n".encode(),
        {"x": [1234], "y": [1234567.5]},
        ("utf-8", ";", ","),
        {"thousands": "space"},
    ),
    "thousands by points": Good(
        b"x;y\n1.234;1.234,5\n",
        {"x": [1234], "y": [1234.5]},
        ("utf-8", ";", ","),
        {"thousands": "."},
    ),
    "Indian thousands": Good(
        b"x;y\n1;12,34,567\n", {"x": [1], "y": [1234567]}, ("utf-8", ";", "."), {"thousands": ","}
    ),
    "gaps said": Good(
        b"x,y,z\n1,-9999,missing\n2,-9999.0,5\n",
        {"x": [1, 2], "y": [NAN, NAN], "z": [NAN, 5]},
        options={"gap": ("-9999", "Missing")},
    ),
    "columns said": Good(
        b"t,note,y,z\n1,good,2,3\n4,bad,5,6\n",
        {"t": [1, 4], "z": [3, 6]},
        options={"columns": ("z", "#1")},
    ),
    "x by its position": Good(b"a,b\n1,2\n", {"b": [2], "a": [1]}, options={"x_column": "#2"}),
    "numbers as names, said so": Good(
        b"0,1,2\n3,4,5\n", {"0": [3], "1": [4], "2": [5]}, options={"header": "present"}
    ),
    "one curve a row": Good(
        b"name,400,401,402\nquartz,1,2,3\ncalcite,4,,6\n",
        {"name": [400, 401, 402], "quartz": [1, 2, 3], "calcite": [4, NAN, 6]},
        options={"layout": "rows"},
    ),
    "one curve a row, without names": Good(
        b"400 401\n1 2\n3 4\n",
        {"x": [400, 401], "y1": [1, 2], "y2": [3, 4]},
        ("utf-8", "space", "."),
        {"layout": "rows"},
    ),
    "latin-1 names": Good(
        "Wellenl\u00e4nge;y\n1,5;2\n".encode("latin-1"),
        {"Wellenl\u00e4nge": [1.5], "y": [2]},
        ("utf-8", ";", ","),
    ),
    "latin-1 said": Good(
        "\u00e4;y\n1;2\n".encode("latin-1"),
        {"\u00e4": [1], "y": [2]},
        ("windows-1252", ";", "."),
        {"encoding": "windows-1252"},
    ),
    "latin-1 declared": Good(
        "\u00b5A;y\n1;2\n".encode("latin-1"),
        {"\u00b5A": [1], "y": [2]},
        ("windows-1252", ";", "."),
        {"charset": "iso-8859-1"},
    ),
    "a line break in a name": Good(b'x,"y\r\nin"\n1,2\n', {"x": [1], "y in": [2]}),
    "a title with delimiters behind it": Good(
        b"Data of one\t\t\nx\ty\n1\t3\n2\t4\n", XY, ("utf-8", "\t", ".")
    ),
    "a line of blanks above": Good(b"    \n\t \nx y\n1 3\n2 4\n", XY, ("utf-8", "space", ".")),
    "not a number of Visual C": Good(
        b"x  y\n0  -1.#IND\n1  2\n", {"x": [0, 1], "y": [NAN, 2]}, ("utf-8", "space", ".")
    ),
    "as many as allowed": Good(
        b"x,a,b\n1,2,3\n\n1,2,3\n\n1,2,3\n\n",
        {"x": [1] * 3, "a": [2] * 3, "b": [3] * 3},
        options={"limits": SMALL},
    ),
}

BAD = {
    "empty": Bad(b"", "no_rows"),
    "only a mark": Bad(b"\xef\xbb\xbf", "no_rows"),
    "only blank lines": Bad(b'\n  \r\n""\n', "no_rows"),
    "only a header": Bad(b"x,y\n", "no_rows"),
    "one column": Bad(b"x\n1\n2\n", "one_column", line=1),
    "header with another delimiter": Bad(b"x;y\n1,2\n", "ragged_row", 0, 2),
    "tsv with commas": Bad(b"x,y\n1,2\n", "one_column", line=1, options=TSV),
    "text": Bad(b"x,y\n1,2\n3,abc\n", "not_a_number", 1, 3, "y"),
    "underscore": Bad(b"x,y\n1_000,2\n", "not_a_number", 0, 2, "x"),
    "per cent": Bad(b"x,y\n1,12%\n", "not_a_number", 0, 2, "y"),
    "hexadecimal": Bad(b"x,y\n0x10,2\n", "not_a_number", 0, 2, "x"),
    "arabic digits": Bad("x,y\n1,\u0661\n".encode(), "not_a_number", 0, 2, "y"),
    "two signs": Bad(b"x,y\n+-1,2\n", "not_a_number", 0, 2, "x"),
    "a point alone": Bad(b"x,y\n.,2\n", "not_a_number", 0, 2, "x"),
    "an exponent alone": Bad(b"x,y\ne5,2\n", "not_a_number", 0, 2, "x"),
    "a space inside": Bad(b"x,y\n1 000,2\n", "not_a_number", 0, 2, "x"),
    "true": Bad(b"x,y\n1,True\n", "not_a_number", 0, 2, "y"),
    "infinity": Bad(b"x,y\n1,inf\n", "not_finite", 0, 2, "y"),
    "minus infinity": Bad(b"x,y\n1,-Infinity\n", "not_finite", 0, 2, "y"),
    "overflow": Bad(b"x,y\n1,2\n1,1e999\n", "not_finite", 1, 3, "y"),
    "both infinities": Bad(b"x,y\n1e999,-1e999\n", "not_finite", 0, 2, "x"),
    "decimal comma, quoted": Bad(b'x,y\n1,"2,5"\n', "decimal_mark", 0, 2, "y"),
    "two decimal marks in a row": Bad(b"x;y\n1.5;2,5\n", "decimal_mark", 0, 2, "y"),
    "two decimal marks in two rows": Bad(b"x;y\n1;1,5\n1;2\n1.5;2\n", "decimal_mark", 2, 4, "x"),
    "thousands separator": Bad(b"x;y\n1;1.234,5\n", "not_a_number", 0, 2, "y"),
    "thousands separators only": Bad(b"x;y\n1;1.234.567\n", "not_a_number", 0, 2, "y"),
    "short row": Bad(b"x,y\n1,2\n3\n", "ragged_row", 1, 3),
    "long row": Bad(b"x,y\n1,2,3\n", "ragged_row", 0, 2),
    "empty name": Bad(b"x,,y\n1,2,3\n", "empty_name", None, 1, ""),
    "duplicate name": Bad(b"\nx,y, y\n1,2,3\n", "duplicate_name", None, 2, "y"),
    "long name": Bad(b"x," + b"y" * 201 + b"\n1,2\n", "long_name", None, 1, "y" * 200),
    "a control character in a name": Bad(b"x,y\x07\n1,2\n", "bad_name", None, 1, "y\x07"),
    "no header, with a gap": Bad(b"0,,NA\n1,2,3\n", "no_header", line=1),
    "comma and semicolon in the header": Bad(b"x,a;b\n1,c;2\n", "ambiguous_delimiter", line=1),
    "only a header, two delimiters": Bad(b"x,a;b\n", "ambiguous_delimiter", line=1),
    "comma or tab": Bad(b"1,2\t\n3,4\t\n", "ambiguous_delimiter", line=1, options=ABSENT),
    "a bad quote under two delimiters": Bad(b'x,a;b\n"1"2,3\n', "ambiguous_delimiter", line=1),
    "quote never closed": Bad(b'x,y\n1,2\n3,"4\n5,6\n', "open_quote", 1, 3),
    "quote never closed in the header": Bad(b'x,y\n\n"1",\n"2\n,3', "open_quote", 1, 4),
    "quote never closed in a long file": Bad(
        b'x,y\n1,"2\n' + b"1,2\n" * 50_000, "open_quote", 0, 2
    ),
    "text after a quote": Bad(b'x,y\n1,"2"3\n', "bad_quote", 0, 2),
    "line after a cell of three lines": Bad(b'x,y\n\n"1\n\n",2\n3,z\n', "not_a_number", 1, 6, "y"),
    "line inside a row of three lines": Bad(b'x,y\n"1\n\n",z\n', "not_a_number", 0, 4, "y"),
    "line after blank lines": Bad(b"x,y\r\n\r\n   \r\n1,z\r\n", "not_a_number", 0, 4, "y"),
    "line with doubled returns": Bad(b"x,y\r\r\n1,2\r\r\n1,z\r\r\n", "not_a_number", 1, 3, "y"),
    "line with returns alone": Bad(b"x,y\r\r1,2\r1,z", "not_a_number", 1, 4, "y"),
    "numbers without names below a title": Bad(
        b"Order: Qx, I(Qx,Qy)\n\n1\t2\t3\t4\n4\t5\t6\t7\n", "no_header", line=3
    ),
    "a third column of numbers later": Bad(b"1,2,\n3,4,5\n", "no_header", line=1),
    "numbers without names": Bad(b"1,2,3\n4,5,6\n", "no_header", line=1),
    "infinity without a header": Bad(b"0,inf\n1,2\n", "not_finite", 0, 1, "y1"),
    "per cent without a header": Bad(b"-1,12 %\n1,2\n", "not_a_number", 0, 1, "y1"),
    "thousands without a header": Bad(b"1.234,5;2,5\n1,5;2,5\n", "not_a_number", 0, 1, "x"),
    "two tables": Bad(b"V,I\n0,1\n1,2\n\nV,I\n0,1\n", "two_tables", 2, 6),
    "two tables, the first wider": Bad(b"1,2,3\n4,5\n6,7\n", "two_tables", line=1, options=ABSENT),
    "two tables of other delimiters": Bad(
        b"#x,y\n1,2\n wl  a\n400.0  0.1\n400.5  0.2\n", "two_tables", 1, 4
    ),
    "a table of two exports": Bad("x,y\n1,2\n\ufeffx,y\n2,3\n".encode(), "two_tables", 1, 4),
    "a word for the last x": Bad(b"x,y\n1,2\n2O,2\n", "not_a_number", 1, 3, "x"),
    "names with numbers between": Bad(
        b"X,CH1,Start\nSequence,Volt,1e-3\n0,1,\n1,2,\n", "unclear_row", line=2
    ),
    "thousands or decimals": Bad(b'x\ty\n998\t1\n999\t"1,001"\n', "ambiguous_thousands", line=3),
    "a name in the first cell of each row": Bad(
        b"name,400,401\nquartz,1,2\n", "not_a_number", 0, 2, "name"
    ),
    "no name and no number": Bad(b";\n-;", "no_columns", options={"header": "present"}),
    "a time": Bad(b"t,y\n13:40:25.8,1\n13:40:26,2\n", "not_a_number", 0, 2, "t"),
    "a name for a column with numbers only": Bad(b"a,,y\n1,2,3\n", "empty_name", line=1, column=""),
    "first row bad": Bad(b"x,y\n1,abc\n2,3\n3,4\n", "not_a_number", 0, 2, "y"),
    "an unknown column": Bad(b"x,y\n1,2\n", "unknown_column", options={"columns": ("z",)}),
    "a position behind all": Bad(b"x,y\n1,2\n", "unknown_column", options={"columns": ("#3",)}),
    "an odd number of columns": Bad(
        b"x,y,z\n1,2,3\n", "odd_columns", error=InvalidOption, options={"layout": "pairs"}
    ),
    "a decimal mark that parts cells": Bad(
        b"x,y\n1,2\n", "invalid", error=InvalidOption, options={"decimal": ","}
    ),
    "an encoding that does not fit": Bad(
        b"x,y\n1,2\n3", "undecodable", line=1, error=InvalidOption, options={"encoding": "utf-16"}
    ),
    "an unknown charset": Bad(
        b"x,y\n1,2\n", "unknown_charset", error=InvalidOption, options={"charset": "koi8-r"}
    ),
    "latin-1": Bad(b"x,y\n1,2\n\xb0,3\n", "undecodable", line=3, error=UnreadableFile),
    "half a character": Bad(b"x,y\n1,2\n\xe2\x82", "undecodable", line=3, error=UnreadableFile),
    "half a utf-16 character": Bad(
        b"\xff\xfex\0,\0y\0\r\0\n\0a", "undecodable", line=2, error=UnreadableFile
    ),
    "undecodable after returns": Bad(
        b"x,y\r1,2\r\xff", "undecodable", line=3, error=UnreadableFile
    ),
    "NUL": Bad(b"x,y\r\n1,\0\r\n", "nul_byte", line=2, error=UnreadableFile),
    "utf-16 without a mark": Bad(
        "x,y\n1,2".encode("utf-16-le"), "nul_byte", line=1, error=UnreadableFile
    ),
    "utf-32": Bad("\ufeffx,y".encode("utf-32-le"), "nul_byte", line=1, error=UnreadableFile),
    "unknown x": Bad(b"x,y\n1,2\n", "unknown_column", options={"x_column": "X"}),
    "too many columns": Bad(
        b"x,a,b,c\n1,2,3,4\n", "too_many_columns", line=1, error=TooLarge, options={"limits": SMALL}
    ),
    "too many rows": Bad(
        b"x,y\n1,2\n\n3,4\n5,6\n7,8\n",
        "too_many_rows",
        line=6,
        error=TooLarge,
        options={"limits": SMALL},
    ),
    "too many rows without header": Bad(
        b"1,2\n" * 4, "too_many_rows", line=4, error=TooLarge, options=ABSENT | {"limits": SMALL}
    ),
    "a line without end": Bad(
        b"x,y\n" + b" " * 200_000, "long_line", line=2, error=TooLarge, options={"limits": SMALL}
    ),
    "a number without end": Bad(
        b"x,y\n1,2\n3," + b"0" * 200_000,
        "long_line",
        line=3,
        error=TooLarge,
        options={"limits": SMALL},
    ),
}


@pytest.fixture(params=[CHUNK_BYTES, 7])
def chunk_bytes(request):
    """A file is one piece, or many."""
    return request.param


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_reads(case, chunk_bytes):
    table, source = read(case.data, chunk_bytes=chunk_bytes, **case.options)
    np.testing.assert_equal(columns_of(table), case.columns)
    assert list(table.columns) == list(case.columns)
    assert (source.encoding, source.delimiter, source.decimal) == case.source
    assert table.y.flags.c_contiguous
    assert table.y.dtype == table.x.dtype == np.float64


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_refuses(case, chunk_bytes):
    with pytest.raises(case.error) as raised:
        read(case.data, chunk_bytes=chunk_bytes, **case.options)
    fact = raised.value.facts[0]
    assert (fact.code, fact.row, fact.line, fact.column) == (
        case.code,
        case.row,
        case.line,
        case.column,
    )
    assert fact.detail in raised.value.detail


def test_the_source_says_how():
    _, source = read("\ufeff1,5\t2".encode(), format="tsv", header="absent")
    assert source == Source(
        "tsv",
        "utf-8-sig",
        "\t",
        ",",
        "absent",
        first_line=1,
        last_line=1,
        layout="columns",
        units="absent",
    )


def test_minus_zero_keeps_its_sign():
    table, _ = read(b"x,y\n-0,-0.0\n")
    assert np.signbit([table.x, table.y[0]]).all()


def test_all_errors_are_named_in_the_order_of_the_file():
    with pytest.raises(InvalidTable) as raised:
        read(b"x,y\n1e999,z\n1\n2,3\n4,1_0\n")
    facts = raised.value.facts
    assert [(fact.code, fact.row, fact.column) for fact in facts] == [
        ("not_finite", 0, "x"),
        ("not_a_number", 0, "y"),
        ("ragged_row", 1, None),
        ("not_a_number", 3, "y"),
    ]
    assert raised.value.detail == f"There are 4 errors, the first: {facts[0].detail}"
    assert facts[0].detail == "Line 2, column 'x': '1e999' is too large for float64."


def test_errors_before_a_stray_quote_stay():
    with pytest.raises(InvalidTable) as raised:
        read(b'x,y\n1,z\n1,"2\n')
    assert [fact.code for fact in raised.value.facts] == ["not_a_number", "open_quote"]


def test_twenty_errors_are_enough():
    # Long rows, so that few are looked at for numbers before.
    rows = itertools.chain([b"x,y\n"], itertools.repeat(b"1," + b"z" * 60 + b"\n"))
    with pytest.raises(InvalidTable) as raised:
        read_text(Endless(rows), "csv")
    assert len(raised.value.facts) == 20
    assert raised.value.facts[-1].row == 19
    assert raised.value.detail.startswith("There are at least 20 errors, the first: Line 2,")


def test_an_undecodable_byte_is_located():
    head = b"\xef\xbb\xbfx,y\n" + b"1,2\r\n" * 50_000
    with pytest.raises(UnreadableFile, match=f"^Line 50002 cannot be read: byte {len(head) + 2} "):
        read(head + b"1,\xff\n")


@pytest.mark.parametrize("cell", ["z" * 1000, "\u2028" * 100, "'" * 50 + '""' * 50])
def test_a_cell_is_shown_short(cell):
    with pytest.raises(InvalidTable) as raised:
        read(f'x,y\n1,"z{cell}"\n'.encode())
    shown = raised.value.detail.removeprefix("Line 2, column 'y': ").removesuffix(
        " is not a number."
    )
    assert len(shown) == 40
    assert shown.endswith("...")


def test_a_seed_file_with_a_space_in_its_header():
    table, _ = read(b"X, Y1,Y2\n-20,39.778572,-40.07859\n-19.9,39.604813,-39.784\n")
    assert table.columns == ("X", "Y1", "Y2")
    assert table.y.tolist() == [[39.778572, 39.604813], [-40.07859, -39.784]]


class Endless(io.RawIOBase):
    """A stream that is made while it is read, in pieces as they come; no seek, no length."""

    def __init__(self, pieces):
        super().__init__()
        self.pieces = iter(pieces)
        self.given = 0
        self.rest = b""

    def readable(self):
        return True

    def read(self, size=-1):
        assert size > 0, "a stream must not be read at once"
        self.rest = self.rest or next(self.pieces, b"")
        piece, self.rest = self.rest[:size], self.rest[size:]
        self.given += len(piece)
        return piece


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([b"x,y\n", itertools.repeat(b"1,2\n" * 999)], "too_many_rows"),
        ([b"x,y\n", itertools.repeat(b'""\n' * 999)], "too_many_rows"),
        ([b"x", itertools.repeat(b",y" * 999)], "long_line"),
        ([b'x,y\n1,"', itertools.repeat(b"2\n" * 999)], "open_quote"),
        ([b'x,y\n1,"', itertools.repeat(b"\n" * 999)], "open_quote"),
    ],
)
def test_what_is_too_large_is_not_read_to_its_end(data, code):
    stream = Endless(itertools.chain([data[0]], data[1]))
    with pytest.raises(CurveError) as raised:
        read_stream(stream, limits=ReadLimits(max_columns=100, max_rows=100_000))
    assert raised.value.facts[0].code == code
    assert stream.given < 1_000_000


def test_a_stream_is_read_once_and_in_pieces():
    rows = 30_000
    pieces = (f"{i},{i / 7!r}\r\n".encode() for i in range(rows))
    table, _ = read_stream(Endless(itertools.chain([b"x,", b"y\r", b"\n"], pieces)), format="csv")
    assert table.x.tolist() == list(range(rows))
    assert table.y[0].tolist() == [i / 7 for i in range(rows)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
@pytest.mark.parametrize("shift", range(5))
def test_the_border_of_two_chunks_changes_nothing(end, shift):
    """Chunks are 65536 bytes; the first line moves every later one across the border."""
    rows = 12_000
    text = "x," + "y" * (shift + 1) + end + f"1,2.5{end}" * rows + f"1,z{end}"
    with pytest.raises(InvalidTable) as raised:
        read(text.encode())
    assert raised.value.facts[0].line == rows + 2


def test_a_wide_file():
    names = [f"c{position}" for position in range(10_000)]
    numbers = np.arange(20_000.0).reshape(2, -1) / 3
    data = b"".join(csv_lines(names, numbers.T))
    table, _ = read(data)
    assert np.array_equal(table.y, numbers.T[1:])
    with pytest.raises(TooLarge):
        read(data, limits=ReadLimits(max_columns=9_999))


class TestPickX:
    def test_needs_a_curve_beside_x(self):
        with pytest.raises(InvalidTable) as raised:
            pick_x(("x",), np.ones((1, 2)), None)
        assert raised.value.facts[0].code == "one_column"

    def test_needs_a_row(self):
        with pytest.raises(InvalidTable) as raised:
            pick_x(("x", "y"), np.ones((2, 0)), None)
        assert raised.value.facts[0].code == "no_rows"

    def test_an_unknown_name_is_a_wrong_parameter(self):
        with pytest.raises(InvalidTable) as raised:
            pick_x(("x", "y"), np.ones((2, 2)), "z")
        assert raised.value.facts[0].parameter == "x_column"

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_parts_x_from_the_rest(self, position):
        values = np.arange(6.0).reshape(3, 2)
        names = ["a", "b", "c"]
        table = pick_x(tuple(names), values, names.pop(position))
        assert table.x.tolist() == values[position].tolist()
        assert table.names == tuple(names)
        assert table.y.tolist() == np.delete(values, position, axis=0).tolist()
        assert table.y.flags.c_contiguous

    def test_makes_one_nan_of_all(self):
        strange = np.array([[1.0], [np.nan]])
        strange.view(np.uint64)[1] |= 12345
        table = pick_x(("x", "y"), strange, None)
        assert table.y.tobytes() == np.array([np.nan]).tobytes()


finite = st.floats(allow_nan=False, allow_infinity=False)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(finite, *[finite | st.none()] * width), min_size=1, max_size=8)
)


@given(
    rows=tables,
    delimiter=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    end=st.sampled_from(["\n", "\r\n", "\r\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_written_is_read_to_the_bit(rows, delimiter, decimal, end, encoding):
    assume(delimiter != decimal)
    columns = list(zip(*rows, strict=True))
    names = ("x", *(f"y{position}" for position in range(1, len(columns))))
    text = b"".join(csv_lines(names, columns)).decode()
    text = text.replace(",", delimiter).replace(".", decimal).replace("\n", end)
    table, source = read(text.encode(encoding))
    expected = pick_x(names, np.array(columns, dtype=np.float64), None)
    assert same(table, expected)
    assert (source.delimiter, source.decimal) == (delimiter, decimal if decimal in text else ".")


names_in_use = st.text(
    st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), min_size=1, max_size=9
).map(str.strip)


@given(st.lists(names_in_use.filter(bool), min_size=1, max_size=5, unique=True))
@example(['"', ",", ";;", "|", "x"])
@example(['a"b', "c , d"])
def test_names_survive_the_way_out_and_in(names):
    """Names with other delimiters are quoted too, or the header would be ambiguous."""
    assume("first" not in names)
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in ["first", *names])
    row = ",".join("1" * (len(names) + 1))
    table, _ = read(f"{quoted}\n{row}\n".encode(), x_column="first")
    assert list(table.names) == names
    plain = next(csv_lines(["first", *names], [[1.0]] * (len(names) + 1)))
    again, _ = read(plain + f"{row}\n".encode(), x_column="first")
    assert same(again, table)


cells = st.one_of(
    finite.map(repr),
    st.from_regex(r"\A[-+0-9.,eE_ ]{0,6}\Z"),
    st.sampled_from(["", " ", "nan", "NA", "inf", "-inf", "1e999", "1,5", "1.5", "\u0661", "1_0"]),
)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from(";|\t"))
def test_the_fast_way_and_the_careful_way_agree(rows, delimiter):
    """A quoted cell is never read the fast way."""

    def outcome(mark):
        lines = [delimiter.join(f"{mark}{cell}{mark}" for cell in row) for row in rows]
        text = "\n".join([f"x{delimiter}y", *lines])
        try:
            table, source = read(text.encode(), delimiter=delimiter.replace("\t", "tab"))
        except InvalidTable as error:
            # The rules that find the table look at lines as they are written.
            return bool(error.facts)
        return table_sha256(table), replace(source, skipped=())

    assert outcome("") == outcome('"')


@given(finite)
@example(-0.0)
@example(5e-324)
def test_every_number_has_the_bits_of_float(number):
    for text in (repr(number), f"{number:.20e}", f"{number:+.30g}"):
        table, _ = read(f"x,y\n{text},\n1,{text}\n".encode())
        wanted = np.float64(float(text)).tobytes()
        assert (table.x[:1].tobytes(), table.y[0, 1:].tobytes()) == (wanted, wanted)


pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b",", b";", b"\t", b"|", b'"', b'""', b" ", b"\xc2\xa0", b"\0", b"\xff"]),
    st.sampled_from([b"\n", b"\r\n", b"\r\r\n", b"\r"]),
    st.sampled_from([b"x", b"y", b"1", b"1.5", b"1,5", b"nan", b"inf", b"1e999", b"-"]),
    st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]),
    st.sampled_from([b"x,y\n1,2\n", b"x;y\n1,5;2,5\n"]),
)


def by_the_csv_module(data, source):
    """Read what is known to be a table; the slow, obvious way, for comparison."""
    text = data.decode(source.encoding).lstrip("\ufeff")
    lines = re.split("\r\r?\n|\r|\n", text)[source.first_line - 1 : source.last_line]
    if source.units == "present":
        lines = [line for line in lines if line not in source.skipped]
    delimiter = source.delimiter
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, strict=True)
    rows = [[cell.strip() for cell in row] for row in reader]
    rows = [row for row in rows if row not in ([], [""])]
    names = None
    if source.header == "present":
        names = [" ".join(name.split("\n")) for name in rows.pop(0)]
    if source.units == "present":
        rows.pop(0)
    width = max(map(len, rows))
    rows = [row if any(row) else [""] * width for row in rows]
    numbers = [
        [NAN if cell.lower() in GAPS else as_float(cell, source.decimal) for cell in row]
        for row in rows
    ]
    if names is None:
        cells = [at for row in rows for at, cell in enumerate(row, 1) if cell.lower() not in GAPS]
        filled = max(cells, default=2)
        names = ["x", *(f"y{position}" for position in range(1, max(filled, 2)))]
    names = [*names, *[""] * width][: max(width, len(names))]
    kept = [at for at, name in enumerate(names) if name]
    return pick_x(tuple(names[at] for at in kept), np.array(numbers).T[kept], None)


def as_float(cell, decimal):
    """The number of a cell, also with an exponent of Fortran or a real minus sign."""
    plain = cell.replace(decimal, ".").replace("\u2212", "-")
    return float(re.sub("[dD](?=[+-]?[0-9])", "e", plain))


def is_text(data, encoding):
    """Tell whether bytes are text in an encoding; lines above the numbers may be none."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def check_outcome(data, **options):
    """Read anything: it is refused with facts, or it is what the csv module reads."""
    try:
        table, source = read(data, **options)
    except CurveError as error:
        return bool(error.facts) and all(fact.detail and fact.code for fact in error.facts)
    if not (np.isfinite(table.y) | np.isnan(table.y)).all():
        return False
    if source.comment or source.delimiter == "space" or not is_text(data, source.encoding):
        return True  # that module knows none of these
    try:
        other = by_the_csv_module(data, source)
    except (csv.Error, ValueError):
        # That module refuses spaces after a quote, or takes the quote after a space as it is.
        return b'"' in data
    return same(table, other) or '"' in "".join(other.columns)


@pytest.mark.slow
@examples(1000)
@given(
    st.lists(pieces, max_size=20).map(b"".join),
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from(["present", "absent"]),
)
def test_any_bytes_give_a_true_table_or_a_clear_error(data, kind, header):
    assert check_outcome(data, format=kind, header=header)


@pytest.mark.slow
@examples(1000)
@given(
    st.sampled_from([case for case in [*GOOD.values(), *BAD.values()] if len(case.data) < 999]),
    st.data(),
)
def test_a_changed_file_gives_a_true_table_or_a_clear_error(case, choices):
    at = choices.draw(st.integers(0, len(case.data)))
    end = choices.draw(st.integers(at, min(len(case.data), at + 3)))
    changed = case.data[:at] + choices.draw(pieces) + case.data[end:]
    options = {key: value for key, value in case.options.items() if key in {"format", "header"}}
    assert check_outcome(changed, **options)


@pytest.mark.parametrize("marks", [1, 2, 3, 500])
@pytest.mark.parametrize("mark", ["utf-8", "utf-16-le", "utf-16-be"])
def test_any_number_of_marks_is_part_of_no_name(marks, mark):
    table, _ = read(("\ufeff" * marks + "x,y\n1,3\n2,4\n").encode(mark))
    assert (table.x_name, table.names, table.y.tolist()) == ("x", ("y",), [[3.0, 4.0]])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n", "\r\r\r\n", "\n\r"])
def test_line_ends_in_any_number_count_as_always(end):
    blank = end * 1000
    table, _ = read(f"x,y{blank}1,2{blank}".encode())
    assert table.y.tolist() == [[2.0]]
    lines = len(re.split("\r\r?\n|\r|\n", f"x,y{blank}1,2{blank}"))
    with pytest.raises(InvalidTable) as caught:
        read(f"x,y{blank}1,2{blank}a,2".encode())
    assert caught.value.facts[0].line == lines


def test_millions_of_blank_lines_cost_little():
    started = time.process_time()
    with pytest.raises(InvalidTable):
        read(b"\n\r" * 4_000_000)
    # A quiet machine takes half a second; each line by itself took four.
    assert time.process_time() - started < 3


@pytest.mark.parametrize("first", [b"ISIS_83404.TXT", b" "])
def test_a_line_of_blanks_is_blank_above_numbers_parted_by_blanks(first):
    lines = [first.ljust(80), b" " * 80, *(b" %d  %d" % (at, 2 * at) for at in range(30))]
    table, _ = read(b"\n".join(lines), stem="y")
    assert (len(table.x), table.x[:3].tolist()) == (30, [0, 1, 2])


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, " and header=absent"), ({"header": "absent"}, "")],
    ids=["auto", "absent"],
)
def test_one_refusal_names_every_option_that_a_table_without_names_needs(options, said):
    text = b"Run 7\n3 4\n\n1 2 3\n4 5 6\n7 8 9\n"
    with pytest.raises(InvalidTable) as caught:
        read_text(io.BytesIO(text), "csv", ReadOptions(**options))
    (fact,) = caught.value.facts
    assert fact.detail.startswith(f"Say first_line=4{said} if the table starts there: line 2 holds")
    assert (fact.parameter, fact.line) == ("first_line", 2)
    told = ReadOptions(first_line=4, header="absent")
    with closing(read_text(io.BytesIO(text), "csv", told)) as read:
        assert read.parts[0].curves.x.tolist() == [1.0, 4.0, 7.0]
