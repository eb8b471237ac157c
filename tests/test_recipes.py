"""The recipes of docs/architecture.md, begun in a copy: `make check` names what is still to do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text()
NAMED = re.compile(r"^([\w/]+\.py):\d+: error", re.MULTILINE)

RECIPES = {
    "Add a criterion": (
        ("services/choices.py", '"sse", "mae", "max"', '"sse", "mae", "max", "median"'),
        {
            "services/scoring/scores.py",
            "services/scoring/figures.py",
            "services/bounds/rounding.py",
            "services/bounds/sieve.py",
            "services/fitting/search.py",
            "api/jobs/estimate.py",
        },
    ),
    "Add a transform": (
        ("services/choices.py", '"scale", "affine"', '"scale", "affine", "quadratic"'),
        {"services/scoring/options.py"},
    ),
    "Add a file format": (
        ("services/files/formats.py", 'Literal["csv", "tsv"]', 'Literal["csv", "tsv", "psv"]'),
        {"services/files/formats.py", "services/files/text.py", "api/http/one_file.py"},
    ),
}
"""First edit of each recipe, and the files that mypy names after it."""

DOCUMENT = {
    "Add a criterion": RECIPES["Add a criterion"][0],
    "Add a limit": (
        "api/limits.py",
        "    columns: int",
        '    shelves: int = _limit(3, "Shelves.")\n    columns: int',
    ),
    "Add a route": (
        "api/resources/service.py",
        '@blueprint.route("/v1/limits"',
        """@blueprint.route("/v1/shelves", methods=["GET"])
@blueprint.response(204)
def list_shelves() -> Any:
    "List shelves"
    return "", 204


@blueprint.route("/v1/limits\"""",
    ),
}
"""First edit of each recipe that changes the OpenAPI document."""


@pytest.fixture
def copy(tmp_path):
    """A copy of the code, with what mypy knows of it."""
    for name in ("api", "services", "openapi", ".mypy_cache"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def edit(folder, name, old, new):
    """Replace some text of a file."""
    text = (folder / name).read_text()
    assert old in text, f"{name} has no {old!r} any more"
    (folder / name).write_text(text.replace(old, new, 1))


def run(folder, *command):
    """Run a module in a folder; its exit code and what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


def recipe(title):
    """Text of a recipe."""
    return PAGE.split(f"**{title}.**", 1)[1].partition("\n\n")[0]


def test_the_edits_fit_the_code():
    for name, old, _ in [*(first for first, _ in RECIPES.values()), *DOCUMENT.values()]:
        assert old in (ROOT / name).read_text(), name


@pytest.mark.thorough
@pytest.mark.parametrize("title", RECIPES)
def test_mypy_names_the_places_that_lack_a_word(copy, title):
    words, places = RECIPES[title]
    edit(copy, *words)
    code, output = run(copy, "mypy")
    assert code == 1
    assert set(NAMED.findall(output)) == places, output


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_tells_of_the_places_that_mypy_names(title):
    said = set(re.findall(r"`([\w/]+\.py)`", recipe(title)))
    assert RECIPES[title][1] <= said


@pytest.mark.thorough
@pytest.mark.parametrize("title", DOCUMENT)
def test_the_document_shows_what_is_new(copy, title):
    edit(copy, *DOCUMENT[title])
    code, output = run(copy, "api.cli", "openapi", "--check")
    assert code == 1
    assert "openapi" in output
    assert "make openapi" in recipe(title)
