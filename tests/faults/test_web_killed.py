"""Killing web processes while clients post loses no acknowledged record."""

from __future__ import annotations

import random
import threading
import time

import pytest
import requests

from tests.calls import CURVES, LIBRARY
from tests.faults.service import LATER, alive, until

pytestmark = pytest.mark.slow

CLIENTS = 4


class Clients:
    """Threads that post datasets and fits and remember what was acknowledged."""

    def __init__(self, place, name):
        self.place = place
        self.name = name
        calls = place.service.calls()
        self.fit = {
            "training_id": calls.a_dataset()["id"],
            "ideal_id": calls.a_dataset(LIBRARY)["id"],
        }
        self.posts = {
            "/v1/datasets": {"name": name, "columns": CURVES},
            "/v1/fits": self.fit | {"name": name},
        }
        self.acknowledged = {path: [] for path in self.posts}
        self.refused, self.odd = [], []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=(i,)) for i in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    @property
    def count(self):
        return sum(map(len, self.acknowledged.values()))

    def _post(self, number):
        calls = self.place.service.calls()
        path = "/v1/fits" if number == 0 else "/v1/datasets"
        while not self.over.is_set():
            try:
                reply = calls.post(path, self.posts[path], headers=LATER)
            except requests.RequestException:
                # Whether it was stored is not known: there was no answer.
                time.sleep(0.02)
                continue
            if reply.status in {201, 202}:
                self.acknowledged[path].append(reply.json["id"])
            elif reply.status == 503 and reply.headers["Retry-After"]:
                self.refused.append(reply)
                time.sleep(0.1)
            else:
                self.odd.append((reply.status, reply.text))
            if path == "/v1/fits":
                time.sleep(0.02)

    def check(self):
        """All that was acknowledged is there and whole; so is what was stored unanswered."""
        assert not self.odd
        calls = self.place.service.calls()
        until(lambda: self.place.store.waiting() == 0, what="the end of all jobs")
        for path, acknowledged in self.acknowledged.items():
            found = {
                record["id"]: record
                for page in calls.pages(path, name=self.name, limit=500)
                for record in page
            }
            assert set(acknowledged) <= set(found)
            assert len(set(acknowledged)) == len(acknowledged)
            if path == "/v1/datasets":
                assert len({record["sha256"] for record in found.values()}) == 1
            else:
                assert {record["state"] for record in found.values()} == {"succeeded"}
                rows = self.place.store.rows()
                assert {rows[identifier] for identifier in found} == {2}


def test_web_processes_killed_after_their_answers(place, times, healed):
    chance = random.Random(9)
    service = place.service
    with Clients(place, "kept") as clients:
        for number in range(times(3)):
            before = clients.count
            until(lambda: clients.count > before + 60, what="60 answers")
            time.sleep(chance.uniform(0, 0.05))
            victims = [until(service.web_master)] if number % 3 == 2 else until(service.web)
            victim = chance.choice(victims)
            begin, before = time.monotonic(), clients.count
            victim.kill()
            until(lambda: not alive(victim))
            until(lambda: len(service.web()) == 2, what="two web processes")
            until(lambda: clients.count > before, what="an answer")
            healed(time.monotonic() - begin)
    clients.check()
    place.check()
