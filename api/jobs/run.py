"""Doing a job, in the request or in a worker: read its inputs, compute, store the answer.

A request becomes a record first. Small work is then done at once, large work is queued for a
worker (api/jobs/worker.py); `compute` is the same for both. It reads in a transaction that blocks
nobody; the answer is written in a second, short one. Values never change, so the inputs are
still true then; a dataset deleted in between is refused by its foreign key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import IO, Any

from sqlalchemy.orm import Session

from api.jobs.common import Answer, J, Progress, report_nothing
from api.jobs.kinds import KINDS, JobKind
from api.jobs.rankers import UNCACHED, Ranker
from api.jobs.tools import Tools
from api.store.base import Database
from api.store.jobs import LARGE, SMALL, SMALL_SECONDS, Job, read_clock
from services.scratch import scratch

SPOOL_BYTES = 64 << 20
"""Bytes of a mapping's items held in memory before they go to a temporary file."""


def submit(  # noqa: PLR0913 - what a process brings with it, each with a default
    database: Database,
    kind: JobKind[J, Any],
    request: dict[str, Any],
    *,
    client: str = "",
    most_seconds: float = math.inf,
    may_begin: Callable[[float], bool] = lambda _seconds: True,
    progress: Progress = report_nothing,
    ranker: Ranker = UNCACHED,
) -> J:
    """Do the job that the body of a request asks for, or queue it; nothing refused is stored.

    It is queued if it may take more than `most_seconds`, or if `may_begin`, which is asked with
    the estimate before anything is computed, says no. `client` is who asks, for a fair queue.
    """
    with scratch.spooled(SPOOL_BYTES) as spool:
        with database.reading() as session:
            inputs = kind.plan(session, request)
            job: J = inputs.job
            answer = None
            job.client, job.cost = client, kind.estimate(inputs)
            job.lane = SMALL if job.cost <= SMALL_SECONDS else LARGE
            if job.cost <= most_seconds and may_begin(job.cost):
                answer = kind.compute(session, inputs, Tools(spool, progress, ranker))
            else:
                kind.check(session, inputs)
        with database.writing() as session:
            if answer:
                job.state, job.done = "succeeded", job.total
                job.started_at = job.created_at
                job.finished_at = max(read_clock(session), job.created_at)
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
    progress: Progress = report_nothing,
    ranker: Ranker = UNCACHED,
) -> Answer:
    """Compute the answer of a stored job, with all that it needs read here and now."""
    kind = KINDS[type(job)]
    return kind.compute(session, kind.read(session, job), Tools(spool, progress, ranker))
