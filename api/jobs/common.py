"""Parts that fits and mappings share as jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.store.base import NotFound, Record, find, new_id
from api.store.jobs import Job, read_clock
from services.errors import Fact, InvalidOption

R = TypeVar("R", bound=Record)
J = TypeVar("J", bound=Job)
Progress = Callable[[int, int], None]
"""Function that is told how much is done, and of how much; what it raises ends the work."""


def report_nothing(_done: int, _total: int) -> None:
    """Report progress to nobody."""


class TakesLonger(Exception):  # noqa: N818 - named for what it is
    """Raised when work turns out to take longer than whoever waits for it may wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"an estimate of {seconds:.3g} s")
        self.seconds = seconds


def allow_any(_seconds: float) -> bool:
    """Allow work of any length."""
    return True


@dataclass(frozen=True, slots=True)
class Watch:
    """Functions by which work tells how far it is, and asks before it takes long."""

    progress: Progress = report_nothing
    may_take: Callable[[float], bool] = allow_any
    """Told an estimate in seconds; TakesLonger is raised if it says no."""


NOT_WATCHED = Watch()


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a job: columns of its record, and a function that adds the rows beside it."""

    values: dict[str, Any]
    add_rows: Callable[[Session], None]


def make_queued_columns(session: Session, total: int) -> dict[str, Any]:
    """Make the columns of a job that nobody has begun."""
    return {
        "id": new_id(),
        "created_at": read_clock(session),
        "state": "queued",
        "done": 0,
        "total": total,
        "attempt": 0,
    }


def find_named(session: Session, model: type[R], request: dict[str, Any], field: str) -> R:
    """Find the record that a field of the body names."""
    try:
        return find(session, model, request[field])
    except NotFound as error:
        raise refuse_id(error, field) from None


def refuse_id(error: NotFound, field: str) -> InvalidOption:
    """Make the error of a field of the body whose record does not exist."""
    return InvalidOption(str(error), [Fact(str(error), "unknown_id", pointer=f"/{field}")])


def list_fields(record: Any) -> dict[str, Any]:
    """Take the fields of a dataclass with slots by name; their values are not copied."""
    return {name: getattr(record, name) for name in record.__slots__}
