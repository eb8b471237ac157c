"""Space on a small disk, and exports, with real processes."""

from __future__ import annotations

import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests
import zstandard

from tests.calls import CURVES, check_problem
from tests.faults.service import until

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 96 MiB, where mounting is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def a_bomb():
    """121 kB that become 81 MB of numbers."""
    text = "x," + ",".join(f"y{number}" for number in range(100)) + "\n"
    rows = "".join(f"{row}" + ",1" * 100 + "\n" for row in range(100_000))
    return zstandard.ZstdCompressor().compress((text + rows).encode())


@pytest.mark.parametrize("temporary", ["on it", "elsewhere"])
def test_a_small_file_that_unpacks_to_much_fills_no_disk(small_disk, tmp_path, service, temporary):
    folder = small_disk if temporary == "on it" else tmp_path
    one = service(
        f"sqlite:///{small_disk}/idealfit.db",
        TMPDIR=str(folder),
        IDEALFIT_DISK_RESERVE_BYTES=str(40 * MEBIBYTE),
    )
    calls = one.calls()
    record = calls.a_dataset()
    address = f"/v1/datasets/{record['id']}"
    headers = {"Content-Type": "text/csv", "Content-Encoding": "zstd"}
    body = a_bomb()
    assert len(body) < MEBIBYTE
    reply = calls.post("/v1/datasets", data=body, headers=headers, params={"name": "bomb"})
    assert check_problem(reply, 507)["type"] == "/problems/disk-reserve"
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(60 * MEBIBYTE))
    reply = calls.post("/v1/datasets", {"name": "small", "columns": CURVES})
    assert check_problem(reply, 507)["type"] == "/problems/disk-reserve"
    assert calls.patch(address, {"name": "other"}, etag=calls.get(address).etag).status == 200
    assert calls.delete(address).status == 204
    (small_disk / "filler").unlink()
    assert calls.a_dataset()["id"]


@pytest.mark.parametrize("kills", [pytest.param(0, marks=pytest.mark.thorough), 2])
def test_a_large_export_is_made_once_by_a_worker(service, tmp_path, kills):
    one = service(IDEALFIT_INLINE_SECONDS="0.3", workers=1, web=2)
    calls = one.calls()
    rows = 150_000
    fit = calls.a_fit({"x": [0.0, 1.0], "y": [1.0, 1.0]}, {"x": [0.0, 1.0], "f": [1.0, 1.0]})
    test = calls.a_dataset({"x": [0.5] * rows, "y": [1.0] * rows})
    body = {"fit_id": fit["id"], "test_id": test["id"], "alignment": "linear"}
    reply = calls.post("/v1/mappings", body, headers={"Prefer": "wait=20"})
    address = f"{one.url}{reply.headers['Location']}/export"
    until(lambda: calls.get(reply.headers["Location"]).json["state"] == "succeeded")
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: requests.get(address, timeout=60), range(16)))
    assert {reply.status_code for reply in found} <= {200, 503}
    assert 503 in {reply.status_code for reply in found}
    for _ in range(kills):
        until(one.workers, what="a worker")[0].kill()
    file = until(
        lambda: (got := requests.get(address, timeout=60)).status_code == 200 and got.content
    )
    path = tmp_path / "export.db"
    path.write_bytes(file)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        count = connection.execute("SELECT count(*) FROM mapped_test_data").fetchone()
    assert count == (rows,)
    with closing(sqlite3.connect(one.log.parent / "idealfit.db")) as connection:
        made = connection.execute(
            "SELECT count(*), max(state), max(nbytes) FROM exports"
        ).fetchone()
    assert made == (1, "succeeded", len(file))
