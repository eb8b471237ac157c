"""Replies that are being sent, and connections that end."""

from __future__ import annotations

import selectors
import socket
import time
from concurrent.futures import Future
from typing import Any

from gunicorn import util

from api import metrics
from api.connections import early_replies
from api.connections.connection import PIECE_BYTES, Connection
from api.connections.poller import Poller
from api.connections.request_log import log_refusal

PIECES = 4
"""Pieces of a reply that are sent before the poller serves other connections."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Replies(Poller):
    """The half of the worker that follows when a thread has finished a request."""

    def read_head(self, conn: Connection) -> None:
        """Parse a complete head, and continue with the body."""
        raise NotImplementedError

    def finish_request(self, conn: Any, fs: Future[bool]) -> None:
        """Continue a connection whose request a thread has finished."""
        if self.is_stock:
            super().finish_request(conn, fs)
            return
        self.finish(conn, keep=not fs.cancelled() and fs.exception() is None and fs.result())

    def begin_request(self, conn: Connection) -> None:
        """Note that a request is complete; one whose reply stood back has been before."""
        conn.ready_at = conn.ready_at or time.monotonic()
        metrics.count_active(conn.request.method, 1)

    def end_request(self, conn: Connection) -> None:
        """Note that a thread has ended a request."""
        conn.release()
        metrics.count_active(conn.request.method, -1)

    def finish(self, conn: Connection, *, keep: bool) -> None:
        """Send the rest of a reply, and keep the connection or close it."""
        self.end_request(conn)
        conn.keep = keep
        if conn.broken:
            self.drop(conn)
        elif conn.stands_back:
            self.line.append(conn)
        elif conn.outbox:
            self.watch(conn, WRITE, self._on_writable, self.drop)
        else:
            self._is_sent(conn)
        self.serve_line()

    def serve_line(self) -> None:
        """Continue replies that were put off, as far as there are slots."""
        while self.line and self.line[0].reply_slot.take():
            self.enqueue_req(self.line.popleft())

    def _on_writable(self, conn: Connection) -> None:
        if conn.outbox.flush(PIECES):
            self.unwatch(conn)
            self._is_sent(conn)

    def _is_sent(self, conn: Connection) -> None:
        """Wait for the next request of a client, or close its connection."""
        if not conn.keep:
            self.part(conn)
            return
        conn.next_request(time.monotonic() + self.cfg.keepalive)
        self.wait_for_request(conn)

    def wait_for_request(self, conn: Connection) -> None:
        """Wait for the next request, whose beginning may have come with the last one."""
        if conn.is_quick and not conn.head and not self.quick.is_held_up():
            self.quick.add(conn)
            return
        self.watch(conn, READ, self.on_head, self.late_head)
        if conn.head:
            conn.until = time.monotonic() + self.limits.header_seconds
            self.read_head(conn)

    def refuse(self, conn: Connection, status: int, detail: str) -> None:
        """Answer a request that gets no thread."""
        self.unwatch(conn)
        request_id, reply = early_replies.make_problem(status, detail)
        conn.outbox.sendall(reply)
        log_refusal(conn.request, conn.client, status, id=request_id, bytes=len(reply))
        self.part(conn)

    def part(self, conn: Connection) -> None:
        """Close a connection so that its client sees the reply first.

        If it were closed while the client sends, it would be reset and the reply might be lost.
        """
        conn.outbox.close()
        conn.body.close()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
            return
        conn.pace = None
        conn.until = time.monotonic() + self.limits.drain_seconds
        self.watch(conn, READ, self._on_rest, self.drop)

    def _on_rest(self, conn: Connection) -> None:
        """Discard bytes that the client still sends."""
        if conn.read(PIECE_BYTES * 4) == b"":
            self.drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a malformed request with a problem; the log names the error, not the content."""
        status = early_replies.status_of(exc)
        request_id, reply = early_replies.make_problem(status, early_replies.detail_of(exc, status))
        if status == 500:  # noqa: PLR2004
            self.log.error("request %s failed", request_id, exc_info=exc)
        log_refusal(req, addr, status, id=request_id, bytes=len(reply), reason=type(exc).__name__)
        try:
            util.write_nonblock(client, reply)
        except OSError:
            self.log.debug("Failed to send error message.")
