"""Why the database refused, in one line for the log."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

MOST_CHARACTERS = 300


def reason_of(error: BaseException) -> str:
    """The kind of an error and its first line: no statement, no parameter, no key."""
    if isinstance(error, DBAPIError):
        # Further lines of PostgreSQL have values in them.
        error_lines = str(error.orig).strip().splitlines() or [""]
        return f"{type(error).__name__}: {error_lines[0][:MOST_CHARACTERS]}"
    return str(error)
