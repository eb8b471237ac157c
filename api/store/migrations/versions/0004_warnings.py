"""Warnings of a dataset; datasets stored before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The types as this revision has them, whatever the models say later.
DOCUMENT = sa.JSON(none_as_null=True)
WHOLE = sa.BigInteger()


def upgrade() -> None:
    # Add plain columns only: for anything else SQLite copies the table, and the cascades of the
    # old one would delete all curves.
    op.add_column(
        "datasets", sa.Column("warnings", DOCUMENT, nullable=False, server_default=sa.text("'[]'"))
    )
    op.add_column(
        "datasets", sa.Column("n_warnings", WHOLE, nullable=False, server_default=sa.text("0"))
    )


def downgrade() -> None:
    op.drop_column("datasets", "n_warnings")
    op.drop_column("datasets", "warnings")
