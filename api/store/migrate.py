"""Migrates a database to the schema of this code, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from api.store.base import Database

LOCK = 0x1DEA1F17
"""PostgreSQL advisory lock held while migrating, so that only one process creates tables."""


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, which needs no file."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    found.attributes["connection"] = connection
    return found


def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade or downgrade to a revision, in one transaction."""
    with database.writing() as session:
        connection = session.connection()
        if not database.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        down = current is not None and revision in {"base", *_older_than(current)}
        (command.downgrade if down else command.upgrade)(config(connection), revision)


def is_current(database: Database) -> bool:
    """Return whether the database has the schema of this code."""
    with database.reading() as session:
        current = MigrationContext.configure(session.connection()).get_current_revision()
    return current == ScriptDirectory.from_config(config()).get_current_head()


def _older_than(revision: str) -> set[str]:
    script = ScriptDirectory.from_config(config())
    return {older.revision for older in script.walk_revisions("base", revision)} - {revision}
