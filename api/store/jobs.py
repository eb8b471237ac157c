"""Jobs: each fit, mapping or export is its own job, and the row says who owns it.

A worker owns a job while the row has the name of the worker, its attempt and the state
`running`. Every write has these three as a condition, so a worker that was stopped, cut off or
overtaken writes nothing (docs/adr/0005).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Index, String, and_, case, func, literal, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import Document, NotReady, Record, Timestamp, now

ATTEMPTS = 5
"""Attempts before a job fails for good, so that a job cannot kill one worker after another."""

NAME_OF_OWNER = 120
NAME_OF_CLIENT = 64

SMALL, LARGE, LANE = "small", "large", 8
"""The two lanes that jobs wait in, and the maximum length of a lane's name."""

SMALL_SECONDS = 1.0
"""Jobs estimated to take longer than this are large."""

LONGEST_PAUSE = 60.0
"""Longest pause before the next attempt of a job, in seconds."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses of a job after setbacks, in seconds: each is twice as long as the one before."""

    first: float
    longest: float

    def after(self, setbacks: int) -> timedelta:
        """Return the pause of a job with this many earlier setbacks."""
        return timedelta(seconds=min(self.longest, self.first * 2 ** min(setbacks, 16)))


class Lost(Exception):  # noqa: N818 - named for what it is
    """The worker no longer owns the job: it was cancelled, deleted, handed back or taken over."""


class Job(Record):
    """Base class of records that are jobs."""

    __abstract__ = True

    unlisted: ClassVar[tuple[str, ...]] = (
        "attempt",
        "owner",
        "lease_until",
        "client",
        "cost",
        "lane",
        "not_before",
        "setbacks",
    )

    state: Mapped[str] = mapped_column(String(10))
    done: Mapped[int]
    total: Mapped[int]
    error: Mapped[dict[str, Any] | None] = mapped_column(Document)
    started_at: Mapped[datetime | None] = mapped_column(Timestamp)
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    attempt: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(NAME_OF_OWNER))
    lease_until: Mapped[datetime | None] = mapped_column(Timestamp)
    client: Mapped[str] = mapped_column(String(NAME_OF_CLIENT), default="")
    cost: Mapped[float] = mapped_column(default=0.0)
    lane: Mapped[str] = mapped_column(String(LANE), default=LARGE)
    not_before: Mapped[datetime | None] = mapped_column(Timestamp)
    setbacks: Mapped[int] = mapped_column(default=0)

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"progress": self.progress}

    @classmethod
    def make_listed(cls, columns: dict[str, Any]) -> dict[str, Any]:
        return columns | {"progress": {"done": columns["done"], "total": columns["total"]}}

    @property
    def progress(self) -> dict[str, int]:
        """The progress as clients see it."""
        return {"done": self.done, "total": self.total}

    @property
    def ended(self) -> bool:
        """Whether the job has succeeded, failed or been cancelled."""
        return self.state not in {"queued", "running"}


def index_queue() -> Index:
    """Make the index of the queue (api/store/lanes.py)."""
    return Index(None, "state", "lane", "client", "created_at", "id")


@dataclass(frozen=True, slots=True)
class Claim:
    """Proof that a worker owns a job, checked by every write: the owner and the attempt."""

    model: type[Job]
    id: str
    owner: str
    attempt: int

    @property
    def holds(self) -> ColumnElement[bool]:
        """SQL condition that the worker still owns the row."""
        return and_(
            self.model.id == self.id,
            self.model.owner == self.owner,
            self.model.attempt == self.attempt,
            self.model.state == "running",
        )


def read_clock(session: Session) -> datetime:
    """Return the time for records: that of the database where several hosts share it."""
    if session.get_bind().dialect.name == "sqlite":
        # Begin the transaction first, so that a wait for the write lock does not make the time old.
        session.connection()
        return now()
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def is_held(session: Session, claim: Claim) -> bool:
    """Return whether the worker still owns the job."""
    return session.execute(select(claim.model.id).where(claim.holds)).first() is not None


def renew(session: Session, claim: Claim, lease: float, done: int | None = None) -> bool:
    """Extend the lease and store progress, if given; return whether the worker owns the job.

    Progress never decreases, not even in a later attempt.
    """
    until = read_clock(session) + timedelta(seconds=lease)
    model = claim.model
    values: dict[str, Any] = {}
    if done is not None:
        values["done"] = case((model.done < done, done), else_=model.done)
        values["version"] = model.version + 1
    return _write(session, claim, lease_until=until, **values)


def end(session: Session, claim: Claim, state: str, **values: Any) -> None:
    """End the job; raise Lost, which rolls the transaction back, if the worker does not own it."""
    moment = read_clock(session)
    begun = claim.model.started_at
    # The clock may have been set back since the job began.
    finished = case((begun > moment, begun), else_=literal(moment, Timestamp))
    ended = _given_up(claim.model) | {"finished_at": finished, "state": state}
    if not _write(session, claim, **ended, **values):
        raise Lost


def hand_back(
    session: Session, claim: Claim, *, counted: bool, pauses: Pauses | None = None
) -> bool:
    """Queue the job again; unless `counted`, the attempt does not count.

    With `pauses`, the job waits for a pause, which grows with each setback.
    """
    model, values = claim.model, make_queued_values(claim.model)
    values["attempt"] = claim.attempt if counted else claim.attempt - 1
    if pauses:
        setbacks = session.scalar(select(model.setbacks).where(claim.holds)) or 0
        values["not_before"] = read_clock(session) + pauses.after(setbacks)
        values["setbacks"] = setbacks + 1
    return _write(session, claim, **values)


def release(session: Session, model: type[Job], owner: str) -> None:
    """Queue the running jobs of a dead worker again."""
    session.execute(
        update(model)
        .where(model.state == "running", model.owner == owner)
        .values(**make_queued_values(model))
        .execution_options(synchronize_session=False)
    )


def cancel(session: Session, job: Job) -> None:
    """Cancel a job that the caller has locked; its worker notices that it lost the job."""
    if job.ended:
        kind = type(job).__name__.lower()
        raise NotReady(f"The {kind} has {_ENDED[job.state]}; there is nothing to cancel.")
    job.state = "cancelled"
    job.finished_at = max(read_clock(session), job.started_at or job.created_at)
    job.owner = job.lease_until = None
    session.flush()


_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}


def require_succeeded(job: Job, deed: str) -> None:
    """Raise NotReady unless the job has succeeded; `deed` is a participle for the message."""
    if job.state != "succeeded":
        kind = type(job).__name__.lower()
        raise NotReady(f"The {kind} is {job.state}; only one that succeeded can be {deed}.")


def make_queued_values(model: type[Job]) -> dict[str, Any]:
    """Return the column values of a job that is queued again."""
    return {"state": "queued"} | _given_up(model)


def _given_up(model: type[Job]) -> dict[str, Any]:
    return {"owner": None, "lease_until": None, "version": model.version + 1}


def _write(session: Session, claim: Claim, **values: Any) -> bool:
    """Change the row if the worker owns it; return whether it does."""
    statement = update(claim.model).where(claim.holds).values(**values)
    changed = session.execute(statement.execution_options(synchronize_session=False))
    return bool(changed.rowcount)  # type: ignore[attr-defined] # of an UPDATE it has one
