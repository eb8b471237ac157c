"""Short warnings about a failing database or disk, at most one a second of each kind."""

from __future__ import annotations

import logging
import threading
import time

from api.store.reasons import reason_of

QUIET_SECONDS = 1.0
"""Seconds for which a process does not log the same kind of error again."""


class ThrottledLog:
    """A log of errors that pass by themselves, each kind at most once a second."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}

    def note(self, who: str, error: Exception) -> None:
        """Log one line, unless the same kind of error has just been logged."""
        kind = type(error).__name__
        now = time.monotonic()
        with self._lock:
            last, left_out = self._seen.get(kind, (-QUIET_SECONDS, 0))
            if now - last < QUIET_SECONDS:
                self._seen[kind] = last, left_out + 1
                return
            self._seen[kind] = now, 0
        more = f" (and {left_out} more like the one before)" if left_out else ""
        self._log.warning("%s: %s%s", who, " ".join(reason_of(error).split()), more)
