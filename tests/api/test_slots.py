"""Slots: how many requests run and wait, in order, and that leaving frees a place."""

from __future__ import annotations

import threading
import time

import pytest

from api.slots import BUSY, Slots
from services.errors import Busy


def stay():
    """The client waits."""


def waiting(slots, count):
    """Wait until so many threads stand in line."""
    while len(slots.line) < count:
        time.sleep(0.001)


class Queue:
    """Threads that enter one after the other; `entered` holds their numbers in that order."""

    def __init__(self, slots):
        self.slots, self.entered, self.threads = slots, [], []

    def add(self, check=stay):
        number = len(self.threads)

        def enter():
            self.slots.enter(check, seconds=60)
            self.entered.append(number)

        before = len(self.slots.line)
        self.threads.append(threading.Thread(target=enter))
        self.threads[-1].start()
        waiting(self.slots, before + 1)

    def end(self):
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("threads", "places", "free"),
    [(1, 1, 1), (2, 1, 1), (4, 1, 1), (6, 2, 1), (8, 3, 2), (16, 7, 4)],
)
def test_less_than_half_of_the_threads_are_heavy(threads, places, free):
    slots = Slots(threads)
    assert (slots.places, slots.free) == (places, free)


def test_who_finds_no_place_in_line_is_refused_at_once():
    slots = Slots(8)
    slots.enter(stay)
    slots.enter(stay)
    queue = Queue(slots)
    queue.add()
    with pytest.raises(Busy, match="again"):
        slots.enter(pytest.fail, seconds=60)
    slots.leave()
    queue.end()
    assert queue.entered == [0]


def test_the_line_is_served_in_order_of_arrival():
    slots = Slots(16)
    for _ in range(4):
        slots.enter(stay)
    queue = Queue(slots)
    for _ in range(3):
        queue.add()
    for count in (1, 2, 3):
        slots.leave()
        queue.threads[count - 1].join(timeout=60)
        assert queue.entered == [0, 1, 2][:count]


def test_nobody_is_let_in_before_those_who_wait():
    slots = Slots(8)
    slots.enter(stay)
    assert slots.try_enter()
    assert not slots.try_enter()
    queue = Queue(slots)
    queue.add()
    slots.free += 1
    assert not slots.try_enter()
    slots.free -= 1
    slots.leave()
    queue.end()


def test_who_waits_too_long_is_refused_and_makes_room():
    slots = Slots(6)
    slots.enter(stay)
    for _ in range(3):
        with pytest.raises(Busy, match=BUSY):
            slots.enter(stay, seconds=0.01)
    slots.leave()
    slots.enter(stay)


def test_a_client_that_left_makes_room():
    def leave():
        raise ConnectionError

    slots = Slots(6)
    slots.enter(stay)
    with pytest.raises(ConnectionError):
        slots.enter(leave, seconds=60)
    queue = Queue(slots)
    queue.add()
    slots.leave()
    queue.end()
