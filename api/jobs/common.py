"""What fits and mappings share as jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.store.base import NotFound, Record, find, new_id
from api.store.jobs import Job, clock
from services.errors import Fact, InvalidOption

R = TypeVar("R", bound=Record)
J = TypeVar("J", bound=Job)
Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def silent(_done: int, _total: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a job: columns of its record, and what writes the rows that go with it."""

    values: dict[str, Any]
    add_rows: Callable[[Session], None]


def queued_columns(session: Session, total: int) -> dict[str, Any]:
    """Columns of a job that nobody has begun."""
    return {
        "id": new_id(),
        "created_at": clock(session),
        "state": "queued",
        "done": 0,
        "total": total,
        "attempt": 0,
    }


def find_named(session: Session, model: type[R], request: dict[str, Any], field: str) -> R:
    """The record that a field of the body names."""
    try:
        return find(session, model, request[field])
    except NotFound as error:
        raise InvalidOption(
            str(error), [Fact(str(error), "unknown_id", pointer=f"/{field}")]
        ) from None


def fields_of(record: Any) -> dict[str, Any]:
    """Fields of a dataclass with slots by name; what they hold is not copied."""
    return {name: getattr(record, name) for name in record.__slots__}
