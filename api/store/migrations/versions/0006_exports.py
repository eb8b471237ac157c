"""Exports: their records, which are jobs, and their files in blocks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The types as this revision has them, whatever the models say later.
ID = sa.String(32)
NAME = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
WHOLE = sa.BigInteger()
MOMENT = sa.DateTime(timezone=True)
BYTES = sa.LargeBinary()
REAL: sa.Double[float] = sa.Double()

QUEUE = ["state", "lane", "client", "created_at", "id"]


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("mapping_id", ID, nullable=False),
        sa.Column("nbytes", WHOLE, nullable=False),
        sa.Column("used_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("done", WHOLE, nullable=False),
        sa.Column("total", WHOLE, nullable=False),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("owner", sa.String(120), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("cost", REAL, nullable=False),
        sa.Column("lane", sa.String(8), nullable=False),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("setbacks", WHOLE, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["mapping_id"],
            ["mappings.id"],
            name=op.f("fk_exports_mapping_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
        sa.UniqueConstraint("mapping_id", name=op.f("uq_exports_mapping_id")),
    )
    for columns in (["name"], ["created_at"], ["state", "created_at", "id"], QUEUE):
        op.create_index(op.f(f"ix_exports_{'_'.join(columns)}"), "exports", columns)
    op.create_table(
        "export_blocks",
        sa.Column("export_id", ID, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("data", BYTES, nullable=False),
        sa.ForeignKeyConstraint(
            ["export_id"],
            ["exports.id"],
            name=op.f("fk_export_blocks_export_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("export_id", "number", name=op.f("pk_export_blocks")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE export_blocks ALTER COLUMN data SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("export_blocks")
    op.drop_table("exports")
