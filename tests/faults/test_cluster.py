"""Fits on a real Dask cluster have the same bits, whichever part of it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from api.jobs.kinds import FITS
from api.jobs.rankers import UNCACHED
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.store.base import Database
from api.store.datasets import add_dataset
from services.files import Source
from services.tables import Table
from tests.server import Server
from tests.waiting import PATIENCE, until

ROUNDS = int(os.environ.get("IDEALFIT_FAULT_ROUNDS", "1"))
"""How often each part of the cluster is killed."""

pytestmark = pytest.mark.slow

POINTS, LIBRARY, TRAINING = 150, 3000, 1000


class Cluster:
    """A scheduler and two workers, started by their own commands."""

    def __init__(self, folder, data):
        self.folder, self.data = folder, data
        self.processes = {}
        self.file = folder / "scheduler.json"
        self.start("scheduler")
        self.start("worker-1")
        self.start("worker-2")
        self.address = self._address()

    def start(self, name):
        dask = [sys.executable, "-m", "dask"]
        if name == "scheduler":
            self.file.unlink(missing_ok=True)
            port = self.address.rpartition(":")[2] if hasattr(self, "address") else "0"
            command = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
            command += ["--scheduler-file", str(self.file)]
        else:
            self._address()
            command = ["worker", "--scheduler-file", str(self.file), "--nthreads", "1"]
            command += ["--host", "127.0.0.1", "--no-dashboard", "--death-timeout", "30"]
            command += ["--local-directory", str(self.folder / name)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*dask, *command],
                env=os.environ | {"IDEALFIT_DATA": str(self.data)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _address(self):
        import orjson  # noqa: PLC0415

        until(self.file.exists)
        return orjson.loads(self.file.read_bytes())["address"]

    def ready(self):
        """Wait until both workers are there."""
        from distributed import Client  # noqa: PLC0415

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=PATIENCE)

    def kill(self, name):
        """Kill a process as it was started; the worker of a nanny ends with it."""
        self.processes[name].kill()
        self.processes[name].wait()

    def kill_child(self, name):
        """Kill the worker that a nanny looks after and starts again."""
        import psutil  # noqa: PLC0415 - comes with distributed

        children = psutil.Process(self.processes[name].pid).children(recursive=True)
        max(children, key=lambda child: child.memory_info().rss).kill()

    def revive(self):
        """Start again what is not there; without their scheduler the workers end as well."""
        dead = {name for name, process in self.processes.items() if process.poll() is not None}
        if "scheduler" in dead:
            self.stop()
            dead = set(self.processes)
        for name in sorted(dead):
            self.start(name)
        self.ready()

    def stop(self):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A folder with a database, and the ids of training curves and of a library of noise."""
    folder = tmp_path_factory.mktemp("cluster")
    server = Server(folder, IDEALFIT_WORKERS="0")
    server.stop()
    random = np.random.default_rng(1)
    database = Database(f"sqlite:///{folder}/idealfit.db")
    ids = []
    for count in (TRAINING, LIBRARY):
        names = tuple(f"c{position}" for position in range(count))
        table = Table(np.arange(POINTS) / 1, random.normal(size=(count, POINTS)), names)
        with database.writing() as session:
            source = Source("json", None, None, None, None)
            ids.append(add_dataset(session, table, source, name="noise").id)
    body = {"training_id": ids[0], "ideal_id": ids[1], "criterion": "mae"}
    undisturbed = submit(database, FITS, FitRequest().load(body), ranker=UNCACHED)
    yield folder, body, undisturbed.id
    database.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, noise):
    cluster = Cluster(tmp_path_factory.mktemp("dask"), noise[0])
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def service(noise, cluster):
    server = Server(noise[0], IDEALFIT_WORKERS="1", IDEALFIT_DASK_SCHEDULER=cluster.address)
    yield server
    server.stop()


def begun(service, body):
    """Address of a fit that has been begun."""
    reply = service.post("/v1/fits", json=body, headers={"Prefer": "respond-async"})
    assert reply.status_code == 202, reply.text
    address = reply.headers["Location"]
    record_when(service, address, lambda record: record["state"] != "queued")
    return address


def record_when(service, address, reached):
    """The record of a fit as soon as it is as wanted."""

    def found():
        record = service.get(address).json()
        return record if reached(record) else None

    return until(found)


def ended(service, address):
    return record_when(
        service, address, lambda record: record["state"] not in ("queued", "running")
    )


def matches(service, address):
    reply = service.get(f"{address}/matches", headers={"Accept": "text/csv"})
    assert reply.ok
    return reply.text


def check_answer(service, address, undisturbed, engines=("dask",)):
    record = ended(service, address)
    assert record["state"] == "succeeded", record
    assert record["engine"] in engines
    assert record["progress"] == {"done": LIBRARY, "total": LIBRARY}
    assert matches(service, address) == matches(service, f"/v1/fits/{undisturbed}")


def test_a_large_fit_is_computed_by_the_cluster_to_the_same_bits(service, cluster, noise):
    cluster.ready()
    check_answer(service, begun(service, noise[1]), noise[2])


def test_a_small_fit_never_leaves_the_worker(service, cluster, noise):
    cluster.ready()
    body = noise[1] | {"training_curves": ["c1", "c7"]}
    record = ended(service, begun(service, body))
    assert (record["state"], record["engine"]) == ("succeeded", "numpy")


def test_a_cancelled_fit_frees_worker_and_cluster(service, cluster, noise):
    cluster.ready()
    address = begun(service, noise[1])
    assert service.post(f"{address}/cancel").status_code == 202
    assert ended(service, address)["state"] == "cancelled"
    small = begun(service, noise[1] | {"training_curves": ["c1"]})
    assert ended(service, small)["state"] == "succeeded"


KILLS = {
    "worker": lambda cluster: cluster.kill_child("worker-1"),
    "nanny": lambda cluster: cluster.kill("worker-1"),
    "scheduler": lambda cluster: cluster.kill("scheduler"),
}


@pytest.mark.parametrize("round_number", range(ROUNDS))
@pytest.mark.parametrize(
    "victim",
    [
        "worker",
        *(pytest.param(other, marks=pytest.mark.thorough) for other in ("nanny", "scheduler")),
    ],
)
def test_a_fit_survives_the_death_of_any_part_of_the_cluster(
    service, cluster, noise, victim, round_number
):
    cluster.revive()
    address = begun(service, noise[1])
    time.sleep(np.random.default_rng(round_number).uniform(0, 1))
    KILLS[victim](cluster)
    # A scheduler that died before it delivered anything has computed nothing.
    check_answer(service, address, noise[2], ("dask", "numpy"))


@pytest.mark.thorough
def test_a_scheduler_that_dies_while_nobody_needs_it_is_found_again(service, cluster, noise):
    """A client whose scheduler is gone closes itself after a while and is of no use any more."""
    cluster.revive()
    check_answer(service, begun(service, noise[1]), noise[2])
    cluster.kill("scheduler")
    time.sleep(8)
    check_answer(service, begun(service, noise[1]), noise[2], ("numpy",))
    cluster.revive()
    check_answer(service, begun(service, noise[1]), noise[2])


@pytest.mark.thorough
def test_without_a_scheduler_the_worker_computes_by_itself(noise, cluster):
    cluster.stop()
    folder, body, undisturbed = noise
    server = Server(folder, IDEALFIT_WORKERS="1", IDEALFIT_DASK_SCHEDULER=cluster.address)
    try:
        check_answer(server, begun(server, body), undisturbed, ("numpy",))
    finally:
        server.stop()
