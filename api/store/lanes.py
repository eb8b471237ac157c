"""The queue: which job a free worker takes next (docs/adr/0015).

Small and large jobs wait in two lanes, and within a lane each client has a line of its own. The
choice is made inside the transaction that takes the job, one worker at a time, so that it holds
for many workers on many hosts.
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
from api.store.jobs import LANE, LARGE, LONGEST_PAUSE, NAME_OF_CLIENT, SMALL, Claim, Job, clock

TURNS_KEPT = 1000
"""A client who had none of the last turns counts as new."""

LOCK = 0x1DEA1F05
"""PostgreSQL advisory lock held while a worker takes a job, so that it sees what others took."""

TRIES, TRY_SECONDS = 100, 0.01
"""How often a worker asks for that lock. After a second it goes on without: whoever holds it is
stopped, and one turn out of order is better than no turn."""


class Turn(Base):
    """The number of the last turn that a client had in a lane."""

    __tablename__ = "turns"

    lane: Mapped[str] = mapped_column(String(LANE), primary_key=True)
    client: Mapped[str] = mapped_column(String(NAME_OF_CLIENT), primary_key=True)
    turn: Mapped[int]


@dataclass(frozen=True, slots=True)
class Line:
    """Jobs of one kind that one client has in one lane, first come, first served."""

    model: type[Job]
    lane: str
    client: str
    oldest: datetime


def is_any_due(session: Session, models: tuple[type[Job], ...]) -> bool:
    """Whether there is a job to take; one statement if none waits."""
    if not session.scalar(_is_any_queued(models)):
        return False
    moment = clock(session)
    queries = (select(model.id).where(_due(model, moment)).limit(1) for model in models)
    return any(session.execute(query).first() for query in queries)


@functools.cache
def _is_any_queued(models: tuple[type[Job], ...]) -> Select[bool]:
    """Query that idle workers ask all the time, so it is built once."""
    return select(or_(*(exists().where(model.state == "queued") for model in models)))


def claim(session: Session, models: Sequence[type[Job]], owner: str, lease: float) -> Claim | None:
    """Take the job whose turn it is, of all kinds; None if there is none."""
    is_alone = _wait_for_other_claims(session)
    moment = clock(session)
    for line in _in_turn(session, models, moment):
        if taken := _take(session, line, owner, moment, lease):
            if is_alone:
                # Otherwise it would wait for a row of the one that is stopped.
                _note_turn(session, line)
            return taken
    return None


def _due(model: type[Job], moment: datetime) -> ColumnElement[bool]:
    """Condition of a job that may begin now."""
    # A pause that seems longer than any was set before the clock was put back.
    pause_is_over = or_(
        model.not_before.is_(None),
        model.not_before <= moment,
        model.not_before > moment + timedelta(seconds=LONGEST_PAUSE),
    )
    return and_(model.state == "queued", pause_is_over)


def _wait_for_other_claims(session: Session) -> bool:
    """Have only one worker choose at a time, as SQLite does; False if another is stopped."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    for _ in range(TRIES):
        if session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
            return True
        time.sleep(TRY_SECONDS)
    return False


def _in_turn(session: Session, models: Sequence[type[Job]], moment: datetime) -> list[Line]:
    """Lines of all who wait, the one whose turn it is first.

    The client with the fewest running jobs comes first, so none of c clients gets more than its
    part of the workers while the others wait. Then the lane with the fewest running jobs. Among
    equals, the lane and then the client whose last turn was longest ago.
    """
    lines = _lines(session, models, moment)
    if len(lines) < 2:  # noqa: PLR2004 - with one there is no choice
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
    """Query of the clients who wait for jobs of one kind in one lane, and since when.

    It jumps from client to client by the index, so 10 000 jobs of one client cost one step.
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
    """Number of running jobs of each client and in each lane."""
    clients, lanes = Counter[str](), Counter[str]()
    queries = [select(model.client, model.lane).where(model.state == "running") for model in models]
    for client, lane in session.execute(union_all(*queries)):
        clients[client] += 1
        lanes[lane] += 1
    return clients, lanes


def _turns(session: Session) -> tuple[dict[str, int], dict[str, int]]:
    """Number of the last turn of each client and of each lane, 0 for who had none."""
    clients, lanes = defaultdict[str, int](int), defaultdict[str, int](int)
    for client, lane, turn in session.execute(select(Turn.client, Turn.lane, Turn.turn)):
        clients[client] = max(clients[client], turn)
        lanes[lane] = max(lanes[lane], turn)
    return clients, lanes


def _take(session: Session, line: Line, owner: str, moment: datetime, lease: float) -> Claim | None:
    model = line.model
    first = (
        select(model.id)
        .where(_due(model, moment), model.lane == line.lane, model.client == line.client)
        .order_by(model.created_at, model.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # SQLite has one writer and leaves this out.
    )
    # A clock that was put back does not begin a job before it was posted.
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
