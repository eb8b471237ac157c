"""Alembic runs this; `api.store.migrate` hands in the connection and its transaction."""

from alembic import context

from api.store import (  # noqa: F401 - so that every model is known
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
    # SQLite too changes its schema in a transaction, now that BEGIN is ours.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
