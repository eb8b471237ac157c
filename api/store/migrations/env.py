"""Alembic runs this file; `api.store.migrate` passes the connection and its transaction."""

from alembic import context

from api.store import (  # noqa: F401 - registers every model
    datasets,
    exports,
    fits,
    lanes,
    mappings,
)
from api.store.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # We send BEGIN ourselves, so SQLite also changes its schema in a transaction.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
