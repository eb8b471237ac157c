"""The queue: which job a free worker takes next (docs/adr/0015).

Small and large jobs wait in two lanes, and each client has its line in each lane. A worker
chooses inside the transaction that takes the job, and only one worker chooses at a time, so the
order holds for many workers on many hosts.
"""

from __future__ import annotations

import functools
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.store.base import Base, Timestamp
from api.store.jobs import (
    LANE,
    LARGE,
    LONGEST_PAUSE,
    NAME_OF_CLIENT,
    SMALL,
    Claim,
    Job,
    read_clock,
)

TURNS_KEPT = 1000
"""Number of latest turns that are remembered; a client without any of them counts as new."""

LOCK = 0x1DEA1F05
"""PostgreSQL advisory lock held while a worker takes a job, so that it sees the others' jobs."""

TRIES, TRY_SECONDS = 100, 0.01
"""Attempts to get that lock, and the pause between them.

After a second a worker goes on without the lock: its holder is stopped, and one turn out of order
is better than no turn.
"""


class Turn(Base):
    """Number of the last turn of a client in a lane."""

    __tablename__ = "turns"

    lane: Mapped[str] = mapped_column(String(LANE), primary_key=True)
    client: Mapped[str] = mapped_column(String(NAME_OF_CLIENT), primary_key=True)
    turn: Mapped[int]


@dataclass(frozen=True, slots=True)
class Line:
    """Waiting jobs of one kind, lane and client, in order of arrival."""

    model: type[Job]
    lane: str
    client: str
    oldest: datetime


def is_any_due(session: Session, models: tuple[type[Job], ...]) -> bool:
    """Return whether any job can be taken now; one statement if none is queued."""
    if not session.scalar(_is_any_queued(models)):
        return False
    moment = read_clock(session)
    queries = (select(model.id).where(_due(model, moment)).limit(1) for model in models)
    return any(session.execute(query).first() for query in queries)


@functools.cache
def _is_any_queued(models: tuple[type[Job], ...]) -> Select[bool]:
    """Build the query for queued jobs once, because idle workers run it all the time."""
    return select(or_(*(exists().where(model.state == "queued") for model in models)))


def claim(session: Session, models: Sequence[type[Job]], owner: str, lease: float) -> Claim | None:
    """Take the job whose turn it is, of any kind; return None if there is none."""
    is_alone = _wait_for_other_claims(session)
    moment = read_clock(session)
    for line in _in_turn(session, models, moment):
        if taken := _take(session, line, owner, moment, lease):
            if is_alone:
                # Without the lock, this could wait for a row that the stopped worker holds.
                _note_turn(session, line)
            return taken
    return None


def _due(model: type[Job], moment: datetime) -> ColumnElement[bool]:
    """Return the SQL condition of a job that may begin now."""
    # A pause longer than the longest was set before the clock was set back.
    pause_is_over = or_(
        model.not_before.is_(None),
        model.not_before <= moment,
        model.not_before > moment + timedelta(seconds=LONGEST_PAUSE),
    )
    return and_(model.state == "queued", pause_is_over)


def _wait_for_other_claims(session: Session) -> bool:
    """Wait until no other worker is choosing; return False if one that is choosing has stopped."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    for _ in range(TRIES):
        if session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
            return True
        time.sleep(TRY_SECONDS)
    return False


def _in_turn(session: Session, models: Sequence[type[Job]], moment: datetime) -> list[Line]:
    """Return the lines in order of turn.

    The client with the fewest running jobs comes first, so that no client gets more than its
    share of the workers while others wait. Then comes the lane with the fewest running jobs.
    Among equals, it is the lane and then the client whose last turn is longest ago.
    """
    lines = _lines(session, models, moment)
    if len(lines) < 2:  # noqa: PLR2004 - one line leaves no choice
        return lines
    clients, lanes = _running(session, models)
    client_turns, lane_turns = _turns(session)
    return sorted(
        lines,
        key=lambda line: (
            clients[line.client],
            lanes[line.lane],
            lane_turns[line.lane],
            client_turns[line.client],
            line.oldest,
        ),
    )


def _lines(session: Session, models: Sequence[type[Job]], moment: datetime) -> list[Line]:
    queries = [
        _lines_of(position, model, lane, moment)
        for position, model in enumerate(models)
        for lane in (SMALL, LARGE)
    ]
    rows = session.execute(union_all(*queries))
    return [Line(models[position], *line) for position, *line in rows]


def _lines_of(position: int, model: type[Job], lane: str, moment: datetime) -> Select[Any]:
    """Build the query of the clients that wait in one lane for one kind, and since when.

    It jumps from client to client through the index, so 10 000 jobs of one client cost one step.
    """
    here = and_(model.lane == lane, _due(model, moment))
    first = select(func.min(model.client).label("client")).where(here)
    known = first.cte(f"clients_{position}_{lane}", recursive=True)
    following = select(func.min(model.client)).where(here, model.client > known.c.client)
    known = known.union_all(select(following.scalar_subquery()).where(known.c.client.is_not(None)))
    oldest = select(func.min(model.created_at)).where(here, model.client == known.c.client)
    return select(literal(position), literal(lane), known.c.client, oldest.scalar_subquery()).where(
        known.c.client.is_not(None)
    )


def _running(session: Session, models: Sequence[type[Job]]) -> tuple[Counter[str], Counter[str]]:
    """Count the running jobs of each client and in each lane."""
    clients, lanes = Counter[str](), Counter[str]()
    queries = [select(model.client, model.lane).where(model.state == "running") for model in models]
    for client, lane in session.execute(union_all(*queries)):
        clients[client] += 1
        lanes[lane] += 1
    return clients, lanes


def _turns(session: Session) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of the last turn of each client and each lane, 0 if there was none."""
    clients, lanes = defaultdict[str, int](int), defaultdict[str, int](int)
    for client, lane, turn in session.execute(select(Turn.client, Turn.lane, Turn.turn)):
        clients[client] = max(clients[client], turn)
        lanes[lane] = max(lanes[lane], turn)
    return clients, lanes


def _take(session: Session, line: Line, owner: str, moment: datetime, lease: float) -> Claim | None:
    model = line.model
    first = (
        select(model.id)
        .where(_due(model, moment), model.lane == line.lane)
        # A range of one client, and in its order: with an equality PostgreSQL may walk through the
        # jobs of all states by the index of `created_at`, which lists have.
        .where(model.client.between(line.client, line.client))
        .order_by(model.client, model.created_at, model.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # SQLite has one writer and ignores this.
    )
    # If the clock was set back, the job still does not begin before it was posted.
    begin = case((model.created_at > moment, model.created_at), else_=literal(moment, Timestamp))
    taken = session.execute(
        update(model)
        .where(model.id == first.scalar_subquery())
        .values(
            state="running",
            owner=owner,
            attempt=model.attempt + 1,
            lease_until=moment + timedelta(seconds=lease),
            started_at=func.coalesce(model.started_at, begin),
            version=model.version + 1,
        )
        .returning(model.id, model.attempt)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return taken and Claim(model, taken.id, owner, taken.attempt)


def _note_turn(session: Session, line: Line) -> None:
    turn = (session.scalar(select(func.max(Turn.turn))) or 0) + 1
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    row = dialect.insert(Turn).values(lane=line.lane, client=line.client, turn=turn)
    key = [Turn.lane, Turn.client]
    session.execute(row.on_conflict_do_update(index_elements=key, set_={"turn": turn}))
    session.execute(delete(Turn).where(Turn.turn <= turn - TURNS_KEPT))
