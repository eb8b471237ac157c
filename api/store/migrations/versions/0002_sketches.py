"""Sketches beside the blocks; a later revision makes those of libraries stored before."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The types as this revision has them, whatever the models say later.
ID = sa.String(32)
WHOLE = sa.BigInteger()
REAL: sa.Double[float] = sa.Double()
BYTES = sa.LargeBinary()


def upgrade() -> None:
    op.create_table(
        "sketch_bases",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("n_points", WHOLE, nullable=False),
        sa.Column("exponent", WHOLE, nullable=False),
        sa.Column("centre", REAL, nullable=False),
        sa.Column("data", BYTES, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_sketch_bases_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_sketch_bases")),
    )
    op.create_table(
        "sketch_blocks",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("first", WHOLE, autoincrement=False, nullable=False),
        sa.Column("count", WHOLE, nullable=False),
        sa.Column("data", BYTES, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_sketch_blocks_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset_id", "first", name=op.f("pk_sketch_blocks")),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table in ("sketch_bases", "sketch_blocks"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("sketch_blocks")
    op.drop_table("sketch_bases")
