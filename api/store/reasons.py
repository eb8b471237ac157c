"""Texts of database errors for the log, without statements, parameters or stored values."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

MOST_CHARACTERS = 300

DATA_ERRORS = "22"
"""Class of SQLSTATE whose messages quote the wrong value."""


def reason_of(error: BaseException) -> str:
    """Return the kind of an error and its first line, without statement, parameters or keys."""
    if not _is_of_database(error):
        return str(error)
    driver = error.orig if isinstance(error, DBAPIError) else error
    if (getattr(driver, "sqlstate", None) or "").startswith(DATA_ERRORS):
        return f"{type(error).__name__}: {type(driver).__name__}"
    # The further lines of PostgreSQL contain values.
    error_lines = str(driver).strip().splitlines() or [""]
    return f"{type(error).__name__}: {error_lines[0][:MOST_CHARACTERS]}"


def _is_of_database(error: BaseException) -> bool:
    # psycopg may not be installed; only its errors have an SQLSTATE.
    return isinstance(error, DBAPIError | sqlite3.Error) or hasattr(error, "sqlstate")
