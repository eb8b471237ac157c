"""Connections of quick requests, served by one thread from end to end (docs/adr/0014)."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable

from api.connections.connection import Connection

QUICK_SECONDS = 0.005
"""Longest time of a quick request."""

ACTIVE_SECONDS = 0.5
"""Seconds after a request for which the poller looks often whether the thread is held up."""

Step = Callable[[], object]
"""Function that the poller calls to continue a connection."""


class QuickConnections:
    """Connections whose last request was quick, and the thread that serves them.

    Passing a request from the poller to a thread and back takes longer than a small request itself.
    So the thread waits for these sockets by itself. A connection goes back to the poller when
    anything but a whole request comes, and all go back when one request holds up the thread.

    Each connection belongs to this thread, or to whoever has removed it.
    """

    def __init__(
        self, serve: Callable[[Connection], Step | None], defer: Callable[[Step], object]
    ) -> None:
        """Make an empty set; `serve` returns the poller's next step, None to keep a connection."""
        self._serve, self._defer = serve, defer
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        self._current: Connection | None = None
        self._begun = 0.0

    def start(self) -> None:
        """Start the thread, which does not keep the process alive."""
        threading.Thread(target=self._run, daemon=True, name="quick").start()

    # ---- The poller's thread ---------------------------------------------------------------

    def add(self, conn: Connection) -> None:
        """Take over a connection between two requests."""
        with self._lock:
            self._connections.add(conn)
            self._selector.register(conn.sock, selectors.EVENT_READ, conn)

    def waiting(self) -> list[Connection]:
        """List the connections between two requests."""
        with self._lock:
            return [conn for conn in self._connections if conn is not self._current]

    def remove(self, conn: Connection) -> bool:
        """Release a connection; tell whether it was here and waits."""
        with self._lock:
            is_mine = conn in self._connections and conn is not self._current
            if is_mine:
                self._release(conn)
            return is_mine

    def is_active(self) -> bool:
        """Tell whether a request came in the last moment."""
        return time.monotonic() - self._begun < ACTIVE_SECONDS

    def is_held_up(self) -> bool:
        """Tell whether a request takes so long that the other connections must not wait for it."""
        return self._current is not None and time.monotonic() - self._begun > QUICK_SECONDS

    # ---- The thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                self._continue(key.data)

    def _continue(self, conn: Connection) -> None:
        if not self._begin(conn):
            return
        try:
            step = self._serve(conn)
        finally:
            with self._lock:
                self._current = None
                if step is not None:
                    self._release(conn)
        if step is not None:
            self._defer(step)

    def _begin(self, conn: Connection) -> bool:
        """Claim a connection; the poller may have removed it."""
        now, was_active = time.monotonic(), self.is_active()
        with self._lock:
            if conn not in self._connections:
                return False
            self._current, self._begun = conn, now
        if not was_active:
            # The poller sleeps longer, and has to look more often from now on.
            self._defer(lambda: None)
        return True

    def _release(self, conn: Connection) -> None:
        self._connections.remove(conn)
        self._selector.unregister(conn.sock)
