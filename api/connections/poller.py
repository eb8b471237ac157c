"""The poller of waiting connections; each has its next step and its deadline."""

from __future__ import annotations

import errno
import logging
import resource
import selectors
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore
from typing import Any

import gunicorn
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from api import logs, metrics
from api.config import Settings
from api.connections.byte_queue import ByteBudget
from api.connections.connection import Connection
from api.connections.quick import QUICK_SECONDS, QuickConnections
from api.connections.quick import Step as QuickStep
from api.limits import Limits
from api.running import running

own_log = logging.getLogger(__name__)

APART = ("/health/live", "/health/ready", "/metrics")
"""Ends of addresses that have their own threads."""

LOOK_SECONDS = 0.5
"""Seconds between two checks of the deadlines."""

FAR = float("inf")

OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
PASSING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EPROTO, errno.EPERM}

LEAST_CONNECTIONS = 8
FILES_PER_CONNECTION = 3
"""Most open files of a connection: a socket and the temporary files of a body and a reply."""

Step = Callable[[Connection], None]


class Poller(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's threaded worker, with the sockets that no thread has."""

    worker_connections: int

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse other versions of gunicorn, whose internals may differ."""
        if gunicorn.version_info[:2] != (27, 0):
            raise RuntimeError(f"Idealfit needs gunicorn 27.0, not {gunicorn.__version__}.")
        super().check_config(cfg, log)
        # In the master, before there are web processes.
        metrics.share()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cfg = self.cfg
        # No header says where the service is, whoever sends it (docs/adr/0018).
        cfg.set("secure_scheme_headers", {})
        self.is_stock = (
            cfg.is_ssl
            or cfg.protocol != "http"
            or cfg.proxy_protocol != "off"
            or "h2" in cfg.http_protocols
        )
        self.limits = Limits()
        self.waiting: set[Connection] = set()
        self.paused: dict[Connection, float] = {}
        self.body_room, self.reply_room = ByteBudget(), ByteBudget()
        self.line: deque[Connection] = deque()  # replies that stand back
        self.next_look = self.rest_until = 0.0
        self.stopped_at = FAR

    def init_process(self) -> None:
        """Prepare the process and run it."""
        # One thread each, so that none waits for another, or for work.
        self.apart = {path: ThreadPoolExecutor(1, thread_name_prefix=path[1:]) for path in APART}
        # Half of the threads, and neither slow bodies nor slow readers can have all of those.
        half = max(1, self.cfg.threads // 2)
        self.body_slots = self.reply_slots = BoundedSemaphore(half)
        if half > 1:
            self.reply_slots = BoundedSemaphore(half // 2)
            self.body_slots = BoundedSemaphore(half - half // 2)
        self.quick = QuickConnections(self.serve_quick, self.method_queue.defer)
        self.quick.start()
        self.worker_connections = _room_for_files(self.worker_connections, self.cfg.threads)
        self.max_keepalived = self.worker_connections - self.cfg.threads
        metrics.count_start("web")
        super().init_process()
        logs.log_event(own_log, "web process ended")

    def load_wsgi(self) -> None:
        """Load the application and take its limits."""
        super().load_wsgi()
        is_ours = "idealfit" in getattr(self.wsgi, "extensions", ())
        settings = running(self.wsgi).settings if is_ours else Settings()
        self.limits = settings.limits
        if not logs.is_set_up():
            logs.set_up(settings.log_format, settings.log_level)
        logs.log_event(own_log, "web process started", parent=self.ppid)

    def on_head(self, conn: Connection) -> None:
        """Receive a head."""
        raise NotImplementedError

    def late_head(self, conn: Connection) -> None:
        """Give up a head that is late."""
        raise NotImplementedError

    def serve_quick(self, conn: Connection) -> QuickStep | None:
        """Receive and answer a whole request; return what else the poller has to do."""
        raise NotImplementedError

    def serve_line(self) -> None:
        """Continue replies that were put off, as far as there are slots."""
        raise NotImplementedError

    def resume(self, conn: Connection) -> None:
        """Continue a body that was put off."""
        raise NotImplementedError

    # ---- Connections -----------------------------------------------------------------------

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - gunicorn's signature
        """Accept new connections or none; none for a moment when the system has no more."""
        if not (enabled and time.monotonic() < self.rest_until):
            super().set_accept_enabled(enabled)

    def accept(self, listener: Any) -> None:
        """Accept a new connection."""
        try:
            if self.is_stock:
                super().accept(listener)
                return
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in OUT_OF:
                self._rest(error)
            elif error.errno not in PASSING:
                raise
            return
        self.nr_conns += 1
        conn = Connection(self, sock, client, listener.getsockname())
        self.watch(conn, selectors.EVENT_READ, self.on_head, self.late_head)
        self._step(conn, self.on_head)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _rest(self, error: OSError) -> None:
        self.log.warning("No more connections for a moment: %s", error)
        self.rest_until = time.monotonic() + LOOK_SECONDS
        self.set_accept_enabled(False)
        self._make_room()

    def _make_room(self) -> None:
        """Close the connection without a request that has been idle longest."""
        idle = [conn for conn in self.waiting if conn.react == self.on_head]
        idle += self.quick.waiting()
        if idle:
            conn = min(idle, key=lambda conn: conn.until)
            if conn in self.waiting or self.quick.remove(conn):
                self.drop(conn)

    def watch(self, conn: Connection, events: int, react: Step, expire: Step) -> None:
        """Wait for a socket; `react` is called when it is ready, `expire` when it is late."""
        conn.react, conn.expire = react, expire
        self.waiting.add(conn)
        self.poller.register(conn.sock, events, partial(self._step, conn, react))

    def pause(self, conn: Connection) -> None:
        """Ignore a socket until there is room for more bytes."""
        self.poller.unregister(conn.sock)
        self.paused[conn] = time.monotonic()

    def unwatch(self, conn: Connection) -> None:
        """Stop waiting for a socket."""
        if conn in self.waiting:
            self.waiting.remove(conn)
            if self.paused.pop(conn, None) is None:
                self.poller.unregister(conn.sock)

    def _step(self, conn: Connection, step: Step, _sock: Any = None) -> None:
        """Continue a connection; its errors do not affect others."""
        if conn not in self.waiting:
            return
        try:
            step(conn)
        except ConnectionError:
            self.drop(conn)
        except Exception:
            self.log.exception("A connection failed")
            self.drop(conn)

    def drop(self, conn: Connection) -> None:
        """Close a connection at once."""
        self.unwatch(conn)
        self.nr_conns -= 1
        conn.close()
        self.serve_line()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for sockets, and take back quick connections whose thread is held up."""
        super().wait_for_and_dispatch_events(QUICK_SECONDS if self.quick.is_active() else timeout)
        if self.quick.is_held_up():
            for conn in self.quick.waiting():
                if self.quick.remove(conn):
                    self.watch(conn, selectors.EVENT_READ, self.on_head, self.late_head)

    def murder_pending(self) -> None:
        """Give up clients that are late; gunicorn calls this at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + LOOK_SECONDS
        if not self.alive:
            self.stopped_at = min(self.stopped_at, now)
        stop = self.stopped_at + STOP_KEEPALIVE_LINGER
        for conn in self.quick.waiting():
            if now > min(conn.until, stop) and self.quick.remove(conn):
                self.drop(conn)
        for conn in list(self.waiting):
            idle = conn.react == self.on_head and not conn.head
            until = min(conn.deadline, stop if idle else FAR)
            if conn not in self.paused and now > until and conn.expire is not None:
                self._step(conn, conn.expire)
        for conn in list(self.paused):
            self._step(conn, self.resume)


def _room_for_files(connections: int, threads: int) -> int:
    """Raise the limit of open files; return the number of connections for which it is enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = 64 + 4 * threads
    wanted = others + FILES_PER_CONNECTION * connections
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    return max(LEAST_CONNECTIONS, (soft - others) // FILES_PER_CONNECTION)
