"""Metrics of the database for `/metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from api.store.base import Database
from api.store.jobs import Job, read_clock

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs by kind and state, age of the oldest queued job by kind, and bytes by part."""

    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting_seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


def count(database: Database, models: Sequence[type[Job]]) -> Counts:
    """Count the jobs and the bytes of a database, reading only indexes."""
    with database.reading() as session:
        jobs: dict[tuple[str, str], int] = {}
        ages: dict[str, float] = {}
        for model in models:
            kind = model.__name__.lower()
            states = select(model.state, func.count()).group_by(model.state)
            found = dict(session.execute(states).tuples().all())
            jobs |= {(kind, state): found.get(state, 0) for state in STATES}
            ages[kind] = _age_of_queue(session, model).total_seconds()
        return Counts(jobs, ages, _sizes(database, session))


def _age_of_queue(session: Session, model: type[Job]) -> timedelta:
    oldest = session.scalar(select(func.min(model.created_at)).where(model.state == "queued"))
    return max(read_clock(session) - oldest, timedelta()) if oldest else timedelta()


def _sizes(database: Database, session: Session) -> dict[str, int]:
    if not database.sqlite:
        return {"main": session.scalar(text("SELECT pg_database_size(current_database())")) or 0}
    path = Path(database.url.database or "")
    wal = path.with_name(f"{path.name}-wal")
    return {"main": path.stat().st_size, "wal": wal.stat().st_size if wal.exists() else 0}
