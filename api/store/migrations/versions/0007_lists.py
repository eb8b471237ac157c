"""An index for each order of the lists, alone and under each filter."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ORDERS = (["created_at", "id"], ["name", "id"], ["name", "created_at", "id"])
FILTERS = {
    "datasets": (),
    "fits": ("training_id", "ideal_id", "state"),
    "mappings": ("fit_id", "test_id", "state"),
}
"""Columns, beside the name, that the list of each table filters by."""

BY_STATE = ["state", "created_at", "id"]


def _indexes(table: str) -> list[list[str]]:
    orders = ("created_at", "name")
    return [*ORDERS, *([column, order, "id"] for column in FILTERS[table] for order in orders)]


def _former(table: str) -> list[list[str]]:
    """List the single indexes, each of which is now the beginning of another."""
    return [["created_at"], ["name"], *([name] for name in FILTERS[table] if name != "state")]


def upgrade() -> None:
    for table in FILTERS:
        for columns in _former(table):
            op.drop_index(op.f(f"ix_{table}_{columns[0]}"), table)
        for columns in _indexes(table):
            if columns != BY_STATE:
                _create(table, columns)
    # There is no list of exports.
    for columns in (["created_at"], ["name"], BY_STATE):
        op.drop_index(op.f(f"ix_exports_{'_'.join(columns)}"), "exports")


def downgrade() -> None:
    for columns in (["created_at"], ["name"], BY_STATE):
        _create("exports", columns)
    for table in FILTERS:
        for columns in _indexes(table):
            if columns != BY_STATE:
                op.drop_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table)
        for columns in _former(table):
            _create(table, columns)


def _create(table: str, columns: list[str]) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
