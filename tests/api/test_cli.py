"""The command line, as its user types it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sqlite3
import subprocess
import sys

import pytest
from click.testing import CliRunner
from rich.console import Console

from api import local
from api.cli import cli
from api.examples import FOLDER, make, write
from services.files import formats
from tests.files import a_parquet, a_text, a_workbook, an_arrow
from tests.spectra import SPECTRA
from tests.waiting import PATIENCE

FILES = [str(FOLDER / f"{name}.csv") for name in ("training", "ideal", "test")]


FORMATS = {
    "csv": lambda columns: ("curves.csv", a_text(columns)),
    "tsv": lambda columns: ("curves.tsv", a_text(columns, "\t")),
    "json": lambda columns: ("curves.json", json.dumps({"columns": columns}).encode()),
    "parquet": lambda columns: ("curves.parquet", a_parquet(columns)),
    "arrow": lambda columns: ("curves.arrow", an_arrow(columns)),
    "xlsx": lambda columns: ("curves.xlsx", a_workbook(("One", rows_of(columns)))),
    "gzip": lambda columns: ("curves.csv.gz", gzip.compress(a_text(columns))),
}


def rows_of(columns):
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]


def run(*arguments, **options):
    return CliRunner().invoke(cli, list(arguments), **options)


def table_of(done):
    """Lines of a printed table, without its head."""
    return [line for line in done.output.splitlines() if line.startswith("│")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(what `idealfit run` printed, its folder) for the example data."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = run("run", *FILES, "--out", str(out))
    assert done.exit_code == 0, done.output
    return done.output, out


def test_run_prints_the_chosen_functions(finished):
    printed, _ = finished
    rows = [line.split() for line in printed.splitlines() if "│" in line]
    assert [(row[1], row[3]) for row in rows] == [
        ("y1", "y4"),
        ("y2", "y18"),
        ("y3", "y29"),
        ("y4", "y42"),
    ]


def test_run_writes_a_row_for_every_assignment_and_unmapped_point(finished):
    _, out = finished
    with (out / "mapped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["point"]) for row in rows} == set(range(100))
    assert all(bool(row["ideal"]) != bool(row["reason"]) for row in rows)


def test_run_writes_the_four_tables(finished):
    _, out = finished
    with sqlite3.connect(out / "project.db") as project:
        counts = {
            name: project.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - our names
            for (name,) in project.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    project.close()
    assert counts.pop("mapped_test_data") >= 100
    assert counts == {"training_data": 400, "ideal_functions": 400, "test_data": 100}


def test_run_writes_a_plot_that_needs_no_network(finished):
    _, out = finished
    page = (out / "plot.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)", page)


def test_a_bad_file_ends_with_one_line(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("x,y\n1,2\n2,two\n")
    done = run("run", str(bad), *FILES[1:], "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "bad.csv" in done.output
    assert "two" in done.output
    assert not (tmp_path / "out").exists()


def test_curves_that_do_not_fit_together_end_with_one_line(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("x,y\n1000,2\n1001,3\n")
    done = run("run", str(other), *FILES[1:], "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "1000" in done.output


def test_a_file_that_cannot_be_written_is_named_in_one_line(tmp_path):
    (tmp_path / "out" / "plot.html").mkdir(parents=True)
    done = run("run", *FILES, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "plot.html" in done.output


@pytest.mark.parametrize(
    "make",
    [
        # Arrow is read by the same process as Parquet.
        pytest.param(make, id=kind, marks=pytest.mark.thorough if kind == "arrow" else ())
        for kind, make in FORMATS.items()
    ],
)
def test_fit_reads_every_format_and_ranks(tmp_path, make):
    name, data = make({"x": [0.0, 1.0, 2.0], "first": [1.0, 2.0, 3.0], "second": [3.0, 2.0, 1.5]})
    (tmp_path / name).write_bytes(data)
    done = run("fit", str(tmp_path / name), str(tmp_path / name), "--top-k", "2")
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in table_of(done)]
    assert rows == [
        ["first", "1", "first"],
        ["first", "2", "second"],
        ["second", "1", "second"],
        ["second", "2", "first"],
    ]


def test_run_without_a_test_file_identifies():
    done = run("run", *FILES[:2])
    assert done.exit_code == 0, done.output
    assert [line.split()[5] for line in table_of(done)] == ["y4", "y18", "y29", "y42"]


def test_run_with_a_test_file_needs_a_folder():
    done = run("run", *FILES)
    assert done.exit_code == 2
    assert "--out" in done.output


def test_fit_writes_a_plot_and_all_matches(tmp_path):
    done = run("fit", *FILES[:2], "--top-k", "3", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    with (tmp_path / "matches.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 12
    assert (tmp_path / "plot.html").read_text().startswith("<!DOCTYPE html>")


def test_no_table_cuts_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"{'a very long name of a curve ' * 5}{number}" for number in range(2)]
    columns = {"x": [0.0, 1.0], names[0]: [1.0, 2.0], names[1]: [2.0, 1.0]}
    (tmp_path / "long.csv").write_bytes(a_text(columns))
    done = run("fit", *[str(tmp_path / "long.csv")] * 2)
    for name in names:
        assert f"│ {name} " in done.output


def test_a_terminal_folds_a_name_and_cuts_none():
    grid = local.make_table("training", "ideal", title="Matches", numbers=["sse"])
    name = "abcdefghij" * 12
    grid.add_row(name, name, "1.5")
    screen = io.StringIO()
    Console(file=screen, width=60, force_terminal=True).print(grid)
    rows = [line.split("│") for line in screen.getvalue().splitlines() if "│" in line]
    assert "".join(row[1].strip() for row in rows) == name
    assert "".join(row[2].strip() for row in rows) == name


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a PNG picture"),
        (b"\x00\x4b\x01\x02\xff\xfe\x90\x80" * 20, "a binary file"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "PDF"),
    ],
)
def test_a_file_that_is_no_text_says_what_it_is(tmp_path, data, kind):
    path = tmp_path / "curves.csv"
    path.write_bytes(data)
    done = run("fit", str(path), FILES[1])
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert kind in done.output
    assert "UTF-8" not in done.output


def test_help_names_every_format_that_is_read():
    assert set(FORMATS) == {*formats.FORMATS, "gzip"} - {"jcamp", "spc"}
    shown = run("fit", "--help").output.lower()
    assert all(format in shown for format in (*formats.FORMATS, "gzip"))


@pytest.mark.parametrize("ending", SPECTRA)
def test_fit_reads_spectra(tmp_path, ending):
    columns = {"x": [0.0, 1.0, 2.0], "some title": [1.0, 2.0, 3.5]}
    file = tmp_path / f"ethanol.{ending}"
    file.write_bytes(SPECTRA[ending][1](columns))
    done = run("fit", str(file), str(file))
    assert done.exit_code == 0, done.output
    assert [cell.strip() for cell in table_of(done)[0].split("│")[1:4]] == [
        "ethanol",
        "1",
        "ethanol",
    ]


def test_help_loads_nothing_heavy():
    program = "import sys; from api.cli import cli; cli(['--help'], standalone_mode=False);"
    program += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "flask", "sqlalchemy", "rich", "pyarrow", "pandas"} & set(loaded)


@pytest.mark.parametrize(
    ("option", "value"), [("--min-overlap", "0"), ("--x-tolerance", "nan"), ("--policy", "most")]
)
def test_a_wrong_option_is_refused_by_name(tmp_path, option, value):
    done = run("run", *FILES, "--out", str(tmp_path / "out"), option, value)
    assert done.exit_code != 0
    assert option.strip("-").replace("-", "_") in done.output.replace("-", "_")


def test_the_examples_are_those_of_the_script(tmp_path):
    write(tmp_path)
    for name in make():
        made, shipped = tmp_path / f"{name}.csv", FOLDER / f"{name}.csv"
        assert made.read_bytes() == shipped.read_bytes()


def test_migrate_goes_down_and_up(tmp_path):
    environment = {"IDEALFIT_DATA": str(tmp_path), "DATABASE_URL": ""}
    for revision in ("head", "base", "head"):
        done = run("migrate", revision, env=environment)
        assert done.exit_code == 0, done.output
        assert str(tmp_path) in done.output


def test_demo_posts_the_examples_and_says_where_to_look(server):
    done = run("demo", "--url", server.url)
    assert done.exit_code == 0, done.output
    address = next(line.strip() for line in done.output.splitlines() if line.endswith("/plot"))
    assert server.session.get(address, timeout=PATIENCE).status_code == 200


def test_demo_without_a_server_says_how_to_start_one():
    done = run("demo", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "idealfit serve" in done.output


def test_a_busy_port_is_one_line(server, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "serve", "--port", str(server.port)],
        env={"IDEALFIT_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(server.port) in done.stderr


def test_a_setting_that_cannot_be_used_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "migrate"],
        env={"IDEALFIT_DATA": str(tmp_path), "IDEALFIT_ROWS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: IDEALFIT_ROWS must be a whole number above 0, not 'many'.\n"
