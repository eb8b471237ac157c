"""The worker class: `gunicorn --worker-class api.connections.Worker`."""

from __future__ import annotations

import selectors
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from gunicorn.http import wsgi

from api.connections import early_replies
from api.connections.byte_queue import IN_MEMORY, NO_ROOM
from api.connections.connection import PIECE_BYTES, Connection
from api.connections.quick import QUICK_SECONDS, Step
from api.connections.replies import Replies
from api.connections.request_log import log_answer

FIRST_BYTES = 1 << 16
"""Bytes of a body that are received before a thread may continue it."""

READ = selectors.EVENT_READ


class Worker(Replies):
    """gunicorn's threaded worker, which gives a thread only to complete requests.

    The poller receives heads and bodies, and sends replies to slow clients. TLS, HTTP/2, uWSGI and
    the PROXY protocol are left to gunicorn, where a thread waits for its client.
    """

    alive: bool

    # ---- A request comes -------------------------------------------------------------------

    def on_head(self, conn: Connection) -> None:
        """Receive a head."""
        data = conn.read()
        if data is None:
            return
        if not data:
            self.drop(conn)
            return
        self._take_head(conn, data)
        self.read_head(conn)

    def _take_head(self, conn: Connection, data: bytes) -> None:
        """Keep a part of a head; the first one starts its deadline."""
        if not conn.head and conn.requests:
            conn.until = time.monotonic() + self.limits.header_seconds
        conn.head += data

    def read_head(self, conn: Connection) -> None:
        """Parse a complete head, and continue with the body."""
        try:
            if not self._parse(conn):
                return
        except Exception as error:  # noqa: BLE001 - each ends in an answer
            self.unwatch(conn)
            self._refuse_head(conn, error)
            return
        self.unwatch(conn)
        self._begin_body(conn)

    def _parse(self, conn: Connection) -> bool:
        """Parse the head if it is complete, and tell whether it was; raise if it is refused."""
        if not conn.parse():
            return False
        self._admit(conn.request)
        assert conn.framing is not None  # noqa: S101 - it has a head
        conn.is_whole = conn.framing.count(conn.parser.unreader.buf.getvalue())
        return True

    def _refuse_head(self, conn: Connection, error: Exception) -> None:
        self.handle_error(conn.request, conn.outbox, conn.client, error)
        self.part(conn)

    def late_head(self, conn: Connection) -> None:
        """Give up a head that is late."""
        if conn.head:
            self.refuse(conn, 408, early_replies.TOO_SLOW)
        else:
            self.drop(conn)

    def _admit(self, request: Any) -> None:
        """Refuse requests that gunicorn lets through, and drop headers that clients may not set."""
        names = [name for name, _ in request.headers]
        if request.version >= (1, 1) and "HOST" not in names:
            raise early_replies.NoHost
        # gunicorn would let whoever connects from this host move the application.
        request.headers = [pair for pair in request.headers if pair[0] != "SCRIPT_NAME"]
        options = [value.lower() for name, value in request.headers if name == "CONNECTION"]
        if "close" in [option.strip() for option in ",".join(options).split(",")]:
            request.force_close()

    def _begin_body(self, conn: Connection) -> None:
        """Give a complete request a thread, or receive its body first."""
        if conn.is_whole:
            self.enqueue_req(conn)
            return
        if conn.request._expected_100_continue:  # noqa: SLF001 - gunicorn has no other way to ask
            conn.outbox.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.expect_body()
        self.watch(conn, READ, self._on_body, self._late_body)

    def _on_body(self, conn: Connection) -> None:
        """Receive a part of a body; a long one continues in a thread if a slot is free."""
        assert conn.framing is not None  # noqa: S101 - it has a head
        assert conn.pace is not None  # noqa: S101 - it is being timed
        if len(conn.body) + PIECE_BYTES > IN_MEMORY and self.body_room.is_full():
            self.pause(conn)
            return
        data = conn.read(min(conn.framing.missing or PIECE_BYTES, PIECE_BYTES))
        if data is None:
            return
        if not data:
            self.refuse(conn, 400, early_replies.CUT_OFF)
            return
        try:
            conn.body.append(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self.refuse(conn, 507, early_replies.NO_ROOM)
            return
        conn.pace.count(len(data))
        conn.is_whole = conn.framing.count(data)
        if conn.is_whole or (len(conn.body) >= FIRST_BYTES and conn.body_slot.take()):
            self.unwatch(conn)
            self.enqueue_req(conn)

    def _late_body(self, conn: Connection) -> None:
        self.refuse(conn, 408, early_replies.TOO_SLOW)

    def resume(self, conn: Connection) -> None:
        """Continue a body that was put off."""
        has_slot = conn.body_slot.take()
        if not has_slot and self.body_room.is_full():
            return
        assert conn.pace is not None  # noqa: S101 - it is being timed
        conn.pace.wait(time.monotonic() - self.paused[conn])
        self.unwatch(conn)
        if has_slot:
            self.enqueue_req(conn)
        else:
            self.watch(conn, READ, self._on_body, self._late_body)

    # ---- It is worked on -------------------------------------------------------------------

    def serve_quick(self, conn: Connection) -> Step | None:
        """Receive and answer a whole request; return what else the poller has to do.

        In the thread of the quick connections, whose end would be theirs.
        """
        try:
            return self._receive_quick(conn)
        except Exception:
            self.log.exception("A connection failed")
            return partial(self.drop, conn)

    def _receive_quick(self, conn: Connection) -> Step | None:
        data = conn.read()
        if data is None:
            return None
        if not data:
            return partial(self.drop, conn)
        self._take_head(conn, data)
        try:
            if not self._parse(conn):
                return partial(self.watch, conn, READ, self.on_head, self.late_head)
        except Exception as error:  # noqa: BLE001 - each ends in an answer
            return partial(self._refuse_head, conn, error)
        if not conn.is_whole or self.pool_of(conn) is not self.tpool:
            return partial(self._begin_body, conn)
        return self._answer_quick(conn)

    def _answer_quick(self, conn: Connection) -> Step | None:
        self.begin_request(conn)
        keep = False
        with suppress(SystemExit):  # as a thread of the pool does
            keep = self.handle(conn)
        if not (keep and conn.is_quick and conn.is_done()):
            return partial(self.finish, conn, keep=keep)
        self.end_request(conn)
        conn.next_request(time.monotonic() + self.cfg.keepalive)
        return partial(self.wait_for_request, conn) if conn.head else None

    def enqueue_req(self, conn: Any) -> None:
        """Give a request a thread; health and metrics have their own threads."""
        if self.is_stock:
            super().enqueue_req(conn)
            return
        self.begin_request(conn)
        task = self.pool_of(conn).submit(self.handle, conn)
        task.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, conn, done)
        )

    def pool_of(self, conn: Connection) -> ThreadPoolExecutor:
        """Choose the threads for a request: health and metrics have their own."""
        path = str(conn.request.path)
        end = next((end for end in self.apart if path.endswith(end)), None)
        if conn.is_whole and end:
            return self.apart[end]
        pool: ThreadPoolExecutor = self.tpool
        return pool

    def handle(self, conn: Any) -> bool:
        """Answer a request, in a thread; tell whether another may follow."""
        if self.is_stock:
            return bool(super().handle(conn))
        begun = time.monotonic()
        try:
            conn.stands_back = False
            return self.handle_request(conn.request, conn) and conn.finish_body()
        except (ConnectionError, TimeoutError) as error:
            self.log.debug("A client has left or was given up: %s", error)
            conn.broken = True
        except Exception as error:  # noqa: BLE001 - each ends in an answer
            self.handle_error(conn.request, conn.outbox, conn.client, error)
        finally:
            conn.is_quick = time.monotonic() - begun < QUICK_SECONDS
        return False

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Call the application."""
        if self.is_stock:
            self._admit(req)
            conn.sock.settimeout(self.limits.body_stall_seconds)
            return bool(super().handle_request(req, conn))
        self.cfg.pre_request(self, req)
        is_answered = True
        req._expected_100_continue = False  # noqa: SLF001 - it was answered when the body began
        response, environ = wsgi.create(
            req,
            conn.outbox,
            conn.client,
            conn.server,
            self.cfg,
            response_class=early_replies.Reply,
            response_args=(conn,),
        )
        environ["wsgi.multithread"] = True
        self._close_if_many(response)
        try:
            self._run(environ, response)
        except (ConnectionError, TimeoutError):
            raise
        except (Exception, SystemExit):
            is_answered = response.headers_sent
            if not is_answered:
                raise
            self.log.exception("Error handling request")
            conn.broken = True
        finally:
            if is_answered and not conn.stands_back:
                took = timedelta(seconds=time.monotonic() - conn.ready_at)
                self.log.access(response, req, environ, took)
                log_answer(environ, response, took.total_seconds())
            self.cfg.post_request(self, req, environ, response)
        return not response.should_close()

    def _close_if_many(self, response: Any) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        full = self.nr_conns > self.max_keepalived
        if full or not self.alive or not self.cfg.keepalive:
            response.force_close()

    def _run(self, environ: dict[str, Any], response: Any) -> None:
        result = self.wsgi(environ, response.start_response)
        try:
            if isinstance(result, environ["wsgi.file_wrapper"]):
                response.write_file(result)
            elif response.has_turn():
                for data in result:
                    response.write(data)
            else:
                return
            response.close()
        finally:
            if hasattr(result, "close"):
                result.close()
