"""The documentation agrees with the code: its commands give the output that it shows."""

from __future__ import annotations

import doctest
import gzip
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from io import BytesIO
from pathlib import Path

import pytest

from api.cli import cli
from api.limits import GIBIBYTE, MEBIBYTE, Limits
from api.schemas.fits import MatchReply
from api.schemas.mappings import PointReply
from services.files import read_text
from services.fingerprint import table_sha256
from tests.factories import load_table
from tests.files import a_parquet, a_text, a_workbook, an_arrow
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
CODE = {
    path: path.read_text()
    for folder in ("api", "services")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

FIELDS = sorted(({*MatchReply().fields} | {*PointReply().fields}) - {"x", "y"})
"""Fields of a match and of a point."""

VARIABLE = re.compile(
    r'"(IDEALFIT_[A-Z_]+|DATABASE_URL)"|envvar="([A-Z_]+)"|(?:os\.environ|environment)(?:\.get\(|\[)"([A-Z_]+)"'
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_FILE = re.compile(r"(?<![\w/])(?:api|services|tests|benchmarks)/[\w/]+\.(?:py|ts)\b")
BASE_URL = "http://127.0.0.1:8000"


def variables():
    """Names of the environment variables that the code reads."""
    return {
        name for text in CODE.values() for names in VARIABLE.findall(text) for name in names if name
    }


def table_rows(text):
    """Cells of the rows of all tables, without backticks."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in lines]


def with_unit(number):
    """A number as the tables show it; whole mebibytes also in the larger unit."""
    for size, unit in ((GIBIBYTE, "GiB"), (MEBIBYTE, "MiB")):
        if number % size == 0:
            return f"{number} ({number // size} {unit})"
    return str(number)


def section(title):
    """Code blocks of a section of the README, as (language, text)."""
    text = README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return BLOCK.findall(text)


def commands(blocks, language):
    """Pairs of a block and the text block that follows it, empty where none does."""
    followers = [*blocks[1:], ("", "")]
    return [
        (text, after if kind == "text" else "")
        for (found, text), (kind, after) in zip(blocks, followers, strict=True)
        if found == language
    ]


def output_of(command, folder, **environment):
    """What a process writes to stdout, run where the examples are at hand."""
    (folder / "api").symlink_to(ROOT / "api")
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def stripped(text):
    return [line.rstrip() for line in text.strip().splitlines()]


class TestOperations:
    @pytest.mark.parametrize("name", sorted(variables()))
    def test_lists_every_variable_that_is_read(self, name):
        assert f"\n| `{name}` |" in OPERATIONS

    def test_lists_no_variable_that_nobody_reads(self):
        named = {row[0] for row in table_rows(OPERATIONS) if row[0].isupper()}
        assert named == variables()

    def test_lists_the_limits_with_their_defaults(self):
        text = OPERATIONS.split("\n## Limits\n")[1].split("\n## ")[0]
        assert table_rows(text)[2:] == [
            [limit.name, with_unit(limit.default), limit.metadata["description"]]
            for limit in fields(Limits)
        ]

    @pytest.mark.parametrize("command", sorted(cli.commands))
    def test_lists_every_command(self, command):
        assert f"\n| `idealfit {command}` |" in OPERATIONS


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
    def test_links_lead_somewhere(self, page):
        for link in LINK.findall(page.read_text()):
            target, _, anchor = link.partition("#")
            if "://" in target:
                continue
            found = (page.parent / target) if target else page
            assert found.exists(), link
            assert not anchor or anchor in anchors(found), link

    def test_every_page_of_docs_is_in_its_index(self):
        index = ROOT / "docs/README.md"
        linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
        assert {*ROOT.glob("docs/**/*.md")} - {index} <= linked

    def test_decisions_are_numbered_without_a_gap(self):
        numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/adr").glob("*.md"))
        assert numbers == list(range(1, len(numbers) + 1))

    def test_every_page_that_the_code_names_is_there(self):
        for path, text in CODE.items():
            for name in re.findall(r"docs/(?:adr/\d{4}|\w+\.md)", text):
                found = ROOT.glob(f"{name}*" if "adr" in name else name)
                assert any(found), f"{path}: {name}"

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
    def test_every_file_of_code_that_a_page_names_is_there(self, page):
        for name in CODE_FILE.findall(page.read_text()):
            assert (ROOT / name).is_file(), name

    def test_the_changelog_has_a_place_for_what_is_not_released(self):
        assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()

    @pytest.mark.parametrize("word", FIELDS)
    def test_the_glossary_knows_every_field_of_a_match_and_a_point(self, word):
        assert f"`{word}`" in GLOSSARY

    def test_the_picture_is_small(self):
        assert (ROOT / "docs/mapping.png").stat().st_size < 300_000


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


class TestMethod:
    def test_the_examples_give_what_they_show(self):
        failed, tried = doctest.testfile(str(ROOT / "docs/method.md"), module_relative=False)
        assert tried > 0
        assert failed == 0

    def test_the_fingerprint_is_that_of_the_code(self):
        curves = read_text(BytesIO(b"x,y,z\n1,2,2\n2,3,3\n"), format="csv").parts[0].curves
        with closing(curves):
            table = load_table(curves)
        assert table_sha256(table) in (ROOT / "docs/method.md").read_text()


@pytest.mark.slow
class TestReadme:
    def test_the_first_five_minutes_give_what_they_show(self, server, tmp_path):
        steps = commands(section("First five minutes"), "bash")
        mark = "---- next"
        script = "".join(f"{text}\necho '{mark}'\n" for text, _ in steps)
        script = "set -eu\n" + script.replace(BASE_URL, server.url)
        shown = output_of(["bash", "-c", script], tmp_path).split(f"{mark}\n")
        assert [stripped(part) for part in shown[:-1]] == [stripped(text) for _, text in steps]
        assert "<title>" in (tmp_path / "mapping.html").read_text()
        assert (tmp_path / "project.db").read_bytes().startswith(b"SQLite format 3")

    def test_the_same_from_python_gives_what_it_shows(self, server, tmp_path):
        ((program, shown),) = commands(section("The same from Python"), "python")
        program = program.replace(BASE_URL, server.url)
        assert stripped(output_of([sys.executable, "-c", program], tmp_path)) == stripped(shown)

    def test_any_file_goes_in_as_it_shows(self, server, tmp_path):
        ((program, shown),) = commands(section("Any file"), "python")
        program = program.replace(BASE_URL, server.url)
        assert stripped(output_of([sys.executable, "-c", program], tmp_path)) == stripped(shown)

    def test_files_go_in_with_curl_as_it_shows(self, server, tmp_path):
        columns = {"x": [0.0, 1.0], "y": [2.0, 3.0]}
        for name, data in {
            "curves.parquet": a_parquet(columns),
            "curves.xlsx": a_workbook(("Run1", []), ("Run2", [["x", "y"], [0, 2], [1, 3]])),
            "curves.csv.gz": gzip.compress(a_text(columns)),
            "curves.feather": an_arrow(columns, file=True),
        }.items():
            (tmp_path / name).write_bytes(data)
        ((script, _),) = commands(section("Any file"), "bash")
        output = output_of(["bash", "-c", script], tmp_path, URL=server.url)
        assert len(set(re.findall(r'"sha256":"(\w+)"', output))) == 1
        assert output.count('"version":1') == 4

    def test_the_run_without_a_server_gives_what_it_shows(self, tmp_path):
        for number, (line, shown) in enumerate(commands(section("Without a server"), "bash")):
            folder = tmp_path / str(number)
            folder.mkdir()
            command = line.replace(".venv/bin/idealfit", f"{sys.executable} -m api.cli").split()
            output = output_of(command, folder, COLUMNS="80", PYTHONIOENCODING="utf-8")
            assert stripped(output) == stripped(shown)
        assert sorted(path.name for path in (folder / "out").iterdir()) == [
            "mapped.csv",
            "plot.html",
            "project.db",
        ]
