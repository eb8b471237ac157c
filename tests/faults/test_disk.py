"""A full disk or a read-only database gives 503, stores nothing in part, and recovers."""

from __future__ import annotations

import resource
import subprocess
import time
from contextlib import suppress

import pytest
from sqlalchemy import text

from tests.calls import CURVES, check_problem
from tests.faults.service import alive, until

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20


class SmallDisk:
    """A disk of its own, for the database."""

    refusals = (503,)

    def __init__(self, folder):
        self.folder = folder
        self.filler = folder / "filler"
        size = "size=96m"
        command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    def fill(self, _service):
        with self.filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(MEBIBYTE))
        with self.filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1))

    def make_room(self, _service):
        self.filler.unlink()

    def leave(self):
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


class NoMoreBytes:
    """Processes that may not write to any file, the log included; it needs no rights."""

    refusals = (503, 507)
    """A body that needs a temporary file finds no room there, before the database."""

    def __init__(self, folder):
        self.folder = folder

    def fill(self, service):
        self._limit(service, 0)

    def make_room(self, service):
        self._limit(service, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(service, size):
        for process in service.processes():
            process.rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def leave(self):
        pass


@pytest.fixture(params=["small disk", pytest.param("no more bytes", marks=pytest.mark.thorough)])
def disk(request, tmp_path):
    """A disk that can be filled; where mounting is not allowed the second way stands in."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = None
    if request.param == "small disk":
        with suppress(OSError, subprocess.CalledProcessError):
            made = SmallDisk(folder)
    made = made or NoMoreBytes(folder)
    yield made
    made.leave()


def test_the_disk_is_full(disk, service, a_queue, times, healed):
    one = service(f"sqlite:///{disk.folder}/idealfit.db", IDEALFIT_INLINE_SECONDS="0")
    jobs = a_queue(one, curves=1000, functions=40)
    calls = one.calls()
    kept = [calls.a_dataset()]
    etag = calls.get(f"/v1/datasets/{kept[0]['id']}").etag
    for _ in range(times(0.5)):
        for _ in range(3):
            jobs.queue()
        until(jobs.store.running, what="a running job")
        disk.fill(one)
        rows = {f"y{i}": [0.5] * 400 for i in range(100)} | {"x": list(range(400))}
        refused = [
            calls.post("/v1/datasets", {"name": "large", "columns": rows}),
            calls.post(f"/v1/datasets/{kept[0]['id']}/curves", {"columns": CURVES | rows}),
        ]
        assert refused[0].status in disk.refusals
        check_problem(refused[0], refused[0].status)
        assert refused[0].status != 503 or refused[0].headers["Retry-After"] == "1"
        assert refused[1].status in (422, *disk.refusals)
        assert calls.get(f"/v1/datasets/{kept[0]['id']}").etag == etag
        # Not even the log can be written now, and still the dead are replaced.
        worker = one.workers()[0]
        worker.kill()
        until(lambda: not alive(worker))
        until(lambda: len(one.workers()) == 2, what="two workers")
        disk.make_room(one)
        healed(_seconds_until_written(calls, kept))
    found = [record for page in calls.pages("/v1/datasets", name="curves") for record in page]
    assert {record["id"] for record in kept} <= {record["id"] for record in found}
    assert not [record for page in calls.pages("/v1/datasets", name="large") for record in page]
    jobs.check()


def _seconds_until_written(calls, kept):
    begin = time.monotonic()

    def written():
        reply = calls.post("/v1/datasets", {"name": "curves", "columns": CURVES})
        return reply.status == 201 and reply.json

    kept.append(until(written, what="room"))
    return time.monotonic() - begin


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
@pytest.mark.postgres
@pytest.mark.thorough
def test_a_database_that_may_only_be_read(place):
    """PostgreSQL as a standby has it."""
    name = place.store.database.url.database
    calls = place.service.calls()
    kept = calls.a_dataset()

    def only_read(on):
        with place.breakable.admin.connect() as connection:
            setting = "SET default_transaction_read_only = on" if on else "RESET ALL"
            connection.execute(text(f"ALTER DATABASE {name} {setting}"))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"),
                {"n": name},
            )

    place.queue()
    only_read(on=True)
    try:
        place.store.database.close()
        place.queue()
        reply = calls.post("/v1/datasets", {"name": "no", "columns": CURVES})
        check_problem(reply, 503)
        assert reply.headers["Retry-After"] == "1"
        assert calls.get(f"/v1/datasets/{kept['id']}").status == 200
    finally:
        only_read(on=False)
        place.store.database.close()
    until(lambda: calls.post("/v1/datasets", {"name": "yes", "columns": CURVES}).status == 201)
    place.check()
