"""Exports: the record, which is also the job, and the file in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, String, delete, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import BINARY, Base, Blob, Database, NotFound, Timestamp
from api.store.jobs import Job, index_queue, read_clock

FILE_BLOCK = 1 << 20
"""Bytes per block of a file."""

USED_AGAIN = timedelta(minutes=1)
"""Resolution of the time of last use."""


class Export(Job):
    """Record of the exported file of a mapping; a worker makes the file, and it is kept."""

    __tablename__ = "exports"
    __table_args__ = (index_queue(),)

    mapping_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("mappings.id", ondelete="CASCADE"), unique=True
    )
    nbytes: Mapped[int] = mapped_column(default=0)
    used_at: Mapped[datetime] = mapped_column(Timestamp)


class ExportBlock(Base):
    """One block of the file of an export."""

    __tablename__ = "export_blocks"

    export_id: Mapped[str] = mapped_column(
        ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(Blob)


def export_of(session: Session, mapping_id: str) -> Export | None:
    """Return the export of a mapping in any state, or None."""
    return session.scalars(select(Export).where(Export.mapping_id == mapping_id)).one_or_none()


def add_block(session: Session, export_id: str, number: int, data: bytes) -> None:
    """Store a block; the first one deletes the blocks of an earlier attempt."""
    if number == 0:
        session.execute(delete(ExportBlock).where(ExportBlock.export_id == export_id))
    session.execute(insert(ExportBlock), [{"export_id": export_id, "number": number, "data": data}])


def send_file(database: Database, export: Export) -> Iterator[bytes]:
    """Yield the blocks of a file, each read in its own transaction; NotFound if it is gone."""
    query = select(ExportBlock.data).where(ExportBlock.export_id == export.id)
    for number in range(-(-export.nbytes // FILE_BLOCK)):
        with database.reading() as session:
            part = query.where(ExportBlock.number == number).execution_options(**BINARY)
            data = session.scalars(part).one_or_none()
        if data is None:
            raise NotFound("export", export.id)
        yield data


def note_use(session: Session, export: Export) -> None:
    """Record that an export is used now."""
    session.execute(
        update(Export)
        .where(Export.id == export.id)
        .values(used_at=read_clock(session))
        .execution_options(synchronize_session=False)
    )


def is_noted(session: Session, export: Export) -> bool:
    """Return whether the recorded last use is recent enough."""
    return read_clock(session) - export.used_at < USED_AGAIN


def keep_within(session: Session, most: int, newest: str) -> None:
    """Delete the least recently used exports until the rest, with the newest, fits."""
    kept = select(Export.id, Export.nbytes).where(Export.state == "succeeded")
    rows = session.execute(kept.order_by(Export.used_at.desc(), Export.id)).all()
    total = sum(nbytes for export_id, nbytes in rows if export_id == newest)
    for export_id, nbytes in rows:
        if export_id == newest:
            continue
        total += nbytes
        if total > most:
            session.execute(delete(Export).where(Export.id == export_id))
