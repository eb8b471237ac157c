"""Returns the space of deleted records to the disk while the service runs (SQLite)."""

from __future__ import annotations

from sqlalchemy.exc import OperationalError

from api.store.base import INCREMENTAL, SQLITE_PAGE_BYTES, Database

LEAST_BYTES = 4 << 20
"""Free bytes that stay in the file for new records."""

STEP_BYTES = 1 << 20
"""Bytes returned by one transaction; small, so that other writers do not wait long."""

FREE_PAGES = """
SELECT freelist_count FROM pragma_freelist_count, pragma_auto_vacuum WHERE auto_vacuum = ?
"""
"""Query for the free pages of a file that can be shortened."""


def give_back(database: Database) -> bool:
    """Shorten the file by one step; return whether there was space to return.

    It does nothing while another transaction writes. PostgreSQL reuses its space by itself.
    """
    if not database.sqlite or _free_bytes(database) < LEAST_BYTES:
        return False
    try:
        with database.writing(wait=False) as session:
            connection = session.connection()
            for _ in range(STEP_BYTES // SQLITE_PAGE_BYTES):
                # The driver ends the statement after one page, whatever number it is given.
                connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
    except OperationalError:
        return False
    if _free_bytes(database) < LEAST_BYTES:
        # The file becomes shorter only when the log is moved into it.
        database.settle("PASSIVE")
    return True


def _free_bytes(database: Database) -> int:
    """Return the free bytes in the file, 0 if the file cannot shrink."""
    with database.reading() as session:
        pages = session.connection().exec_driver_sql(FREE_PAGES, (INCREMENTAL,)).scalar()
        return (pages or 0) * SQLITE_PAGE_BYTES
