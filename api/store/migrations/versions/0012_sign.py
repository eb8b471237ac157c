"""The sign of the scales of a fit. Older fits have scales of any sign."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("fits", sa.Column("sign", sa.String(8), nullable=False, server_default="any"))


def downgrade() -> None:
    op.drop_column("fits", "sign")
