"""The process that reads a binary file: its output, and how it may end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import numpy as np
import openpyxl
import pytest

from services.errors import InvalidTable, TooLarge, UnreadableFile
from services.files import ReadOptions, read_in_sandbox, sandbox
from tests.factories import load_table
from tests.files import a_parquet, a_sheet
from tests.waiting import until

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
    sandbox.spare.prepare()
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


@pytest.fixture(autouse=True)
def _no_spare():
    """Drop the reader that another test left."""
    sandbox.spare.drop()
    yield
    sandbox.spare.drop()


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


def test_the_reader_does_not_load_pandas(monkeypatch, tmp_path):
    """The pyarrow of a client's environment would, for two seconds."""
    seen = []
    start = subprocess.Popen

    def popen(command, **options):
        with (tmp_path / "imports").open("wb") as log:
            command = [command[0], "-X", "importtime", *command[1:]]
            seen.append(start(command, **options | {"stderr": log}))
        return seen[-1]

    monkeypatch.setattr("services.files.sandbox.subprocess.Popen", popen)
    monkeypatch.setattr(sandbox.spare, "prepare", lambda: None)
    read(a_parquet(COLUMNS), "parquet")[0].close()
    imports = (tmp_path / "imports").read_text()
    assert "pyarrow.lib" in imports
    assert "pandas.core" not in imports


def test_the_next_reader_waits_and_serves_one_file():
    read(a_parquet(COLUMNS), "parquet")[0].close()
    first = sandbox.spare.reader.process
    assert first.poll() is None
    curves, _ = read(a_parquet(COLUMNS), "parquet")
    with closing(curves):
        assert load_table(curves).names == ("y1", "y2")
    assert first.returncode == 0
    second = sandbox.spare.reader.process
    assert second is not first
    sandbox.spare.drop()
    assert second.returncode is not None


def test_a_reader_that_died_while_it_waited_is_replaced():
    sandbox.spare.prepare()
    process = sandbox.spare.reader.process
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    read(a_parquet(COLUMNS), "parquet")[0].close()


def test_a_reader_that_cannot_be_prepared_fails_nothing(monkeypatch):
    sandbox.spare.prepare()

    def refuse(*_args, **_options):
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("services.files.sandbox.subprocess.Popen", refuse)
    read(a_parquet(COLUMNS), "parquet")[0].close()
    assert sandbox.spare.reader is None


def test_a_waiting_reader_ends_with_the_service():
    code = "import os, sys; from services.files.sandbox import spare; spare.prepare();"
    code += "print(spare.reader.process.pid, flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], stdout=PIPE, check=False)
    process = Path(f"/proc/{int(done.stdout)}")
    # It may become a zombie of whoever adopts it.
    until(lambda: not process.exists() or ") Z " in (process / "stat").read_text())


def test_long_options_reach_the_reader():
    with pytest.raises(InvalidTable) as error:
        read(a_parquet(COLUMNS), "parquet", x_column="é" * 300_000)
    assert error.value.facts
