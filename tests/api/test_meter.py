"""Shared counters survive the death of any process, and restarts take no more memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from api import metrics
from api.app import create_app
from api.config import Settings
from api.meter import KEY_BYTES, SERIES, Meter

BEGIN = """
import os, signal
from api import meter as module
from api.meter import Meter, SUM
meter = Meter(passing="active")
meter.share()

def fork(work):
    child = os.fork()
    if child == 0:
        meter.forget()
        work()
        os._exit(0)
    return child

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(program):
    """A program of its own, because it forks."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_all_processes_count_together():
    run("""
meter.add(("a", ""), 2)
for _ in range(3):
    os.waitpid(fork(lambda: [meter.add(("a", "")), meter.observe(("h",), 0.3, (0.1, 0.5))]), 0)
totals = meter.totals()
assert totals[("a", "")][0] == 5, totals
assert totals[("h",)][:3] == [0, 3, 0], totals
assert abs(totals[("h",)][SUM] - 0.9) < 1e-9
""")


def test_200_restarts_take_the_room_of_one():
    run("""
for _ in range(200):
    os.waitpid(fork(lambda: [meter.add(("a",)), meter.add(("active",)), die()]), 0)
assert meter.totals() == {("a",): [200.0] + [0.0] * 15}, meter.totals()
assert sum(meter._numbers[slot] > 0 for slot in range(module.SLOTS)) == 1
""")


def test_what_is_under_way_counts_as_long_as_its_process_lives():
    run("""
told, tell = os.pipe()
end, leave = os.pipe()
def wait():
    os.close(leave)
    meter.add(("active",))
    os.write(tell, b"x")
    os.read(end, 1)
child = fork(wait)
os.read(told, 1)
assert meter.totals()[("active",)][0] == 1
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
assert ("active",) not in meter.totals()
""")


def test_a_process_that_dies_while_it_counts_breaks_nothing():
    run("""
def count():
    for number in range(10**9):
        meter.add(("a", str(number % 900)))
import time
for _ in range(20):
    child = fork(count)
    time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = meter.totals()
    assert all(key[0] == "a" and numbers[0] >= 1 for key, numbers in found.items() if numbers[0])
""")


def test_more_processes_than_slots_are_not_counted_and_fail_at_nothing():
    run("""
module.SLOTS = 2
told, tell = os.pipe()
end, leave = os.pipe()
def wait():
    os.close(leave)
    meter.add(("a",))
    os.write(tell, b"x")
    os.read(end, 1)
children = [fork(wait) for _ in range(4)]
for _ in children:
    os.read(told, 1)
assert meter.totals()[("a",)][0] == 2
os.close(leave)
for child in children:
    os.waitpid(child, 0)
""")


def test_series_without_room_are_left_out():
    meter = Meter()
    for number in range(SERIES + 5):
        meter.add(("a", str(number)))
    meter.add(("a", "0"))
    totals = meter.totals()
    assert len(totals) == SERIES
    assert totals["a", "0"][0] == 2


def test_every_route_fits(tmp_path):
    app = create_app(Settings(data=tmp_path))
    for rule in app.url_map.iter_rules():
        key = (metrics.REQUEST, "OPTIONS", metrics.make_template(rule.rule), "200", ".")
        assert len("\0".join(key)) <= KEY_BYTES


@pytest.mark.parametrize(
    ("rule", "template"),
    [
        ("/v1/fits/<fit_id>/plot", "/v1/fits/{fit_id}/plot"),
        ("/static/<path:name>", "/static/{name}"),
        ("/", "/"),
    ],
)
def test_templates(rule, template):
    assert metrics.make_template(rule) == template
