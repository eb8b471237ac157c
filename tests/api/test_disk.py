"""The reserve of the disks and the budget of temporary files, without a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from types import SimpleNamespace

import pytest

from api import disk as disks
from api.config import SettingError, Settings
from api.disk import Disk, NoRoom, TooManyFiles
from api.jobs.worker import Worker
from api.running import running
from api.temp_usage import TempUsage
from services.scratch import Scratch, allow_all, scratch
from tests.calls import CURVES, LIBRARY, check_problem, over_wsgi
from tests.waiting import until

MEBIBYTE = 1 << 20
LATER = {"Prefer": "respond-async"}


@pytest.fixture(autouse=True)
def _asked_no_more():
    """Other tests have a disk of their own."""
    yield
    scratch.ask = allow_all


@pytest.fixture
def disk(monkeypatch):
    """A disk of 1 GiB whose free room a test sets; 5 % of it are 51 MiB."""
    found = SimpleNamespace(free=1024 * MEBIBYTE)

    def statvfs(_folder):
        return SimpleNamespace(
            f_frsize=4096, f_blocks=1024 * MEBIBYTE // 4096, f_bavail=found.free // 4096
        )

    monkeypatch.setattr(disks.os, "statvfs", statvfs)
    return found


def test_below_the_reserve_only_what_stores_is_refused(app, disk):
    calls = over_wsgi(app)
    dataset = calls.a_dataset()
    library = calls.a_dataset(LIBRARY)
    mapping = calls.a_mapping(calls.a_fit(dataset["id"], library["id"])["id"])
    pair = {"training_id": dataset["id"], "ideal_id": library["id"]}
    address = f"/v1/datasets/{dataset['id']}"
    disk.free = 50 * MEBIBYTE
    more = {"columns": {"x": CURVES["x"], "more": CURVES["x"]}}
    refused = [
        calls.post("/v1/datasets", {"name": "a", "columns": CURVES}),
        calls.post(f"{address}/curves", more),
        calls.post("/v1/fits", pair),
        calls.post("/v1/fits", pair, headers=LATER),
        calls.post("/v1/mappings", {"fit_id": mapping["fit_id"], "test_id": dataset["id"]}),
        calls.get(f"/v1/mappings/{mapping['id']}/export"),
    ]
    for reply in refused:
        problem = check_problem(reply, 507)
        assert problem["type"] == "/problems/disk-reserve"
        assert "Delete what is not needed any more" in problem["detail"]
    assert len(calls.get("/v1/datasets").json["items"]) == 3
    assert calls.get(f"{address}/values").status == 200
    evaluated = {"x": [1.0], "y": [2.0]}
    assert calls.post(f"/v1/fits/{mapping['fit_id']}/evaluate", evaluated).status == 200
    assert calls.patch(address, {"name": "other"}, etag='"1"').status == 200
    assert calls.delete(f"/v1/mappings/{mapping['id']}").status == 204
    disk.free = 60 * MEBIBYTE
    assert calls.post("/v1/datasets", {"name": "a", "columns": CURVES}).status == 201


def test_curves_that_would_use_up_the_reserve_are_refused_whole(app, disk):
    if not running(app).database.sqlite:
        pytest.skip("its disk is not ours")
    calls = over_wsgi(app)
    disk.free = 60 * MEBIBYTE
    text = "x,y" + "".join(f",y{number}" for number in range(60)) + "\n"
    rows = "".join(f"{row}" + ",1" * 61 + "\n" for row in range(20_000))
    problem = check_problem(calls.a_csv(text + rows), 507)
    assert "Storing this takes up to 19840000" in problem["detail"]
    assert calls.get("/v1/datasets").json["items"] == []


def test_a_disk_that_is_really_full_says_so_itself(app, disk):
    calls = over_wsgi(app)
    disk.free = 0
    assert calls.post("/v1/datasets", {"name": "a", "columns": CURVES}).status == 201


def test_jobs_wait_below_the_reserve(app, disk, tmp_path, caplog):
    calls = over_wsgi(app)
    pair = {"training_id": calls.a_dataset()["id"], "ideal_id": calls.a_dataset(LIBRARY)["id"]}
    address = calls.post("/v1/fits", pair, headers=LATER).headers["Location"]
    disk.free = 50 * MEBIBYTE
    stop = threading.Event()
    worker = Worker(running(app).database, Settings(data=tmp_path), "one", stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        until(lambda: "jobs wait" in caplog.text)
        record = calls.get(address).json
        assert (record["state"], record["started_at"], record["error"]) == ("queued", None, None)
        disk.free = 60 * MEBIBYTE
        until(lambda: calls.get(address).json["state"] == "succeeded")
    finally:
        stop.set()
        thread.join()
    assert calls.get(address).json["state"] == "succeeded"
    assert len([line for line in caplog.messages if "jobs wait" in line]) == 1


@pytest.mark.parametrize(
    ("given", "reserve"), [("", None), ("0", 0), ("5000", 5000)], ids=["unset", "none", "set"]
)
def test_the_reserve_is_a_setting(given, reserve):
    environment = {"IDEALFIT_DISK_RESERVE_BYTES": given, "IDEALFIT_TEMP_BYTES": "77"}
    settings = Settings.from_environment(environment)
    assert (settings.disk_reserve_bytes, settings.temp_bytes) == (reserve, 77)


def test_a_reserve_that_is_no_number_is_refused():
    with pytest.raises(SettingError, match="IDEALFIT_DISK_RESERVE_BYTES"):
        Settings.from_environment({"IDEALFIT_DISK_RESERVE_BYTES": "5%"})


class TestTemporaryFiles:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path, monkeypatch):
        """Temporary files of these tests lie in a folder of their own."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def watched(self, tmp_path, most):
        files = Scratch()
        Disk(Settings(data=tmp_path, temp_bytes=most, disk_reserve_bytes=0), files).watch_files()
        return files

    def test_all_kinds_have_one_budget(self, tmp_path):
        files = self.watched(tmp_path, 20 * MEBIBYTE)
        one, other = files.file(), files.spooled(MEBIBYTE)
        one.write(bytes(12 * MEBIBYTE))
        one.flush()
        with pytest.raises(TooManyFiles, match="20971520"):
            other.writelines(bytes(MEBIBYTE) for _ in range(20))
        other.close()
        one.write(bytes(4 * MEBIBYTE))
        one.close()
        assert files.nbytes == 0

    def test_a_file_opened_by_its_name_counts(self, tmp_path):
        files = self.watched(tmp_path, 8 * MEBIBYTE)
        file, other = files.opened(lambda name: open(name, "wb"))  # noqa: PTH123, SIM115
        with file, other:
            other.write(bytes(12 * MEBIBYTE))
            other.flush()
            with pytest.raises(TooManyFiles):
                files.ask(0)
        assert [path for path in tmp_path.iterdir() if path.is_file()] == []

    def test_what_a_killed_process_had_counts_no_more(self, tmp_path):
        code = (
            "import sys, time; from api.temp_usage import TempUsage;"
            "print(TempUsage('u').tell(1000), flush=True); time.sleep(600)"
        )
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        mine = TempUsage("u")
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE
        ) as other:
            assert mine.tell(1) == 1
            assert other.stdout.readline() == b"1001\n"
            assert mine.tell(2) == 1002
            assert TempUsage("another").tell(3) == 3
            other.kill()
            other.wait()
            assert mine.tell(4) == 4
        assert len(list(next(tmp_path.glob("idealfit-*")).iterdir())) == 1

    def test_a_process_goes_on_after_somebody_cleaned_up(self, tmp_path):
        mine, other = TempUsage("u"), TempUsage("u")
        assert (mine.tell(5), other.tell(7)) == (5, 12)
        for path in next(tmp_path.glob("idealfit-*")).iterdir():
            path.unlink()
        assert (mine.tell(5), other.tell(7), mine.tell(6)) == (5, 12, 13)

    def test_an_upload_beyond_the_budget_may_come_again(self, app, tmp_path):
        settings = Settings(data=tmp_path, temp_bytes=8 * MEBIBYTE, disk_reserve_bytes=0)
        Disk(settings).watch_files()
        calls = over_wsgi(app)
        text = "x" + "".join(f",y{number}" for number in range(60)) + "\n"
        large = text + "".join(f"{row}" + ",1" * 60 + "\n" for row in range(80_000))
        reply = calls.a_csv(large)
        problem = check_problem(reply, 503)
        assert problem["type"] == "/problems/temporary-files"
        assert reply.headers["Retry-After"] == "1"
        assert calls.get("/v1/datasets").json["items"] == []
        assert scratch.nbytes == 0
        assert calls.a_csv("x,y\n1,2\n").status == 201


def test_a_refusal_is_an_error_of_the_system():
    """So that whoever knows nothing of a reserve takes it for a full disk."""
    assert isinstance(NoRoom("x"), OSError)
    assert NoRoom("x").errno != TooManyFiles("x").errno
