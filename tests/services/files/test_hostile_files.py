"""Readers of binary files give a table or one of our errors for any changed bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_changed_files_end_in_a_table_or_a_clear_error(seed):
    command = [sys.executable, "-m", "tests.hostile", "1500", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    counts = json.loads(done.stdout)
    assert sum(counts.values()) == 1500
    known = ("read", "InvalidTable", "UnreadableFile", "TooLarge", "died of SIGABRT")
    assert not [outcome for outcome in counts if not outcome.endswith(known)]
    for kind in ("parquet", "arrow", "xlsx", "jcamp", "spc", "gzip", "zstd"):
        assert counts[f"{kind}: read"] > 0
        assert counts[f"{kind}: UnreadableFile"] > 0
