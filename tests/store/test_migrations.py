"""The schema: from empty, down, up again, and the same as the models."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from api.store.base import Base
from api.store.migrate import is_current, migrate


def differences(database):
    with database.reading() as session:
        return compare_metadata(MigrationContext.configure(session.connection()), Base.metadata)


def test_the_migrated_schema_is_that_of_the_models(database):
    assert differences(database) == []
    assert is_current(database)


def test_down_leaves_nothing_and_up_again_gives_the_same(database):
    migrate(database, "base")
    assert not is_current(database)
    with database.reading() as session:
        assert inspect(session.connection()).get_table_names() == ["alembic_version"]
    migrate(database)
    assert differences(database) == []


def test_migrating_twice_changes_nothing(database):
    migrate(database)
    assert is_current(database)
