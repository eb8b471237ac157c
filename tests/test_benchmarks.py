"""The benchmarks are up to date with the code, although the tests do not run them."""

import importlib
from pathlib import Path

import pytest

MODULES = sorted(path.stem for path in Path("benchmarks").glob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_every_benchmark_can_be_imported(module):
    assert importlib.import_module(f"benchmarks.{module}").__doc__
