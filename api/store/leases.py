"""Takes jobs back from workers that no longer renew their lease, without comparing clocks.

A worker that owns a job keeps writing a new end of its lease. A process that sees the same end
for the length of a lease, by its own monotonic clock, knows that nobody works on the job. So
clocks that are set, or that differ between hosts, cost no worker its job.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, literal, select, union_all, update
from sqlalchemy.orm import Session

from api.store.jobs import Job, make_queued_values


@dataclass(frozen=True, slots=True)
class Lease:
    """Lease of a running job, as read at one moment."""

    model: type[Job]
    id: str
    owner: str | None
    attempt: int
    until: datetime | None


class Watch:
    """Memory of how long each lease has been unchanged."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since: dict[Lease, float] = {}

    def abandoned(self, session: Session, models: tuple[type[Job], ...]) -> list[Lease]:
        """Return the leases that nobody has renewed for the length of a lease."""
        now = self._clock()
        self._since = {lease: self._since.get(lease, now) for lease in _leases(session, models)}
        return [lease for lease, since in self._since.items() if now - since > self._seconds]


def _leases(session: Session, models: tuple[type[Job], ...]) -> list[Lease]:
    rows = session.execute(_running(models))
    return [Lease(models[position], *lease) for position, *lease in rows]


@functools.cache
def _running(models: tuple[type[Job], ...]) -> CompoundSelect[Any]:
    """Build the query for all leases once, because idle workers run it all the time."""
    return union_all(
        *(
            select(
                literal(position), model.id, model.owner, model.attempt, model.lease_until
            ).where(model.state == "running")
            for position, model in enumerate(models)
        )
    )


def take_back(session: Session, lease: Lease) -> None:
    """Queue the job again, unless its lease was renewed or the job has ended meanwhile."""
    model = lease.model
    session.execute(
        update(model)
        .where(
            model.id == lease.id,
            model.state == "running",
            model.attempt == lease.attempt,
            model.owner.is_not_distinct_from(lease.owner),
            model.lease_until.is_not_distinct_from(lease.until),
        )
        .values(**make_queued_values(model))
        .execution_options(synchronize_session=False)
    )
