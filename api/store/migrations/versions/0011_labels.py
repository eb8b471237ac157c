"""Units and attributes of curves, the unit of x, and whether x is a grid."""

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The types and tables as this revision has them, whatever the models say later.
UNIT = sa.String(200)
JSON_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
GRIDS = sa.table("grids", sa.column("dataset_id", sa.String), sa.column("data", sa.LargeBinary))
DATASETS = sa.table("datasets", sa.column("id", sa.String), sa.column("is_grid", sa.Boolean))


def upgrade() -> None:
    op.create_table(
        "curve_labels",
        sa.Column("dataset_id", sa.String(32), nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("unit", UNIT, nullable=True),
        sa.Column("attributes", JSON_TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_curve_labels_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset_id", "index", name=op.f("pk_curve_labels")),
    )
    # Add plain columns only: for anything else SQLite copies the table, and the cascades of the
    # old one would delete all curves.
    op.add_column("datasets", sa.Column("x_unit", UNIT, nullable=True))
    op.add_column(
        "datasets", sa.Column("is_grid", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    _find_others()


def _find_others() -> None:
    """Mark datasets in which a row has no x, or the x of another row."""
    connection, g = op.get_bind(), GRIDS.c
    for dataset_id in connection.scalars(sa.select(g.dataset_id)).all():
        data = connection.scalars(sa.select(g.data).where(g.dataset_id == dataset_id)).one()
        x = np.sort(np.frombuffer(data, "<f8"))  # NaN comes last
        if np.isnan(x[-1]) or not (x[1:] > x[:-1]).all():
            other = sa.update(DATASETS).where(DATASETS.c.id == dataset_id)
            connection.execute(other.values(is_grid=False))


def downgrade() -> None:
    op.drop_column("datasets", "is_grid")
    op.drop_column("datasets", "x_unit")
    op.drop_table("curve_labels")
