"""gunicorn, started from Python with the settings that this service needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from api.app import create_app

HEADER_BYTES = 8190
GRACE_SECONDS = 30
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a RAM disk for heartbeats, not for data


class Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """The service on one address."""

    def __init__(self, host: str, port: int, workers: int, threads: int) -> None:
        self.options: dict[str, Any] = {
            "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "workers": workers,
            # Threads read bodies while others compute; a sync worker would wait for a slow client.
            "worker_class": "gthread",
            "threads": threads,
            "keepalive": 75,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": HEADER_BYTES,
            "umask": 0o077,
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        if SHARED_MEMORY.is_dir():
            # On a slow disk a heartbeat can take so long that a healthy worker is killed.
            self.options["worker_tmp_dir"] = str(SHARED_MEMORY)
        super().__init__()

    def load_config(self) -> None:
        """Hand the options to gunicorn."""
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, in each worker anew."""
        return create_app()
