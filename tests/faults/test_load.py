"""Under sixteen of the heaviest requests, others are answered and memory is returned."""

from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import psutil
import pytest
import requests

from tests.calls import POINTS
from tests.server import Server
from tests.waiting import until

AT_ONCE = 16
ANSWERS = 4
"""Small requests that are answered one after the other while the heavy ones are worked on."""

MEBIBYTE = 1 << 20
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service of two web processes with eight threads each, and no workers."""
    server = Server(tmp_path_factory.mktemp("load"), WEB_CONCURRENCY="2", IDEALFIT_WORKERS="0")
    yield server
    server.stop()


def web(service):
    """The web processes: children of the supervisor's child that has children."""
    (master,) = psutil.Process(service.process.pid).children()
    return master.children()


def memory(process):
    """Bytes of memory that are its own."""
    return process.memory_full_info().uss


def posted(service, path, **options):
    reply = service.post(path, **options)
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


@pytest.fixture(scope="module")
def fit(service):
    """Address of a fit of four curves with long names."""
    columns = {"x": [0.0, 1.0, 2.0, 3.0]}
    columns |= {f"{i}" + "\N{GRINNING FACE}" * 40: [0.0, 1.0, 2.0, float(i)] for i in range(4)}
    dataset = posted(service, "/v1/datasets", json={"name": "four", "columns": columns})
    return "/v1/fits/" + posted(
        service, "/v1/fits", json={"training_id": dataset, "ideal_id": dataset}
    )


class Others:
    """A client who asks for little, one thing after the other, and counts the answers."""

    def __init__(self, service, fit):
        self.count, self.odd, self._stop = 0, [], threading.Event()
        self._service, self._fit = service, fit
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        url = self._service.url
        while not self._stop.is_set():
            # A new connection each time: either process may have it.
            for ask in (
                lambda: requests.get(f"{url}/health/live", timeout=60),
                lambda: requests.post(f"{url}{self._fit}/evaluate", json=POINTS, timeout=60),
            ):
                reply = ask()
                self.count += 1
                if reply.status_code != 200:
                    self.odd.append(reply.text)
            time.sleep(0.02)


def all_at_once(ask, count=AT_ONCE):
    """Replies to equal requests that were sent at the same time, each by its own connection."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(), range(count)))


def check(replies, expected):
    """Some were answered; the surplus was told to come again."""
    found = {reply.status_code for reply in replies}
    assert found <= expected | {503}, [reply.text[:200] for reply in replies]
    assert found & expected
    for reply in replies:
        if reply.status_code == 503:
            assert reply.headers["Retry-After"] == "1"
            assert reply.json()["detail"].startswith("Try again")


@pytest.fixture
def largest(service, fit):
    """Ask for the largest evaluation there may be; the status, and how long the reply was."""
    x = (np.random.default_rng(5).random(100_000) * 3).tolist()
    body = gzip.compress(orjson.dumps({"x": x, "y": x, "alignment": "linear"}))
    url, headers = f"{service.url}{fit}/evaluate", JSON | {"Content-Encoding": "gzip"}

    def ask():
        with requests.post(url, data=body, headers=headers, timeout=300, stream=True) as reply:
            if reply.status_code == 503:
                assert reply.headers["Retry-After"] == "1"
            return reply.status_code, sum(map(len, reply.iter_content(1 << 20)))

    return ask


class Watch:
    """The most memory that each of some processes has, looked at all the time."""

    def __init__(self, processes):
        self.first = {process: memory(process) for process in processes}
        self.most, self._ended = dict(self.first), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(0.02):
            self.most.update({one: max(self.most[one], memory(one)) for one in self.most})


@pytest.mark.slow
def test_the_largest_evaluations_at_once_take_little_memory(service, fit, largest, times):
    # What is loaded at the first use counts for nobody.
    all_at_once(largest)
    with Watch(web(service)) as watch, Others(service, fit) as others:
        replies = [reply for _ in range(times(0.1)) for reply in all_at_once(largest)]
        answered = others.count
    assert {status for status, _ in replies} <= {200, 503}
    (size,) = {length for status, length in replies if status == 200}
    assert size > 40 * MEBIBYTE
    assert not others.odd
    assert answered > ANSWERS
    for process, first in watch.first.items():
        assert watch.most[process] - first <= 64 * MEBIBYTE
        assert until(lambda p=process, b=first: memory(p) - b <= 16 * MEBIBYTE)


@pytest.fixture(scope="module")
def noise(service):
    """Id of a dataset of eight million numbers."""
    random = np.random.default_rng(6)
    values = random.integers(-9, 9, (80_000, 100)).astype(str)
    rows = [f"{row},{','.join(cells)}" for row, cells in enumerate(values.tolist())]
    text = "x," + ",".join(f"y{i}" for i in range(100)) + "\n" + "\n".join(rows)
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    data = gzip.compress(text.encode(), 1)
    return posted(service, "/v1/datasets?name=noise", data=data, headers=headers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("pictures", marks=pytest.mark.thorough),
        "uploads",
        pytest.param("fits", marks=pytest.mark.thorough),
    ],
)
def test_sixteen_heavy_requests_leave_threads_for_others(service, fit, noise, kind):
    url = service.url
    csv = "x,y\n" + "\n".join(f"{i},{i % 7}" for i in range(60_000))
    pair = {"training_id": noise, "ideal_id": noise, "training_curves": [f"y{i}" for i in range(3)]}
    ask = {
        "pictures": lambda: requests.get(
            f"{url}/v1/datasets/{noise}/plot", headers={"Accept": "image/png"}, timeout=300
        ),
        "uploads": lambda: requests.post(
            f"{url}/v1/datasets", data=csv, headers={"Content-Type": "text/csv"}, timeout=300
        ),
        "fits": lambda: requests.post(f"{url}/v1/fits", json=pair, timeout=300),
    }[kind]
    with Others(service, fit) as others:
        replies = all_at_once(ask)
        answered = others.count
    if kind == "fits":
        # What finds no slot is queued; nothing is refused.
        assert {reply.status_code for reply in replies} == {201, 202}
    else:
        check(replies, {200, 201})
    assert not others.odd
    assert answered > ANSWERS
