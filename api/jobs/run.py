"""Doing a job, in the request or in a worker: load the curves, compute, store the answer.

A request becomes a record first (`plan_fit`, `plan_mapping`). Small work is then done at once,
large work is queued for a worker (api/worker.py); `compute` is the same for both. It reads in a
transaction that blocks nobody; the answer is written in a second, short one. Values never
change, so what was read is still true then; a dataset deleted in between is refused by its
foreign key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import IO, Any

from sqlalchemy.orm import Session

from api.jobs.common import Answer, J, Progress, silent
from api.jobs.estimate import estimate
from api.jobs.fits import check_grids, compute_fit
from api.jobs.mappings import compute_mapping
from api.jobs.rankers import UNCACHED, Ranker
from api.store.base import Database
from api.store.exports import Export
from api.store.fits import Fit
from api.store.jobs import LARGE, SMALL, SMALL_SECONDS, Job, clock
from api.store.mappings import Mapping
from services.scratch import scratch

SPOOL_BYTES = 64 << 20
"""Items of a mapping held in memory before they go to a temporary file."""


JOBS: tuple[type[Job], ...] = (Fit, Mapping, Export)
"""The kinds of job there are."""


def submit(  # noqa: PLR0913 - what a process brings with it, each with a default
    database: Database,
    plan: Callable[[Session, dict[str, Any]], J],
    request: dict[str, Any],
    *,
    client: str = "",
    most_seconds: float = math.inf,
    may_begin: Callable[[float], bool] = lambda _seconds: True,
    progress: Progress = silent,
    ranker: Ranker = UNCACHED,
) -> J:
    """Do what a request asks for, or queue it if that may take more than `most_seconds`.

    `may_begin` is asked with the estimate before anything is computed; if not, it is queued too.
    `plan` makes the record, and refuses what ids, names and options show. Nothing is stored of
    what is refused. `client` is who asks, for a fair queue.
    """
    with scratch.spooled(SPOOL_BYTES) as spool:
        with database.reading() as session:
            job = plan(session, request)
            answer = None
            job.client, job.cost = client, estimate(session, job)
            job.lane = SMALL if job.cost <= SMALL_SECONDS else LARGE
            if job.cost <= most_seconds and may_begin(job.cost):
                answer = compute(session, job, spool, progress, ranker)
            elif isinstance(job, Fit):
                check_grids(session, job)
        with database.writing() as session:
            if answer:
                job.state, job.done = "succeeded", job.total
                job.started_at = job.created_at
                job.finished_at = max(clock(session), job.created_at)
                for name, value in answer.values.items():
                    setattr(job, name, value)
            session.add(job)
            session.flush()
            if answer:
                answer.add_rows(session)
    return job


def compute(
    session: Session,
    job: Job,
    spool: IO[bytes],
    progress: Progress = silent,
    ranker: Ranker = UNCACHED,
) -> Answer:
    """Compute what the record of a job says; what it reads is read here and now.

    `progress` is told between two pieces, and what it raises ends the work. `spool` takes what
    may be too long for memory, until the answer is stored. `ranker` compares the curves of a
    fit.
    """
    if isinstance(job, Mapping):
        return compute_mapping(session, job, spool, progress)
    assert isinstance(job, Fit)  # noqa: S101 - for the type checker: there are two kinds
    return compute_fit(session, job, progress, ranker)
