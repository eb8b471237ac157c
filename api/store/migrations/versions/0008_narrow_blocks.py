"""Blocks of curves may hold narrower numbers than float64."""

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("curve_blocks", sa.Column("encoding", sa.String(16)))


BLOCKS = sa.table(
    "curve_blocks",
    sa.column("dataset_id", sa.String),
    sa.column("first", sa.BigInteger),
    sa.column("data", sa.LargeBinary),
    sa.column("encoding", sa.String),
)


def downgrade() -> None:
    connection, c = op.get_bind(), BLOCKS.c
    query = sa.select(c.dataset_id, c.first, c.encoding).where(c.encoding.is_not(None))
    for dataset_id, first, encoding in connection.execute(query).all():
        block = sa.and_(c.dataset_id == dataset_id, c.first == first)
        data = connection.scalars(sa.select(c.data).where(block)).one()
        wide = _widen(data, encoding).tobytes()
        connection.execute(sa.update(BLOCKS).where(block).values(data=wide))
    op.drop_column("curve_blocks", "encoding")


def _widen(data: bytes, encoding: str) -> np.ndarray:
    name, _, decimals = encoding.partition("e-")
    stored = np.frombuffer(data, np.dtype(name).newbyteorder("<"))
    values = stored.astype("<f8")
    if stored.dtype.kind == "i":
        values /= float(10 ** int(decimals))
        least = np.iinfo(stored.dtype).min
        values[stored == least] = np.nan
        values[stored == least + 1] = -0.0
    return values
