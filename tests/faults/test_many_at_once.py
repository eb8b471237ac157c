"""Many writers and many clients at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psutil
import pytest

from api.store.base import Database, find
from api.store.datasets import Dataset
from tests.calls import CURVES, LIBRARY
from tests.faults.service import LATER, Store, until

pytestmark = pytest.mark.slow

WRITERS, CLIENTS = 4, 20
MOST_BYTES = 400 << 20

COUNT = """
import sys
from api.store.base import Database, find
from api.store.datasets import Dataset

database = Database(sys.argv[1])
for _ in range(int(sys.argv[3])):
    with database.writing() as session:
        dataset = find(session, Dataset, sys.argv[2], lock=True)
        dataset.attributes = {"n": dataset.attributes.get("n", 0) + 1}
"""


def test_four_writers_lose_no_update(service, times):
    one = service(web=1, workers=0)
    dataset = one.calls().a_dataset()["id"]
    each = times(62.5)
    command = [sys.executable, "-c", COUNT, one.database_url, dataset, str(each)]
    writers = [subprocess.Popen(command) for _ in range(WRITERS)]
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    with closing(Database(one.database_url)) as database, database.reading() as session:
        assert find(session, Dataset, dataset).attributes == {"n": WRITERS * each}


@pytest.mark.thorough
def test_twenty_clients_queue_at_once(service, times):
    """First come, first served: by when the service took it, whoever posted it."""
    one = service(web=2, workers=0, IDEALFIT_INLINE_SECONDS="0")
    calls = one.calls()
    pair = {
        "training_id": calls.a_dataset(CURVES)["id"],
        "ideal_id": calls.a_dataset(LIBRARY)["id"],
    }

    def client(number):
        own = one.calls()
        body = pair | {"name": f"client {number}"}
        return [own.post("/v1/fits", body, headers=LATER) for _ in range(min(10, times(3)))]

    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = [reply for several in pool.map(client, range(CLIENTS)) for reply in several]
    assert {reply.status for reply in replies} == {202}
    command = [sys.executable, "-m", "api.cli", "worker", "--workers", "2"]
    workers = subprocess.Popen(command, env=one.environment)
    store = Store(one.database_url)
    until(lambda: not store.waiting(), what="the end of all jobs")
    family = [psutil.Process(pid) for pid in (workers.pid, one.process.pid)]
    family += [child for process in family for child in process.children(recursive=True)]
    assert max(process.memory_info().rss for process in family) < MOST_BYTES
    workers.terminate()
    workers.wait()
    jobs = [store.job(reply.json["id"]) for reply in replies]
    store.close()
    assert {job["state"] for job in jobs} == {"succeeded"}
    came = sorted(jobs, key=lambda job: (job["created_at"], job["id"]))
    assert [job["started_at"] for job in came] == sorted(job["started_at"] for job in jobs)
