"""Lane, client and pause of each job, and the turns of clients."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("fits", "mappings")
QUEUE = ["state", "lane", "client", "created_at", "id"]

# The types as this revision has them, whatever the models say later.
WHOLE = sa.BigInteger()
CLIENT = sa.String(64)
LANE = sa.String(8)


def upgrade() -> None:
    for table in TABLES:
        # The client and the cost of existing jobs are unknown: they count as jobs of one more
        # client, and as large.
        op.add_column(table, sa.Column("client", CLIENT, nullable=False, server_default=""))
        op.add_column(table, sa.Column("cost", sa.Double(), nullable=False, server_default="0"))
        op.add_column(table, sa.Column("lane", LANE, nullable=False, server_default="large"))
        op.add_column(table, sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("setbacks", WHOLE, nullable=False, server_default="0"))
        op.create_index(op.f(f"ix_{table}_{'_'.join(QUEUE)}"), table, QUEUE)
    op.create_table(
        "turns",
        sa.Column("lane", LANE, nullable=False),
        sa.Column("client", CLIENT, nullable=False),
        sa.Column("turn", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("lane", "client", name=op.f("pk_turns")),
    )


def downgrade() -> None:
    op.drop_table("turns")
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_{'_'.join(QUEUE)}"), table)
        for column in ("setbacks", "not_before", "lane", "cost", "client"):
            op.drop_column(table, column)
