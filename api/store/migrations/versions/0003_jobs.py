"""Jobs: attempt, owner and lease of fits and mappings, and the index that finds the next one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("fits", "mappings")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(
            table, sa.Column("attempt", sa.BigInteger(), nullable=False, server_default="0")
        )
        op.add_column(table, sa.Column("owner", sa.String(120), nullable=True))
        op.add_column(table, sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
        op.drop_index(op.f(f"ix_{table}_state"), table)
        op.create_index(
            op.f(f"ix_{table}_state_created_at_id"), table, ["state", "created_at", "id"]
        )


def downgrade() -> None:
    for table in TABLES:
        # The older version has no worker that could end them.
        op.execute(
            f"UPDATE {table} SET state = 'cancelled', finished_at = CURRENT_TIMESTAMP,"  # noqa: S608 - our names
            " version = version + 1 WHERE state IN ('queued', 'running')"
        )
        op.drop_index(op.f(f"ix_{table}_state_created_at_id"), table)
        op.create_index(op.f(f"ix_{table}_state"), table, ["state"])
        for column in ("lease_until", "owner", "attempt"):
            op.drop_column(table, column)
