"""The benchmarks are up to date with the code, although the tests do not run them."""

import importlib
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import OTHERS, OVER_HTTP

MODULES = sorted(path.stem for path in Path("benchmarks").glob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_every_benchmark_can_be_imported(module):
    assert importlib.import_module(f"benchmarks.{module}").__doc__


@pytest.mark.parametrize("name", OVER_HTTP + OTHERS)
def test_every_benchmark_has_a_main_and_says_its_path(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.main)
    assert "HTTP" in module.__doc__ or "memory" in module.__doc__ or "database" in module.__doc__


def test_the_table_of_lists_and_uploads_runs(capsys):
    """Tiny sizes; the figures mean nothing."""
    large = importlib.import_module("benchmarks.large")
    sizes = ["--curves", "80", "--csv-bytes", "2e4", "--points", "2000", "--records", "1500"]
    large.main([*sizes, "--rounds", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| (?!---)", line)]
    assert len(rows) == (1 + 4) + (1 + 3) + (1 + 8)
