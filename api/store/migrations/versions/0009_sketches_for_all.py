"""Sketches for each library that is large enough: only smooth ones had them."""

import sqlalchemy as sa
from alembic import op

from api.store.sketches import SKETCHED, add_sketches

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    large = sa.text(
        "SELECT id, n_points, n_curves FROM datasets WHERE n_curves >= :least"
        " AND NOT EXISTS (SELECT 1 FROM sketch_bases WHERE dataset_id = datasets.id)"
    )
    for dataset_id, n_points, n_curves in connection.execute(large, {"least": SKETCHED}).all():
        add_sketches(connection, dataset_id, n_points, 0, n_curves)


def downgrade() -> None:
    """Keep the sketches: they change no answer."""
