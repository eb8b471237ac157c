"""What the log says of errors of the database: no statement, no parameter, no stored value."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

MOST_CHARACTERS = 300

DATA_ERRORS = "22"
"""Class of SQLSTATE whose messages quote the value that is wrong."""


def reason_of(error: BaseException) -> str:
    """The kind of an error and its first line: no statement, no parameter, no key."""
    if not _is_of_database(error):
        return str(error)
    driver = error.orig if isinstance(error, DBAPIError) else error
    if (getattr(driver, "sqlstate", None) or "").startswith(DATA_ERRORS):
        return f"{type(error).__name__}: {type(driver).__name__}"
    # Further lines of PostgreSQL have values in them.
    error_lines = str(driver).strip().splitlines() or [""]
    return f"{type(error).__name__}: {error_lines[0][:MOST_CHARACTERS]}"


def _is_of_database(error: BaseException) -> bool:
    # psycopg is not always installed; its errors, and no others, have an SQLSTATE.
    return isinstance(error, DBAPIError | sqlite3.Error) or hasattr(error, "sqlstate")
