"""The process that reads a binary file: its output, and how it may end."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from services.errors import InvalidTable, TooLarge, UnreadableFile
from services.files import ReadOptions, read_in_sandbox
from services.files.limits import ReadLimits
from services.files.template import standing
from tests.factories import load_table
from tests.files import a_parquet, a_sheet

COLUMNS = {"y1": [1.0, None, 3.0], "x": [0.0, 1.0, 2.0], "y2": [-0.0, 5.0, 6.0]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_in(folder):
    """Files that were not taken away; the locks stay."""
    return [path.name for path in folder.iterdir() if "readers" not in path.name]


def read(data, format, **options):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        found = read_in_sandbox(file, format, ReadOptions(**options))
    return found.parts[0].curves, found.source


@pytest.mark.parametrize(("make", "format"), [(a_parquet, "parquet"), (a_sheet, "xlsx")])
def test_a_table_comes_back_as_it_was(folder, make, format):
    curves, source = read(make(COLUMNS), format)
    table = load_table(curves)
    assert (table.x_name, table.names, source.format) == ("x", ("y1", "y2"), format)
    assert np.array_equal(table.y, [[1, np.nan, 3], [0, 5, 6]], equal_nan=True)
    assert np.signbit(table.y[1, 0])
    assert [len(piece) for piece in curves.read_parts(24)] == [1, 1]
    curves.close()
    assert left_in(folder) == []


def test_integers_are_read_without_pandas():
    """When it makes a scalar, pyarrow looks for pandas."""
    with closing(read(a_parquet({"x": [0, 1], "y": [1, -2]}), "parquet")[0]) as curves:
        assert load_table(curves).y.tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize(
    ("data", "format", "error"),
    [
        (a_parquet({"x": [1.0], "y": ["a"]}), "parquet", InvalidTable),
        (a_parquet({"x": np.zeros(0), "y": np.zeros(0)}), "parquet", InvalidTable),
        (b"PAR1", "parquet", UnreadableFile),
        (b"PK", "xlsx", UnreadableFile),
    ],
)
def test_its_errors_come_back_with_their_facts(folder, data, format, error):
    standing.get()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(error) as raised:
        read(data, format)
    assert raised.value.facts
    assert left_in(folder) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_reader_that_dies_is_too_large():
    """It asks for 512 GB, and Rust ends the process."""
    workbook, sink = openpyxl.Workbook(), io.BytesIO()
    workbook.active["A1"], workbook.active["XFD1048576"] = "x", 1
    workbook.save(sink)
    with pytest.raises(TooLarge) as error:
        read(sink.getvalue(), "xlsx")
    assert error.value.facts[0].code == "reader_died"


def test_a_reader_that_works_too_long_is_too_large():
    """It is killed by its limit of processor time, one second."""
    limits = ReadLimits(seconds=1, max_sheet_bytes=1 << 40, expansion=1 << 30, max_bytes=1 << 40)
    with pytest.raises(TooLarge) as error:
        read(an_endless_archive(1 << 13), "xlsx", limits=limits)
    assert error.value.facts[0].code == "reader_died"


def an_endless_archive(mebibytes):
    """A ZIP archive with one member of so many MiB of zeros, which took no time to write."""
    packer = zlib.compressobj(wbits=-15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = piece * mebibytes
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("xl/workbook.xml", packed)
    data = bytearray(sink.getvalue())
    # Stored becomes deflated: the method, and the unpacked size in the directory at the end.
    at = data.rindex(b"PK\1\2")
    struct.pack_into("<H", data, 8, zipfile.ZIP_DEFLATED)
    struct.pack_into("<H", data, at + 10, zipfile.ZIP_DEFLATED)
    struct.pack_into("<I", data, at + 24, min(mebibytes << 20, 0xFFFFFFFE))
    return bytes(data)


def test_long_options_reach_the_reader():
    with pytest.raises(InvalidTable) as error:
        read(a_parquet(COLUMNS), "parquet", x_column="é" * 300_000)
    assert error.value.facts
