"""Installing: the lock files fit pyproject.toml, and the numbers need NumPy alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {name: (ROOT / f"requirements/{name}.txt").read_text() for name in ("run", "test")}
EXTRAS = {"run": ["postgres"], "test": ["postgres", "dask", "test"]}
"""Optional dependencies in each lock."""

READERS_AND_WRITERS = {"export", "files"}
"""Rooms of the services that know more than NumPy."""


def pins(name):
    """Versions by package in a lock."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", LOCKS[name], re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
class TestLocks:
    def test_hold_every_requirement_within_its_range(self, name):
        asked = list(PROJECT["dependencies"])
        for extra in EXTRAS[name]:
            asked += PROJECT["optional-dependencies"][extra]
        found = pins(name)
        for requirement in map(Requirement, asked):
            if requirement.name != PROJECT["name"]:
                version = found.get(canonicalize_name(requirement.name))
                assert version, f"{requirement.name} is not in the lock: run make lock"
                assert requirement.specifier.contains(version), f"{requirement}: run make lock"

    def test_have_a_hash_for_every_package(self, name):
        entries = re.split(r"^(?=[\w.-]+==)", LOCKS[name], flags=re.MULTILINE)[1:]
        assert len(entries) == len(pins(name))
        assert all("--hash=sha256:" in entry for entry in entries)

    def test_name_no_address(self, name):
        assert not re.search(r"https?:|file:|^-", LOCKS[name], re.MULTILINE)


def test_both_locks_have_the_same_versions():
    assert pins("run").items() <= pins("test").items()


NUMBER_TESTS = [
    path
    for path in sorted((ROOT / "tests/services").rglob("test_*.py"))
    if path.parent.name not in READERS_AND_WRITERS
]
KNOWN_TO_NUMBERS = sys.stdlib_module_names | {"hypothesis", "numpy", "pytest", "services", "tests"}


def imports_of(path):
    """Modules that a file imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    "path",
    [ROOT / "tests/conftest.py", *NUMBER_TESTS],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_tests_of_numbers_import_numbers_alone(path):
    for name in imports_of(path):
        first, *rest = name.split(".")
        assert first in KNOWN_TO_NUMBERS, name
        assert first != "services" or not READERS_AND_WRITERS & set(rest[:1]), name


@pytest.mark.thorough
def test_the_numbers_need_numpy_alone(tmp_path):
    """They are collected and run with NumPy, pytest and Hypothesis, and what those need."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    needed = [f"{name}=={pins('test')[name]}" for name in ("hypothesis", "numpy", "pytest")]
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needed]
    subprocess.run([python, *install], check=True, timeout=10 * PATIENCE)
    done = subprocess.run(
        [
            python,
            "-m",
            "pytest",
            "-q",
            "-m",
            "not thorough",
            "-p",
            "no:cacheprovider",
            *NUMBER_TESTS,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
