"""The list of slow tests names tests that exist."""

from __future__ import annotations

from tests.conftest import SLOW


def test_every_slow_test_exists():
    """After a new name, change tests/slow.txt too, or run: make slow."""
    for name in SLOW.read_text().splitlines():
        path, *_, function = name.split("::")
        assert f"def {function}(" in (SLOW.parents[1] / path).read_text(), name
