"""Figures and warnings of a match. Older matches have none: they were not computed."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

FIGURES = ("correlation", "cosine", "margin")


def upgrade() -> None:
    for name in FIGURES:
        op.add_column("matches", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("matches", sa.Column("warnings", sa.String(120), nullable=True))


def downgrade() -> None:
    for name in ("warnings", *FIGURES):
        op.drop_column("matches", name)
