"""One client's connection: received bytes, bytes to send, and the deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.unreader import Unreader

from api.connections.byte_queue import ByteQueue
from api.connections.framing import Framing, is_head_whole
from api.connections.outbox import Outbox
from api.connections.pace import Pace, Slot, wait_for
from api.limits import Limits

HEAD_BYTES = 1 << 16
"""Most bytes of a request line and its headers, unless gunicorn's own limits are higher."""


class Unfinished(Exception):  # noqa: N818 - no error: there is more to come
    """The parser needs more of the head."""


class Source(Unreader):  # type: ignore[misc] # gunicorn has no types
    """Input of gunicorn's parser: bytes that the poller has received, then the socket."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes of the body."""
        connection = self._connection
        if connection.request is None:
            raise Unfinished
        return connection.body.take(size_hint or PIECE_BYTES) or connection.receive(size_hint)


PIECE_BYTES = 1 << 16
"""Bytes that are received at once if the length is not known."""


class Connection:
    """A non-blocking socket. One thread at a time uses it: the poller's or a worker thread."""

    def __init__(self, worker: Any, sock: socket.socket, client: Any, server: Any) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the socket's own
        self.limits: Limits = worker.limits
        self.sock, self.client, self.server = sock, client, server
        self.body_slot, self.reply_slot = Slot(worker.body_slots), Slot(worker.reply_slots)
        self.parser = get_parser(worker.cfg, sock, client)
        self.parser.unreader = Source(self)
        self.body = ByteQueue(worker.body_room)
        self.outbox = Outbox(sock, worker.reply_room, self.reply_slot, self._pace_of_reply)
        self.head = bytearray()
        self.known = 0  # bytes of the head that were looked at
        self.request: Any = None
        self.requests = 0
        self.framing: Framing | None = None
        self.pace: Pace | None = None
        self.until = time.monotonic() + self.limits.header_seconds
        self.ready_at = 0.0  # when a thread was asked for
        self.is_whole = False  # the poller has the whole body
        self.keep = False
        self.stands_back = False  # its reply needs a slot before it is made
        self.broken = False
        self.is_quick = False  # its last request took a moment only
        self.react: Callable[[Connection], None] | None = None  # what the poller does next
        self.expire: Callable[[Connection], None] | None = None  # and when it is too late

    # ---- The poller's thread ---------------------------------------------------------------

    def read(self, size: int = PIECE_BYTES) -> bytes | None:
        """Receive bytes; None if there are none yet, empty at the end."""
        try:
            return self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def parse(self) -> bool:
        """Parse the head if it is complete, and tell whether it was; raise gunicorn's error."""
        line, field = self.parser.cfg.limit_request_line, self.parser.cfg.limit_request_field_size
        is_whole = is_head_whole(self.head, self.known, line)
        self.known = len(self.head)
        if not is_whole:
            if self.known > max(HEAD_BYTES, line + field):
                raise LimitRequestHeaders("too many bytes")
            return False
        self.parser.mesg = None
        self.parser.unreader.take_buffered()
        self.parser.unreader.unread(bytes(self.head))
        try:
            self.request = next(self.parser)
        except Unfinished:
            return False
        self.requests += 1
        self.head.clear()
        self.framing = Framing(self.request.body)
        return True

    @property
    def deadline(self) -> float:
        """Time at which the client is given up if nothing more happens."""
        if self.outbox:
            return self.outbox.deadline()
        return self.pace.deadline if self.pace is not None else self.until

    def expect_body(self) -> None:
        """Start the deadline of the body."""
        limits = self.limits
        self.pace = Pace(
            limits.body_bytes_per_second, limits.slow_seconds, limits.body_stall_seconds
        )

    def next_request(self, until: float) -> None:
        """Prepare for another request, whose beginning may have come with the last one."""
        self.head += self.parser.unreader.take_buffered()
        self.head += self.body.take(len(self.body))
        self.body.close()
        self.request = self.framing = self.pace = None
        self.is_whole, self.known, self.until, self.ready_at = False, 0, until, 0.0

    def is_done(self) -> bool:
        """Tell whether a request was answered and its reply is sent."""
        return not (self.broken or self.stands_back or self.outbox)

    def release(self) -> None:
        """Give back the slots."""
        self.body_slot.release()
        self.reply_slot.release()

    def close(self) -> None:
        """Close the socket and drop everything."""
        self.release()
        self.outbox.close()
        self.body.close()
        with contextlib.suppress(OSError):
            self.sock.close()

    def _pace_of_reply(self) -> Pace:
        limits = self.limits
        return Pace(limits.reply_bytes_per_second, limits.slow_seconds, limits.body_stall_seconds)

    # ---- The thread that works -------------------------------------------------------------

    def receive(self, size: int | None) -> bytes:
        """Wait for more of the body; TimeoutError if the client is too slow."""
        while (data := self._read_body(min(size or PIECE_BYTES, 1 << 20))) is None:
            left = (
                self.pace.deadline - time.monotonic() if self.pace and self.body_slot.take() else 0
            )
            if left <= 0 or not wait_for(self.sock, select.POLLIN, left):
                raise TimeoutError("the body comes too slowly")
        if self.pace:
            self.pace.count(len(data))
        return data

    def _read_body(self, size: int) -> bytes | None:
        try:
            return self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None

    def is_body_read(self) -> bool:
        """Tell whether the next request begins at the parser's position, or nearly so."""
        reader = self.request.body.reader
        if self.request.body.failed:
            return False
        if getattr(reader, "length", 0) == 0 and getattr(reader, "parser", None) is None:
            return True
        return self.is_whole and len(self.body) <= PIECE_BYTES

    def finish_body(self) -> bool:
        """Skip the unread rest of the body; tell whether a request can follow."""
        return bool(self.is_body_read() and self.parser.finish_body())
