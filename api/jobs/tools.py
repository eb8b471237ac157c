"""Tools that a job is computed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from api.jobs.common import NOT_WATCHED, Watch
from api.jobs.rankers import UNCACHED, Ranker


@dataclass(frozen=True, slots=True)
class Tools:
    """Tools of the process that computes a job."""

    spool: IO[bytes]
    """Takes rows that may be too long for memory, until the answer is stored."""

    watch: Watch = NOT_WATCHED
    """Is told between two pieces of work."""

    ranker: Ranker = UNCACHED
    """Compares the curves of a fit."""
