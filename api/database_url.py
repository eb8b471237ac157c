"""Check of DATABASE_URL; errors show nothing of it, as it may hold a password."""

from __future__ import annotations

import re

FORM = "postgresql://user:password@host:port/name"
LARGEST_PORT = 65_535

_SCHEME = re.compile(r"(postgres|postgresql(\+psycopg)?|sqlite(\+pysqlite)?)://")
_HOST = re.compile(r"[A-Za-z0-9._:,-]*", re.ASCII)


def check_database_url(url: str) -> None:
    """Raise ValueError, without the URL in its message, if no database can be at it."""
    if not url:
        return
    if not _SCHEME.match(url):
        raise ValueError(f"its form is {FORM}, or sqlite:///path.")
    # Slow to load, and without this setting not needed here.
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        parts = make_url(url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # The port is no number. Perhaps it is the rest of a password.
        raise _unreadable() from None
    if parts.get_backend_name() == "sqlite":
        return
    if not _HOST.fullmatch(parts.host or "") or "@" in (parts.database or ""):
        raise _unreadable()
    if parts.port is not None and not 1 <= parts.port <= LARGEST_PORT:
        raise ValueError(f"its port must be a number from 1 to {LARGEST_PORT}.")


def _unreadable() -> ValueError:
    return ValueError(
        f"its form is {FORM}; its port is a number, and / : @ in a user or password are written"
        " %2F %3A %40."
    )
