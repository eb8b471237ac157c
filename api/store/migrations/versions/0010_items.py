"""Items of mappings without what is in the test dataset: 12 bytes instead of 44."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

from api.store.values import StoredRows, X, stream_rows

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The tables and the layouts as this revision has them, whatever the models say later.
BLOCKS = sa.table(
    "item_blocks",
    sa.column("mapping_id", sa.String),
    sa.column("first", sa.BigInteger),
    sa.column("data", sa.LargeBinary),
    sa.column("cell", sa.BigInteger),
)
MAPPINGS = sa.table(
    "mappings",
    sa.column("id", sa.String),
    sa.column("test_id", sa.String),
    sa.column("n_points", sa.BigInteger),
    sa.column("columns", sa.JSON),
)
WIDE = np.dtype(
    [
        ("point", "<i8"),
        ("column", "<i4"),
        ("function", "<i4"),
        ("reason", "<i4"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("deviation", "<f8"),
    ]
)
PACKED = np.dtype([("code", "<u4"), ("deviation", "<f8")])
REASONS = 3


def upgrade() -> None:
    op.add_column(
        "item_blocks", sa.Column("cell", sa.BigInteger(), nullable=False, server_default="0")
    )
    for _, columns, blocks in _mappings():
        last = -1
        for block in blocks:
            items = np.frombuffer(_read(block, BLOCKS.c.data), WIDE)
            cell = items["point"] * columns + items["column"]
            packed = np.empty(items.size, PACKED)
            function = items["function"]
            code = np.where(function < 0, items["reason"] - 1, function + REASONS)
            packed["code"] = code.astype(np.uint32) << 1 | (np.diff(cell, prepend=last) != 0)
            packed["deviation"] = items["deviation"]
            _write(block, data=packed.tobytes(), cell=int(cell[0]))
            last = int(cell[-1])


def downgrade() -> None:
    for test, columns, blocks in _mappings():
        for block in blocks:
            packed = np.frombuffer(_read(block, BLOCKS.c.data), PACKED)
            is_first = (packed["code"] & 1).astype(np.int64)
            cell = is_first.cumsum() + (_read(block, BLOCKS.c.cell) - is_first[0])
            code = (packed["code"] >> 1).astype(np.int32)
            items = np.empty(packed.size, WIDE)
            items["point"], items["column"] = np.divmod(cell, columns)
            items["function"] = np.where(code < REASONS, -1, code - REASONS)
            items["reason"] = np.where(code < REASONS, code + 1, 0)
            items["deviation"] = packed["deviation"]
            _fill(items, test, columns)
            _write(block, data=items.tobytes())
    op.drop_column("item_blocks", "cell")


def _mappings() -> Iterator[tuple[StoredRows, int, list[sa.ColumnElement[bool]]]]:
    """Yield test dataset, number of columns, and conditions of the blocks of each mapping."""
    connection, m, b = op.get_bind(), MAPPINGS.c, BLOCKS.c
    of_mappings = sa.select(m.id, m.test_id, m.n_points, m.columns).order_by(m.id)
    for mapping_id, test_id, n_points, columns in connection.execute(of_mappings).all():
        firsts = sa.select(b.first).where(b.mapping_id == mapping_id).order_by(b.first)
        blocks = [
            sa.and_(b.mapping_id == mapping_id, b.first == first)
            for first in connection.scalars(firsts)
        ]
        yield StoredRows(test_id, n_points // len(columns)), len(columns), blocks


def _read(block: sa.ColumnElement[bool], column: sa.ColumnElement[Any]) -> Any:
    return op.get_bind().scalars(sa.select(column).where(block)).one()


def _write(block: sa.ColumnElement[bool], **values: object) -> None:
    op.get_bind().execute(sa.update(BLOCKS).where(block).values(**values))


def _fill(items: np.ndarray, test: StoredRows, columns: int) -> None:
    """Read x and y of items, whose rows are few or adjoin each other, from the test dataset."""
    first, last = int(items["point"][0]), int(items["point"][-1]) + 1
    with Session(op.get_bind()) as session:
        batches = list(stream_rows(session, test, [X, *range(columns)], first, last))
    values = np.concatenate(batches, axis=1)
    rows = items["point"] - first
    items["x"], items["y"] = values[0, rows], values[items["column"] + 1, rows]
