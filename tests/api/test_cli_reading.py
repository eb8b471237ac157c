"""Options of the command line for reading files, as their user types them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from api import reading
from api.cli import cli
from api.http.read_options import _NAMES as READ
from tests.files import a_parquet, a_text, a_workbook
from tests.spectra import SPECTRA

COLUMNS = {"x": [0.5, 1.5, 2.5], "a": [1.5, 2.5, 2.0], "b": [9.0, 9.0, 8.0]}


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def chosen(done):
    """Names of (training, ideal) of the first matches."""
    assert done.exit_code == 0, done.output
    cells = [line.split("│") for line in done.output.splitlines() if line.startswith("│")]
    return [(row[1].strip(), row[3].strip()) for row in cells if row[2].strip() == "1"]


@pytest.fixture
def files(tmp_path):
    """Make a file of some text; the library of two curves is there."""
    (tmp_path / "library.csv").write_bytes(a_text(COLUMNS))
    (tmp_path / "library.parquet").write_bytes(a_parquet(COLUMNS))

    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    make.library = tmp_path / "library.csv"
    make.parquet = tmp_path / "library.parquet"
    return make


def test_there_is_an_option_for_each_field_of_reading():
    assert sorted(reading.READ_NAMES) == sorted(READ)
    for name in ("fit", "run"):
        shown = run(name, "--help").output
        assert all(f" {reading.option_of(field)} " in shown for field in READ)
        assert "--grid" not in shown


ODD = {
    "text": (
        "µ\n1;2;3\n~ mV\n7;1,5;void;0,5\n~ no\n7;2'002,5;x0;1,5\n7;2,5;1;2,5\n1;1;1;1\n".encode(
            "latin-1"
        ),
        (
            "--first-line=4 --last-line=7 --comment ~ --delimiter ; --decimal , --thousands '"
            " --encoding latin-1 --gap x0 --gap void --x-column #4 --columns #3 --columns #2"
            " --header absent --units absent"
        ),
        ["y1", "y2"],
    ),
    "rows": ("x,0.5,1.5,2.5\nq,1.5,2.5,2\n", "--layout rows", ["q"]),
    "sheet": (
        a_workbook(("One", [["x", "p"], [7, 7]]), ("Two", [["x", "y"], [0.5, 1.5], [1.5, 2.5]])),
        "--sheet Two",
        ["y"],
    ),
}
"""Files that are read with options only, these options, and names of the curves."""


@pytest.mark.parametrize("case", ODD)
def test_the_options_reach_the_reader(files, case):
    content, options, names = ODD[case]
    odd = files("odd.xlsx" if case == "sheet" else "odd.txt", content)
    for_it = ["--for", "unknown", "--outside", "omit", "--min-overlap", "0.1", "--top-k", "1"]
    done = run("fit", odd, files.parquet, *options.split(), *for_it)
    assert [training for training, _ in chosen(done)] == names


def test_these_options_are_all():
    given = " ".join(options for _, options, _ in ODD.values())
    assert all(f"{reading.option_of(name)}" in given for name in READ)


def test_options_are_for_all_files_unless_they_are_named(files):
    odd = files("odd.txt", "0,5;1,5;7\n1,5;2,5;7\n2,5;2,0;7\n")
    ends = ["--header", "absent", "--top-k", "1"]
    assert chosen(run("fit", odd, odd, *ends)) == [("y1", "y1"), ("y2", "y2")]
    refused = run("fit", odd, files.parquet, *ends)
    assert refused.exit_code == 1
    assert "library.parquet: Leave out --header: " in refused.output
    assert "--for" in refused.output
    done = run("fit", odd, files.parquet, "--for", "unknown", *ends)
    assert chosen(done) == [("y1", "a"), ("y2", "b")]


def test_run_reads_each_of_three_files(files, tmp_path):
    odd = files("odd.txt", "0,5;1,5;7\n1,5;2,5;7\n2,5;2,0;7\n")
    files_of_run = [odd, files.parquet, odd, "--out", tmp_path / "out", "--header", "absent"]
    assert run("run", *files_of_run, "--for", "training").exit_code == 1
    done = run("run", *files_of_run, "--for", "training", "--for", "test")
    assert done.exit_code == 0, done.output
    assert " of 6 points mapped" in done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1,2,3\n2,3,4\n", "Say --header=absent if line 1 is data, or --header=present if"),
        (
            "x;y\n1,001;1\n2,002;2\n",
            "Say --decimal=',' or --thousands=',' with --decimal='.': every",
        ),
        ("x,y\n1,2\n\nx,y\n3,4\n", "--first-line=1 and --last-line=2"),
    ],
)
def test_a_refusal_names_options(files, content, said):
    done = run("fit", files("odd.txt", content), files.library)
    assert done.exit_code == 1
    assert said in done.output, done.output


@pytest.mark.parametrize("option", ["--first-line", "--last-line"])
def test_a_value_that_does_not_fit_is_refused_by_its_option(files, option):
    done = run("fit", files.library, files.library, option, "two")
    assert done.exit_code == 1
    assert f"library.csv: {option}: Not" in done.output


def test_a_warning_is_printed_with_its_option(files):
    rows = "".join(f"{x / 2},{x % 3}\n" for x in range(20))
    odd = files("odd.txt", f"x,y\n{rows}10,-9999\n")
    done = run("fit", odd, odd)
    assert done.stderr.startswith(f"Warning: {odd}: Column 'y': 1 cell holds -9999")
    assert "Say --gap=-9999 if" in done.stderr
    assert "Warning" not in done.stdout
    assert "Warning" not in run("fit", odd, odd, "--gap=-9999").output


def test_errors_of_a_fit_name_its_options(files):
    other = files("other.csv", "x,y\n1,2\n2,3\n")
    done = run("fit", other, files.library)
    assert "--alignment=linear" in done.output
    assert "a larger --x-tolerance, or --outside=omit" in done.output


@click.command()
@click.option("--first-line")
@click.option("--gap")
@click.option("--header")
@click.argument("text")
def say(text, **_):
    click.echo(reading.name_options(text), nl=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Say header=absent.", "Say --header=absent."),
        ("Say first_line=2, or gap=.", "Say --first-line=2, or --gap=."),
        ("first_line: Not one.", "--first-line: Not one."),
        ("Leave out header: none.", "Leave out --header: none."),
        ("The header is in a gap: no.", "The header is in a gap: no."),
        ("Cell 'gap=5' and (\"header='x\") stay, gap=5.", None),
        ("Say thousands=' or gap='-1', header=absent.", None),
        ("Say grid=union, or subheader=5.", "Say grid=union, or subheader=5."),
    ],
)
def test_only_names_of_options_become_options(text, said):
    said = said or text.replace(" gap=", " --gap=").replace(" header=a", " --header=a")
    assert CliRunner().invoke(say, ["--", text]).output == said


@pytest.mark.parametrize("ending", SPECTRA)
def test_an_option_that_means_nothing_in_a_format_is_refused(files, ending):
    file = files(f"s.{ending}", SPECTRA[ending][1]({"x": [1.0, 2.0], "y": [1.0, 2.0]}))
    done = run("fit", file, files.library, "--sheet", "One")
    assert done.exit_code == 1
    assert f"s.{ending}: Leave out --sheet" in done.output
