"""Places of reading processes are counted over all processes and freed by dead ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from services.errors import Busy
from services.files import ReadOptions, read_in_sandbox
from services.files.limits import ReadLimits
from services.files.places import hold_place
from tests.files import a_parquet

ROOT = Path(__file__).parents[3]

HOLD = """
import os, signal, subprocess, sys
from services.files.places import hold_place
with hold_place(2, seconds=1) as lock:
    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    print(child.pid, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the locks are, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_there_are_so_many_and_no_more():
    with hold_place(2, seconds=1), hold_place(2, seconds=1):
        with pytest.raises(Busy, match="again"), hold_place(2, seconds=0.05):
            pytest.fail("there were three")
        with hold_place(3, seconds=0):
            pass
    with hold_place(2, seconds=0), hold_place(2, seconds=0):
        pass


def test_a_place_is_held_until_its_holder_and_its_reader_are_gone():
    command = [sys.executable, "-c", HOLD]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    reader = int(holder.stdout.readline())
    with hold_place(2, seconds=0):
        holder.kill()
        holder.wait()
        holder.stdout.close()
        with pytest.raises(Busy), hold_place(2, seconds=0.05):
            pytest.fail("the reader still runs")
        os.kill(reader, signal.SIGKILL)
        with hold_place(2, seconds=60):
            pass


def test_a_file_is_not_read_without_a_place():
    options = ReadOptions(limits=ReadLimits(processes=1, wait_seconds=0.05))
    data = a_parquet({"x": [0.0, 1.0], "y": [1.0, 2.0]})
    with tempfile.TemporaryFile() as file:
        file.write(data)
        with hold_place(1, seconds=1), pytest.raises(Busy):
            read_in_sandbox(file, "parquet", options)
        read_in_sandbox(file, "parquet", options).close()


def test_a_folder_of_someone_else_is_not_used(folder):
    (folder / f"idealfit-readers-{os.getuid()}").symlink_to("/")
    with pytest.raises(PermissionError, match="TMPDIR"), hold_place(1, seconds=1):
        pytest.fail("it was used")
