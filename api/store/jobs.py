"""Jobs: the record of a fit or a mapping is its own job, and SQL alone says whose it is.

A worker owns a job while the row has its name, its attempt and the state `running`. Everything
it writes asks for these three, so a worker that was stopped, cut off or overtaken writes
nothing at all (docs/adr/0005).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, String, and_, case, func, literal, select, update
from sqlalchemy.orm import Mapped, Session, declared_attr, mapped_column

from api.store.base import Document, NotReady, Record, Timestamp, now

ATTEMPTS = 5
"""How often a job is begun before it is given up: one that kills its worker must not kill all."""

NAME_OF_OWNER = 120
NAME_OF_CLIENT = 64

SMALL, LARGE, LANE = "small", "large", 8
"""Lanes that jobs wait in, and how long the name of one may be."""

SMALL_SECONDS = 1.0
"""Jobs estimated to take longer than this are large."""

LONGEST_PAUSE = 60.0
"""Longest time a job that failed may have to wait for its next attempt, in seconds."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a job waits after a setback, in seconds: twice as long each time."""

    first: float
    longest: float

    def after(self, setbacks: int) -> timedelta:
        """The pause of a job that was set back so often before."""
        return timedelta(seconds=min(self.longest, self.first * 2 ** min(setbacks, 16)))


class Lost(Exception):  # noqa: N818 - named for what it is
    """The job is no longer ours: it was cancelled, deleted, handed back or taken over."""


class Job(Record):
    """A record that is its own job."""

    __abstract__ = True

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

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805 - SQLAlchemy hands in the class
        return (
            # Lists by state, and the queue (api/store/lanes.py).
            Index(None, "state", "created_at", "id"),
            Index(None, "state", "lane", "client", "created_at", "id"),
        )

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"progress": self.progress}

    @property
    def progress(self) -> dict[str, int]:
        """How far it is, in the words of the contract."""
        return {"done": self.done, "total": self.total}

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state not in {"queued", "running"}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker must show with every write: whose job it is, for the how many-th time."""

    model: type[Job]
    id: str
    owner: str
    attempt: int

    @property
    def holds(self) -> ColumnElement[bool]:
        """Condition of the row being ours."""
        return and_(
            self.model.id == self.id,
            self.model.owner == self.owner,
            self.model.attempt == self.attempt,
            self.model.state == "running",
        )


def clock(session: Session) -> datetime:
    """The time of records: the database's own where hosts share it."""
    if session.get_bind().dialect.name == "sqlite":
        # The transaction begins here: who waits for the right to write waits before the look.
        session.connection()
        return now()
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def is_held(session: Session, claim: Claim) -> bool:
    """Whether the job is still ours."""
    return session.execute(select(claim.model.id).where(claim.holds)).first() is not None


def renew(session: Session, claim: Claim, lease: float, done: int | None = None) -> bool:
    """Lengthen the lease, and say how much is done if that is news; False if it is not ours.

    Progress never goes back, not even when a later attempt begins again.
    """
    until = clock(session) + timedelta(seconds=lease)
    model = claim.model
    values: dict[str, Any] = {}
    if done is not None:
        values["done"] = case((model.done < done, done), else_=model.done)
        values["version"] = model.version + 1
    return _write(session, claim, lease_until=until, **values)


def end(session: Session, claim: Claim, state: str, **values: Any) -> None:
    """End the job; Lost if it is not ours, and then the whole transaction is to be dropped."""
    moment = clock(session)
    begun = claim.model.started_at
    # Also where the clock was put back meanwhile.
    finished = case((begun > moment, begun), else_=literal(moment, Timestamp))
    ended = _given_up(claim.model) | {"finished_at": finished, "state": state}
    if not _write(session, claim, **ended, **values):
        raise Lost


def hand_back(
    session: Session, claim: Claim, *, counted: bool, pauses: Pauses | None = None
) -> bool:
    """Queue the job again for whoever is next; an attempt that is not counted never was.

    With `pauses` others go ahead for a while, longer each time.
    """
    model, values = claim.model, queued(claim.model)
    values["attempt"] = claim.attempt if counted else claim.attempt - 1
    if pauses:
        setbacks = session.scalar(select(model.setbacks).where(claim.holds)) or 0
        values["not_before"] = clock(session) + pauses.after(setbacks)
        values["setbacks"] = setbacks + 1
    return _write(session, claim, **values)


def release(session: Session, model: type[Job], owner: str) -> None:
    """Queue what a worker left behind that is known to be dead."""
    session.execute(
        update(model)
        .where(model.state == "running", model.owner == owner)
        .values(**queued(model))
        .execution_options(synchronize_session=False)
    )


def cancel(session: Session, job: Job) -> None:
    """End a job that is locked; whoever works on it finds out that it is not theirs any more."""
    if job.ended:
        kind = type(job).__name__.lower()
        raise NotReady(f"The {kind} has {_ENDED[job.state]}; there is nothing to cancel.")
    job.state = "cancelled"
    job.finished_at = max(clock(session), job.started_at or job.created_at)
    job.owner = job.lease_until = None
    session.flush()


_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}


def require_succeeded(job: Job, deed: str) -> None:
    """NotReady unless the job has succeeded; `deed` is what was asked of it."""
    if job.state != "succeeded":
        kind = type(job).__name__.lower()
        raise NotReady(f"The {kind} is {job.state}; only one that succeeded can be {deed}.")


def queued(model: type[Job]) -> dict[str, Any]:
    """Columns of a job that waits again."""
    return {"state": "queued"} | _given_up(model)


def _given_up(model: type[Job]) -> dict[str, Any]:
    return {"owner": None, "lease_until": None, "version": model.version + 1}


def _write(session: Session, claim: Claim, **values: Any) -> bool:
    """Change the row if it is ours; whether it is."""
    statement = update(claim.model).where(claim.holds).values(**values)
    changed = session.execute(statement.execution_options(synchronize_session=False))
    return bool(changed.rowcount)  # type: ignore[attr-defined] # of an UPDATE it has one
