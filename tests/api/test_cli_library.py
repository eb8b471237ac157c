"""`idealfit library`, as its user types it."""

from __future__ import annotations

import os
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from api import library
from api.cli import LIBRARY_SUFFIXES, cli
from tests.spectra import SPECTRA


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    """A folder of three curves, two of which have the same stem, with files that are none."""
    texts = {
        "quartz.csv": "x,y\n0,1\n1,2\n2,4\n",
        "silicon/1.txt": "0 5\n1 2\n2 1\n",
        "1.txt": "0 5\n1 7\n2 1\n",
        ".hidden/2.txt": "no numbers",
        ".3.txt": "no numbers",
        "__MACOSX/._1.txt": "no numbers",
    }
    for name, text in texts.items():
        path = tmp_path / "spectra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "spectra"


def test_a_library_fits_what_it_was_made_of(folder, tmp_path):
    out = tmp_path / "new" / "library.parquet"
    done = run("library", folder, "-o", out)
    assert done.exit_code == 0, done.output
    assert list(pd.read_parquet(out)) == ["x", "1", "quartz", "silicon/1"]
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:5]] for line in lines if "│" in line]
    assert rows == [[name, "csv", "1", ""] for name in ("1.txt", "quartz.csv", "silicon/1.txt")]
    assert lines[-2:] == [
        "3 curves of 3 points from 3 of 3 files; x from 0 to 2, 0 gaps",
        str(out),
    ]
    fitted = run("fit", folder / "quartz.csv", out, "--top-k", "1")
    assert "│ y        │    1 │ quartz │" in fitted.output


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".arrow", pd.read_feather), (".feather", pd.read_feather), (".csv", pd.read_csv)],
)
def test_the_suffix_chooses_the_format_and_a_second_run_leaves_the_library_out(
    folder, suffix, read
):
    out = folder / f"library{suffix}"
    out.write_text("of the last time")
    done = run("library", folder, "-o", out, "--grid", "0:2:0.5")
    assert done.exit_code == 0, done.output
    frame = read(out)
    assert list(frame) == ["x", "1", "quartz", "silicon/1"]
    assert list(frame["quartz"]) == [1.0, 1.5, 2.0, 3.0, 4.0]
    assert not [path for path in folder.iterdir() if "partial" in path.name]


def test_there_is_a_media_type_for_each_suffix(folder):
    assert set(library.MEDIA) == set(LIBRARY_SUFFIXES)
    done = run("library", folder, "-o", "library.xlsx")
    assert done.exit_code == 2
    assert "none of .parquet, .arrow, .feather, .csv" in done.output


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_attributes_of_the_files_are_kept(tmp_path, suffix):
    for name in ("a", "b"):
        content = SPECTRA["jdx"][1]({"x": [1.0, 2.0], "the title": [1.0, 2.0]})
        (tmp_path / f"{name}.jdx").write_bytes(content)
    out = tmp_path / f"library{suffix}"
    done = run("library", tmp_path, "-o", out)
    assert done.exit_code == 0, done.output
    schema = pq.read_schema(out) if suffix == ".parquet" else pa.ipc.open_file(out).schema
    assert b"the title" in schema.field("b").metadata[b"attributes"]


def test_single_files_a_zip_and_options_of_reading(folder, tmp_path):
    out = tmp_path / "library.csv"
    done = run("library", folder / "1.txt", folder / ".3.txt", "-o", out, "--grid", "union")
    assert done.exit_code == 1  # a hidden file that is named is read
    assert done.output.startswith("Error: 3.txt: ")
    archive = tmp_path / "spectra.ZIP"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.txt", "0 void\n1 7\n")
        packed.writestr("b.txt", "0 1\n2 3\n")
    options = ["--gap", "void", "--grid", "union", "--header", "absent"]
    done = run("library", archive, "-o", out, *options)
    assert done.exit_code == 0, done.output
    assert out.read_text() == "x,a,b\n0.0,,1.0\n1.0,7.0,\n2.0,,3.0\n"


def test_a_file_that_cannot_be_read_refuses_all_unless_it_may_be_left_out(folder, tmp_path):
    (folder / "header=.txt").write_text("1,2,3\n2,3,4\n")
    out = tmp_path / "library.csv"
    done = run("library", folder, "-o", out)
    assert done.exit_code == 1
    assert done.output.startswith("Error: header=.txt: Say --header=absent if")
    assert done.output.count("\n") == 1
    assert not out.exists()
    done = run("library", folder, "-o", out, "--skip-unreadable")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Warning: header=.txt: It was left out. Say --header=absent if")
    assert "3 curves of 3 points from 3 of 4 files" in done.stdout


def test_another_x_is_refused_with_the_options(folder, tmp_path):
    (folder / "other.txt").write_text("0 1\n5 1\n")
    done = run("library", folder, "-o", tmp_path / "library.csv")
    assert done.exit_code == 1
    assert "Say --grid=union, --grid=common or --grid=start:stop:step" in done.output


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "Give files of curves; there are none in "),
        (["a.txt"], "Give files with two curves or more"),
        (["missing"], "No such file"),
    ],
)
def test_without_two_curves_there_is_no_library(tmp_path, given, reason):
    (tmp_path / "a").mkdir()
    for name in given:
        path = tmp_path / "a" / name
        path.symlink_to("nothing") if name == "missing" else path.write_text("0 1\n1 2\n")
    os.mkfifo(tmp_path / "a" / "pipe")
    done = run("library", tmp_path / "a", "-o", tmp_path / "library.csv")
    assert done.exit_code == 1
    assert reason in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "library.csv").exists()


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("FILES", "2", "more than 2 (IDEALFIT_FILES)"), ("BODY_BYTES", "20", "more than 20 bytes")],
)
def test_limits_are_named_before_anything_is_read(folder, monkeypatch, limit, value, reason):
    monkeypatch.setenv(f"IDEALFIT_{limit}", value)
    done = run("library", folder, "-o", folder / "library.csv")
    assert done.exit_code == 1
    assert reason in done.output
