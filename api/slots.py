"""Heavy requests take turns, so that the other threads answer at once (docs/adr/0016).

A request takes a slot when its size or its cost is known, and gives it back when it ends. If no
slot is free it waits in line for some seconds. Slots and line together hold less than half of the
threads of a process; further heavy requests get 503.
"""

from __future__ import annotations

import ctypes
import functools
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, cast

from flask import Flask, g, request
from werkzeug.exceptions import ClientDisconnected

from api.running import running
from services.errors import Busy
from services.scratch import scratch

SMALL_BYTES = 1 << 18
"""Largest body that is read without a slot, in bytes."""

SMALL_PACKED_BYTES = 1 << 11
"""The same for a body that may grow a thousandfold: a compressed one, or a binary file."""

SMALL_NUMBERS = 20_000
"""Most numbers that are read, or written as JSON, without a slot."""

SMALL_SECONDS = 0.05
"""Longest estimate of a fit or mapping that is done without a slot."""

WAIT_SECONDS = 10.0
"""Seconds for which a request waits in line."""

LOOK_SECONDS = 0.25
"""Seconds between two checks whether a waiting client is still connected."""

_COPIED_BYTES = 1 << 16


class Slots:
    """The slots of one process, and the line before them."""

    def __init__(self, threads: int) -> None:
        self.places = max(1, threads // 2 - 1)
        self.free = (self.places + 1) // 2
        self.line: deque[object] = deque()
        self._running = 0
        self._changed = threading.Condition()

    def enter(self, check: Callable[[], None], seconds: float = WAIT_SECONDS) -> None:
        """Take a slot, in order of arrival; Busy if the line is full or the wait too long.

        `check` is called while the request waits; an exception ends the waiting.
        """
        ticket, deadline = object(), time.monotonic() + seconds
        with self._changed:
            if self._running + len(self.line) >= self.places:
                raise Busy(BUSY)
            self.line.append(ticket)
            try:
                while self.line[0] is not ticket or not self.free:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise Busy(BUSY)
                    self._changed.wait(min(left, LOOK_SECONDS))
                    check()
                self._take()
            finally:
                self.line.remove(ticket)
                self._changed.notify_all()

    def try_enter(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        with self._changed:
            if self.line or not self.free:
                return False
            self._take()
            return True

    def _take(self) -> None:
        self.free -= 1
        self._running += 1

    def leave(self) -> None:
        """Give a slot back."""
        with self._changed:
            self.free += 1
            self._running -= 1
            self._changed.notify_all()


BUSY = "Try again in a moment; too many requests of this size are being worked on."


# ---- Of a request --------------------------------------------------------------------------


def register(app: Flask) -> None:
    """Give back the slot of each request of an application at its end."""
    _return_ends()
    app.teardown_request(_end)


def enter() -> None:
    """Take a slot for this request, unless it has one."""
    if "slot" not in g:
        running().slots.enter(_check_client)
        g.slot = running().slots


def try_enter() -> bool:
    """Take a slot for this request if one is free; True if it has one."""
    if "slot" not in g and running().slots.try_enter():
        g.slot = running().slots
    return "slot" in g


def enter_with(size: int, *, is_packed: bool) -> None:
    """Take a slot for this request unless its body of `size` bytes is small."""
    if size > (SMALL_PACKED_BYTES if is_packed else SMALL_BYTES):
        enter()


def receive(most: int) -> int:
    """Receive the whole body, and return its size as it was sent.

    So a client that sends slowly holds no slot. Of a body of more than `most` bytes only enough
    is received for the reader to refuse it.
    """
    length = request.content_length
    if length is not None and not SMALL_BYTES < length <= most:
        return length
    if "received" not in g:
        g.received = scratch.spooled(SMALL_BYTES)  # closed by `_end`
        g.size = _copy(request.environ, g.received, most)
    return cast("int", g.size)


def _copy(environ: dict[str, object], target: IO[bytes], most: int) -> int:
    """Copy a body to a file that replaces its stream; return its size."""
    source = cast("IO[bytes]", environ["wsgi.input"])
    missing, size = request.content_length, 0
    if missing is None and not environ.get("wsgi.input_terminated"):
        missing = 0
    while missing is None or size < missing:
        wanted = _COPIED_BYTES if missing is None else min(_COPIED_BYTES, missing - size)
        try:
            data = source.read(wanted)
        except OSError:
            raise ClientDisconnected from None
        if not data:
            break
        size += len(data)
        target.write(data)
        if size > most + 1:
            break
    if missing is not None and size < missing:
        raise ClientDisconnected
    target.seek(0)
    environ["wsgi.input"] = target
    return size


def _end(_error: BaseException | None) -> None:
    if "received" in g:
        g.pop("received").close()
    if "slot" in g:
        g.pop("slot").leave()
        _give_back()


def _check_client() -> None:
    """Raise ClientDisconnected if the client has closed its connection."""
    connection = request.environ.get("gunicorn.socket")
    has_left = getattr(connection, "has_left", None)
    if has_left() if has_left else isinstance(connection, socket.socket) and _is_shut(connection):
        raise ClientDisconnected


def _is_shut(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except ValueError:
        # A socket with TLS takes no flags.
        return False
    except OSError:
        return True


def _give_back() -> None:
    """Give freed memory back to the system.

    Otherwise glibc keeps it, in an arena of each thread, for the next large request.
    """
    _of_libc("malloc_trim")(0)


def _return_ends() -> None:
    """Let glibc give back free memory at the end of the arena of each thread.

    `malloc_trim` gives back the end of one arena only, and by itself glibc keeps more there with
    every large block that is freed.
    """
    _of_libc("mallopt")(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    # Fixed by the call above; where it is small, every array of a fit is new memory.
    _of_libc("mallopt")(_M_MMAP_THRESHOLD, _APART_BYTES)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, from <malloc.h>."""

_KEPT_BYTES = 1 << 20

_APART_BYTES = 32 << 20
"""Bytes from which a block is outside the arenas: the largest value that is allowed."""


@functools.cache
def _of_libc(name: str) -> Callable[..., object]:
    """Find a function of glibc; on other systems, return one that does nothing."""
    return getattr(ctypes.CDLL(None), name, lambda *_: None)
