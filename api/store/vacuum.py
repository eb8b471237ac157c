"""Gives the room of deleted records back to the disk while the service runs (SQLite)."""

from __future__ import annotations

from sqlalchemy.exc import OperationalError

from api.store.base import INCREMENTAL, SQLITE_PAGE_BYTES, Database

LEAST_BYTES = 4 << 20
"""Free room that stays in the file for the next records."""

STEP_BYTES = 1 << 20
"""Room given back by one transaction, so that nobody who writes waits for long."""

FREE_PAGES = """
SELECT freelist_count FROM pragma_freelist_count, pragma_auto_vacuum WHERE auto_vacuum = ?
"""


def give_back(database: Database) -> bool:
    """Shorten the file by a step; whether there was something to do.

    Nothing is done while anybody writes. PostgreSQL reuses its room by itself.
    """
    if not database.sqlite or _free_bytes(database) < LEAST_BYTES:
        return False
    try:
        with database.writing(wait=False) as session:
            connection = session.connection()
            for _ in range(STEP_BYTES // SQLITE_PAGE_BYTES):
                # The driver ends the statement after its first page, whatever it is asked for.
                connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
    except OperationalError:
        return False
    if _free_bytes(database) < LEAST_BYTES:
        # The file itself becomes shorter when the log is brought into it.
        database.settle("PASSIVE")
    return True


def _free_bytes(database: Database) -> int:
    """Room that records have left, if the file can be shortened at all."""
    with database.reading() as session:
        pages = session.connection().exec_driver_sql(FREE_PAGES, (INCREMENTAL,)).scalar()
        return (pages or 0) * SQLITE_PAGE_BYTES
