"""Heavy requests take turns, so that the other threads answer at once (docs/adr/0016).

A request takes a slot when its size or its cost is known, and gives it back when it ends. Who
finds no free slot waits in line for some seconds. Both together hold less than half of the
threads of a process; whoever comes then is told to come again.
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
"""Body that is read without a slot."""

SMALL_PACKED_BYTES = 1 << 11
"""The same of a body that may become a thousand times as long: packed, or a binary file."""

SMALL_NUMBERS = 20_000
"""Numbers that are looked at, or written as JSON, without a slot."""

SMALL_SECONDS = 0.05
"""Estimated time of a fit or mapping that is done in the request without a slot."""

WAIT_SECONDS = 10.0
"""How long a request waits in line."""

LOOK_SECONDS = 0.25
"""How often a client that waits in line is looked after."""

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
        """Take a slot, in order of arrival; Busy where there is no room or it takes too long.

        `check` is called while the request waits; what it raises ends the waiting.
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
    """Have each request of an application give back what it has at its end."""
    _return_ends()
    app.teardown_request(_end)


def enter() -> None:
    """Take a slot for this request, unless it has one."""
    if "slot" not in g:
        running().slots.enter(_check_client)
        g.slot = running().slots


def try_enter() -> bool:
    """Take a slot for this request if that is possible at once, or it has one."""
    if "slot" not in g and running().slots.try_enter():
        g.slot = running().slots
    return "slot" in g


def enter_with(size: int, *, is_packed: bool) -> None:
    """Take a slot for this request if a body of so many bytes is not small."""
    if size > (SMALL_PACKED_BYTES if is_packed else SMALL_BYTES):
        enter()


def receive(most: int) -> int:
    """Have all of the body, and tell its size as it was sent.

    A client that sends slowly holds no slot that way. Of a body of more than `most` bytes no
    more is received than whoever reads it needs in order to refuse it.
    """
    length = request.content_length
    if length is not None and not SMALL_BYTES < length <= most:
        return length
    if "received" not in g:
        g.received = scratch.spooled(SMALL_BYTES)  # closed by `_end`
        g.size = _copy(request.environ, g.received, most)
    return cast("int", g.size)


def _copy(environ: dict[str, object], target: IO[bytes], most: int) -> int:
    """Put a file in the place of the stream of a body; the bytes it has."""
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

    The allocator of C keeps it otherwise, in an arena of each thread, for the next large request.
    """
    _of_libc("malloc_trim")(0)


def _return_ends() -> None:
    """Have the allocator of C give back what is free at the end of the arena of a thread.

    `malloc_trim` leaves the ends of all arenas but one, and the allocator by itself keeps more
    there with every large block that is freed.
    """
    _of_libc("mallopt")(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    # Fixed by the call above; where it is small, every array of a fit is new memory.
    _of_libc("mallopt")(_M_MMAP_THRESHOLD, _APART_BYTES)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of <malloc.h>."""

_KEPT_BYTES = 1 << 20

_APART_BYTES = 32 << 20
"""Size of a block that is no part of an arena: the largest that may be said."""


@functools.cache
def _of_libc(name: str) -> Callable[..., object]:
    """Find a function of glibc; other systems have none of that name, and nothing is done there."""
    return getattr(ctypes.CDLL(None), name, lambda *_: None)
