"""The process that reads a binary file: its output, and how it may end."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from subprocess import PIPE

import numpy as np
import openpyxl
import pytest

from services.errors import InvalidTable, TooLarge, UnreadableFile
from services.files import ReadOptions, read_in_sandbox
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
        return read_in_sandbox(file, format, ReadOptions(**options))


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


def test_the_credentials_of_the_database_stay_outside(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/name")
    seen = []

    def popen(*_, env, **__):
        seen.append(env)
        raise OSError("not started")

    monkeypatch.setattr("services.files.sandbox.subprocess.Popen", popen)
    with pytest.raises(OSError, match="not started"):
        read(b"PAR1", "parquet")
    assert seen
    assert "DATABASE_URL" not in seen[0]


def test_the_reader_does_not_load_pandas(tmp_path):
    """The pyarrow of a client's environment would, for two seconds."""
    given = json.dumps({"format": "parquet", "options": asdict(ReadOptions())})
    command = [sys.executable, "-X", "importtime", "-m", "services.files.sandbox_main", given]
    (tmp_path / "file").write_bytes(a_parquet(COLUMNS))
    with (tmp_path / "file").open("rb") as file, (tmp_path / "numbers").open("w+b") as numbers:
        done = subprocess.run(command, stdin=file, stdout=numbers, stderr=PIPE, check=True)
    assert b"pyarrow.lib" in done.stderr
    assert b"pandas.core" not in done.stderr
