"""gunicorn, started from Python with the settings of this service."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from api.app import create_app
from api.config import Settings
from api.connections import Logger, Worker
from api.processes import GRACE_SECONDS, PARENT_SECONDS, is_orphaned

HEADER_BYTES = 8190
ORPHAN_SECONDS = 3
"""Seconds that running requests have to end when the supervisor or gunicorn's master has died."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a RAM disk for heartbeats, not for data


class Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """The service on one address."""

    def __init__(self, host: str, port: int, workers: int, threads: int) -> None:
        self.options: dict[str, Any] = {
            "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "workers": workers,
            "worker_class": Worker,
            "threads": threads,
            "keepalive": 75,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": HEADER_BYTES,
            "umask": 0o077,
            "loglevel": "warning",
            "logger_class": Logger,
            "control_socket_disable": True,
            "post_fork": lambda _master, worker: _leave_with(worker.ppid),
        }
        if SHARED_MEMORY.is_dir():
            # On a slow disk a heartbeat can take so long that a healthy worker is killed.
            self.options["worker_tmp_dir"] = str(SHARED_MEMORY)
        super().__init__()

    def load_config(self) -> None:
        """Set the options of gunicorn."""
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Create the application, in each worker."""
        settings = replace(Settings.from_environment(), threads=self.options["threads"])
        return create_app(settings)

    def serve(self, parent: int, report: Callable[[], None]) -> None:
        """Serve until told to stop, or until the parent is gone."""
        Watched(self, parent, report).run()


def _leave_with(master: int) -> None:
    """End this web process soon after its master has died.

    gunicorn would let it serve whoever has a connection for as long as they talk, and meanwhile
    the next master cannot have the port.
    """

    def watch() -> None:
        while not is_orphaned(master):
            time.sleep(PARENT_SECONDS)
        time.sleep(ORPHAN_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="orphan").start()


class Watched(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's master, as a child that does not outlive its parent."""

    def __init__(self, server: Server, parent: int, report: Callable[[], None]) -> None:
        self.parent = parent
        self.report = report
        super().__init__(server)

    def murder_workers(self) -> None:
        """Stop when the parent is gone; gunicorn calls this every second."""
        self.report()
        if is_orphaned(self.parent):
            self.cfg.set("graceful_timeout", ORPHAN_SECONDS)
            raise StopIteration
        super().murder_workers()
