"""Deadlines of slow clients, and the share of the threads that they may hold."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time
from threading import BoundedSemaphore


class Pace:
    """Deadline of a transfer, from the longest pause and the lowest average rate.

    The average is taken from the beginning and checked after a while, so that a byte now and then
    does not keep a transfer alive.
    """

    def __init__(self, least: int, grace: float, silence: float) -> None:
        self.least, self.grace, self.silence = least, grace, silence
        self.begin = self.last = time.monotonic()
        self.amount = 0

    def count(self, amount: int) -> None:
        """Count transferred bytes."""
        if amount > 0:
            self.amount += amount
            self.last = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Exclude time in which the client had to wait for us."""
        self.begin += seconds
        self.last += seconds

    @property
    def deadline(self) -> float:
        """Time at which the client is given up if nothing more is transferred."""
        allowed = max(self.grace, self.amount / self.least)
        return min(self.last + self.silence, self.begin + allowed)


class Slot:
    """Permit of one request to let a thread wait for its client."""

    def __init__(self, slots: BoundedSemaphore) -> None:
        self._slots = slots
        self._held = False

    def take(self) -> bool:
        """Take a slot if one is free; tell whether the request has one."""
        self._held = self._held or self._slots.acquire(blocking=False)
        return self._held

    def release(self) -> None:
        """Give the slot back."""
        if self._held:
            self._held = False
            self._slots.release()


def wait_for(sock: socket.socket, event: int, seconds: float) -> bool:
    """Wait until a socket can be read or written; tell whether it can."""
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(max(0, int(seconds * 1000) + 1)))


def not_taken(sock: socket.socket) -> int:
    """Count the sent bytes that the client's machine has not acknowledged."""
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
