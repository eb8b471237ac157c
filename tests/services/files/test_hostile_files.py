"""Readers of files give a table or one of our errors for any changed bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

KNOWN = ("read", "InvalidTable", "InvalidOption", "UnreadableFile", "TooLarge")


def outcomes(total, seed, *kind):
    command = [sys.executable, "-m", "tests.hostile", str(total), str(seed), *kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    counts = json.loads(done.stdout)
    assert sum(counts.values()) == total
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_changed_files_end_in_a_table_or_a_clear_error(seed):
    counts = outcomes(1500, seed)
    assert not [outcome for outcome in counts if not outcome.endswith((*KNOWN, "died of SIGABRT"))]
    for kind in ("parquet", "arrow", "xlsx", "text", "jcamp", "spc", "gzip", "zstd"):
        assert counts[f"{kind}: read"] > 0
        assert counts[f"{kind}: UnreadableFile"] > 0


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["jcamp", "spc", "text", "xlsx"])
def test_files_with_very_many_changes(kind):
    counts = outcomes(20_000, 1, kind)
    assert not [outcome for outcome in counts if not outcome.endswith(KNOWN)]
    assert counts[f"{kind}: read"] > 1000
