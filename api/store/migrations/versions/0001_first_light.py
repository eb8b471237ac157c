"""First light: datasets, fits, mappings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The types as this revision has them, whatever the models say later.
NAME = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
ID = sa.String(32)
DOCUMENT = sa.JSON(none_as_null=True)
TIME = sa.DateTime(timezone=True)
WHOLE = sa.BigInteger()
REAL: sa.Double[float] = sa.Double()
BYTES = sa.LargeBinary()


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("attributes", DOCUMENT, nullable=False),
        sa.Column("x_column", NAME, nullable=False),
        sa.Column("n_points", WHOLE, nullable=False),
        sa.Column("n_curves", WHOLE, nullable=False),
        sa.Column("x_min", REAL, nullable=True),
        sa.Column("x_max", REAL, nullable=True),
        sa.Column("n_gaps", WHOLE, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("source", DOCUMENT, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
    )
    op.create_index(op.f("ix_datasets_created_at"), "datasets", ["created_at"])
    op.create_index(op.f("ix_datasets_name"), "datasets", ["name"])

    op.create_table(
        "curve_blocks",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("first", WHOLE, autoincrement=False, nullable=False),
        sa.Column("count", WHOLE, nullable=False),
        sa.Column("data", BYTES, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_curve_blocks_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset_id", "first", name=op.f("pk_curve_blocks")),
    )
    op.create_table(
        "curves",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("index", WHOLE, autoincrement=False, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("n_gaps", WHOLE, nullable=False),
        sa.Column("y_min", REAL, nullable=True),
        sa.Column("y_max", REAL, nullable=True),
        sa.Column("y_mean", REAL, nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_curves_dataset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "index", name=op.f("pk_curves")),
        sa.UniqueConstraint("dataset_id", "name", name=op.f("uq_curves_dataset_id_name")),
    )
    op.create_table(
        "fits",
        sa.Column("training_id", ID, nullable=False),
        sa.Column("ideal_id", ID, nullable=False),
        sa.Column("criterion", sa.String(length=8), nullable=False),
        sa.Column("transform", sa.String(length=8), nullable=False),
        sa.Column("alignment", sa.String(length=8), nullable=False),
        sa.Column("x_tolerance", REAL, nullable=True),
        sa.Column("outside", sa.String(length=8), nullable=False),
        sa.Column("min_overlap", REAL, nullable=False),
        sa.Column("top_k", WHOLE, nullable=False),
        sa.Column("training_curves", DOCUMENT, nullable=True),
        sa.Column("ideal_curves", DOCUMENT, nullable=True),
        sa.Column("training_sha256", sa.String(length=64), nullable=False),
        sa.Column("ideal_sha256", sa.String(length=64), nullable=False),
        sa.Column("n_training", WHOLE, nullable=False),
        sa.Column("n_ideal", WHOLE, nullable=False),
        sa.Column("engine", ID, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("done", WHOLE, nullable=False),
        sa.Column("total", WHOLE, nullable=False),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["ideal_id"], ["datasets.id"], name=op.f("fk_fits_ideal_id")),
        sa.ForeignKeyConstraint(["training_id"], ["datasets.id"], name=op.f("fk_fits_training_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fits")),
    )
    op.create_index(op.f("ix_fits_created_at"), "fits", ["created_at"])
    op.create_index(op.f("ix_fits_ideal_id"), "fits", ["ideal_id"])
    op.create_index(op.f("ix_fits_name"), "fits", ["name"])
    op.create_index(op.f("ix_fits_state"), "fits", ["state"])
    op.create_index(op.f("ix_fits_training_id"), "fits", ["training_id"])

    op.create_table(
        "grids",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("data", BYTES, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_grids_dataset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_grids")),
    )
    op.create_table(
        "mappings",
        sa.Column("fit_id", ID, nullable=False),
        sa.Column("test_id", ID, nullable=False),
        sa.Column("policy", sa.String(length=8), nullable=False),
        sa.Column("tolerance_factor", REAL, nullable=False),
        sa.Column("alignment", sa.String(length=8), nullable=False),
        sa.Column("x_tolerance", REAL, nullable=True),
        sa.Column("test_sha256", sa.String(length=64), nullable=False),
        sa.Column("columns", DOCUMENT, nullable=False),
        sa.Column("n_points", WHOLE, nullable=False),
        sa.Column("mapped_points", WHOLE, nullable=False),
        sa.Column("unmapped_points", WHOLE, nullable=False),
        sa.Column("n_assignments", WHOLE, nullable=False),
        sa.Column("unmapped_reasons", DOCUMENT, nullable=False),
        sa.Column("functions", DOCUMENT, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("done", WHOLE, nullable=False),
        sa.Column("total", WHOLE, nullable=False),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["fit_id"], ["fits.id"], name=op.f("fk_mappings_fit_id")),
        sa.ForeignKeyConstraint(["test_id"], ["datasets.id"], name=op.f("fk_mappings_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mappings")),
    )
    op.create_index(op.f("ix_mappings_created_at"), "mappings", ["created_at"])
    op.create_index(op.f("ix_mappings_fit_id"), "mappings", ["fit_id"])
    op.create_index(op.f("ix_mappings_name"), "mappings", ["name"])
    op.create_index(op.f("ix_mappings_state"), "mappings", ["state"])
    op.create_index(op.f("ix_mappings_test_id"), "mappings", ["test_id"])

    op.create_table(
        "matches",
        sa.Column("fit_id", ID, nullable=False),
        sa.Column("ordinal", WHOLE, autoincrement=False, nullable=False),
        sa.Column("training", NAME, nullable=False),
        sa.Column("training_index", WHOLE, nullable=False),
        sa.Column("rank", WHOLE, nullable=False),
        sa.Column("ideal", NAME, nullable=False),
        sa.Column("ideal_index", WHOLE, nullable=False),
        sa.Column("score", REAL, nullable=False),
        sa.Column("sse", REAL, nullable=True),
        sa.Column("rmse", REAL, nullable=True),
        sa.Column("mae", REAL, nullable=True),
        sa.Column("max_deviation", REAL, nullable=True),
        sa.Column("r2", REAL, nullable=True),
        sa.Column("n", WHOLE, nullable=False),
        sa.Column("scale", REAL, nullable=False),
        sa.Column("offset", REAL, nullable=False),
        sa.ForeignKeyConstraint(
            ["fit_id"], ["fits.id"], name=op.f("fk_matches_fit_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("fit_id", "ordinal", name=op.f("pk_matches")),
    )
    op.create_table(
        "item_blocks",
        sa.Column("mapping_id", ID, nullable=False),
        sa.Column("first", WHOLE, autoincrement=False, nullable=False),
        sa.Column("count", WHOLE, nullable=False),
        sa.Column("data", BYTES, nullable=False),
        sa.ForeignKeyConstraint(
            ["mapping_id"],
            ["mappings.id"],
            name=op.f("fk_item_blocks_mapping_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("mapping_id", "first", name=op.f("pk_item_blocks")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Float64 does not compress, and uncompressed blocks can be read in part.
        for table in ("grids", "curve_blocks", "item_blocks"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")


def downgrade() -> None:
    for table in (
        "item_blocks",
        "matches",
        "mappings",
        "fits",
        "curve_blocks",
        "curves",
        "grids",
        "datasets",
    ):
        op.drop_table(table)
